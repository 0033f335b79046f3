"""I3D and SlowFast on ResNet-50: pytorchvideo's networks (Carreira and Zisserman, CVPR 2017; Feichtenhofer et al., ICCV 2019).

The features are the last maps averaged over time and space, those of SlowFast's two paths side by side.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from longtake.extract.backbones.spec import BackboneSpec, Network
from longtake.extract.preprocessing import ClipRule, FrameRule

if TYPE_CHECKING:
    import torch
    from torch import nn

# pytorchvideo trains on values from 0 to 1 with mean 0.45 and deviation 0.225 in every channel.
_FRAMES = FrameRule(256, 256, 256, mean=(0.45 * 255,) * 3, std=(0.225 * 255,) * 3)
I3D_R50 = BackboneSpec(
    name="i3d-r50",
    title="I3D ResNet-50",
    modality="video",
    dim=2048,
    frames=_FRAMES,
    clips=ClipRule(length=16, stride=16, tail="pad", fps=None),
    default_weights="i3d_r50_kinetics400",
    least_length=2,
    citation="Carreira and Zisserman, CVPR 2017; Fan et al., PyTorchVideo, ACM MM 2021",
    batch_size=4,
    openvino=True,
    num_classes=400,
)
SLOWFAST_R50 = BackboneSpec(
    name="slowfast-r50",
    title="SlowFast ResNet-50, 8x8",
    modality="video",
    dim=2304,
    frames=_FRAMES,
    clips=ClipRule(length=32, stride=32, tail="pad", fps=None),
    default_weights="slowfast_r50_kinetics400",
    citation="Feichtenhofer et al., SlowFast Networks for Video Recognition, ICCV 2019",
    batch_size=2,
    num_classes=400,
)
SLOW_STEP = 4
"""The slow path sees a quarter of the frames (alpha of the published model), first and last included."""


def build(spec: BackboneSpec) -> Network:
    from pytorchvideo.models.hub import i3d_r50, slowfast_r50

    make = i3d_r50 if spec.name == I3D_R50.name else slowfast_r50
    return Network(
        lambda num_classes: make(pretrained=False, model_num_class=num_classes),
        features=features,
        logits=lambda network, features: network.blocks[-1].proj(features),
        classifier="blocks.6.proj.weight",
    )


def features(network: nn.Module, pictures: torch.Tensor) -> torch.Tensor:
    """`(batch, 3, length, height, width)` -> `(batch, dim)` float32."""
    import torch

    head = network.blocks[-1]
    two_paths = head.proj.in_features == SLOWFAST_R50.dim
    length = pictures.shape[2]
    # As many frames as the convolutions that join the paths keep of the fast path.
    slow = torch.linspace(0, length - 1, -(-length // SLOW_STEP)).long()
    maps: Any = [pictures[:, :, slow], pictures] if two_paths else pictures
    for block in network.blocks[: -2 if two_paths else -1]:
        maps = block(maps)
    return torch.cat([m.float().mean(dim=(2, 3, 4)) for m in (maps if two_paths else [maps])], dim=1)
