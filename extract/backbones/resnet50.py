"""ResNet-50 on single frames: torchvision's network (He et al., CVPR 2016). The static stream of ACTION-NET.

The features are the last map averaged over space, and over the frames of a clip: 2048 values. Clips of one frame give frame features.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from longtake.extract.backbones.spec import BackboneSpec, Network
from longtake.extract.preprocessing import IMAGENET_MEAN, IMAGENET_STD, ClipRule, FrameRule

if TYPE_CHECKING:
    import torch
    from torch import nn

SPEC = BackboneSpec(
    name="resnet50",
    title="ResNet-50 (frames)",
    modality="image",
    dim=2048,
    frames=FrameRule(256, 224, 224, IMAGENET_MEAN, IMAGENET_STD),
    clips=ClipRule(length=1, stride=1, tail="pad", fps=None),
    default_weights="resnet50_imagenet",
    citation="He et al., Deep Residual Learning for Image Recognition, CVPR 2016, arXiv:1512.03385",
    batch_size=16,
    openvino=True,
    num_classes=1000,
)


def build(spec: BackboneSpec) -> Network:
    from torchvision.models import resnet50

    from longtake.extract.backbones.frozen import flatten_frames, mean_over_frames

    def features(network: nn.Module, pictures: torch.Tensor) -> torch.Tensor:
        maps = flatten_frames(pictures)
        for layer in (network.conv1, network.bn1, network.relu, network.maxpool, network.layer1, network.layer2,
                      network.layer3, network.layer4):  # fmt: skip
            maps = layer(maps)
        return mean_over_frames(maps.float().mean(dim=(2, 3)), len(pictures))

    return Network(
        lambda num_classes: resnet50(weights=None, num_classes=num_classes),
        features=features,
        logits=lambda network, features: network.fc(features),
        classifier="fc.weight",
    )
