"""C3D (Tran et al., ICCV 2015): eight convolutions of 3x3x3 and two wide layers, on 16 frames of 112x112.

The features are those of the first wide layer, `fc6`, after its ReLU: 4096 values. Module names are those of the published
PyTorch state dicts, converted from the Sports-1M weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from longtake.extract.backbones.spec import BackboneSpec, NameRule, Network
from longtake.extract.preprocessing import ClipRule, FrameRule

if TYPE_CHECKING:
    import torch
    from torch import nn

SPEC = BackboneSpec(
    name="c3d",
    title="C3D",
    modality="video",
    dim=4096,
    # The published weights were trained with the mean volume of Sports-1M subtracted; the mean colour of ImageNet replaces it.
    frames=FrameRule(128, 112, 112, mean=(123.675, 116.28, 103.53), std=(1.0,) * 3),
    clips=ClipRule(length=16, stride=16, tail="pad", fps=None),
    default_weights="c3d_sports1m",
    citation="Tran et al., Learning Spatiotemporal Features with 3D Convolutional Networks, ICCV 2015, arXiv:1412.0767",
    batch_size=8,
    openvino=True,
    only_length=16,
    num_classes=487,
)
CONVOLUTIONS = (("conv1", 3, 64), ("conv2", 64, 128), ("conv3a", 128, 256), ("conv3b", 256, 256), ("conv4a", 256, 512),
                ("conv4b", 512, 512), ("conv5a", 512, 512), ("conv5b", 512, 512))  # fmt: skip
POOL_AFTER = {"conv1": (1, 2, 2), "conv2": (2, 2, 2), "conv3b": (2, 2, 2), "conv4b": (2, 2, 2), "conv5b": (2, 2, 2)}
_NUMBERED = {"features": {"0": "conv1", "3": "conv2", "6": "conv3a", "8": "conv3b", "11": "conv4a", "13": "conv4b", "16": "conv5a", "18": "conv5b"},
             "classifier": {"0": "fc6", "3": "fc7", "6": "fc8"}}  # fmt: skip
"""The same layers by their place in a sequence."""
NAMES: Sequence[NameRule] = (
    (r"^backbone\.", ""),
    (r"^(conv[1-5][ab])\.conv\.", r"\1."),
    (r"^conv([12])a\.", r"conv\1."),
    (r"^(fc[678])-1\.", r"\1."),
    (r"^cls_head\.fc_cls\.", "fc8."),
    (r"^(features|classifier)\.(\d+)\.", lambda m: _NUMBERED[m[1]].get(m[2], m[0][:-1]) + "."),
)
"""Names in circulation, of mmaction2 (`conv1a.conv`), Caffe (`conv1a`, `fc6-1`) and pytorch-video-recognition (`features.0`), to those of
c3d-pytorch's `c3d.pickle`, which is a state dict."""


def build(spec: BackboneSpec) -> Network:
    """The network without weights. Its wide layers fix the input: 16 frames of 112x112."""
    from torch import nn

    from longtake.extract.backbones.i3d_network import init_he

    def make(num_classes: int) -> nn.Module:
        layers = {name: nn.Conv3d(inputs, outputs, 3, padding=1) for name, inputs, outputs in CONVOLUTIONS}
        layers |= {"fc6": nn.Linear(8192, 4096), "fc7": nn.Linear(4096, 4096), "fc8": nn.Linear(4096, num_classes)}
        return nn.ModuleDict(layers)

    return Network(
        make,
        features=features,
        logits=lambda network, features: network["fc8"](network["fc7"](features).relu()),
        classifier="fc8.weight",
        names=NAMES,
        initialise=init_he,
    )


def features(network: nn.Module, pictures: torch.Tensor) -> torch.Tensor:
    """`(batch, 3, 16, 112, 112)` -> `(batch, 4096)`."""
    from torch.nn.functional import max_pool3d

    if pictures.shape[2:] != (16, 112, 112):
        raise ValueError(f"c3d takes 16 frames of 112x112, got {tuple(pictures.shape[2:])}")
    maps = pictures
    for name, _, _ in CONVOLUTIONS:
        maps = network[name](maps).relu()
        if name in POOL_AFTER:
            # A border around the last maps makes 4x4 of their 7x7.
            maps = max_pool3d(maps, POOL_AFTER[name], padding=(0, 1, 1) if name == "conv5b" else 0)
    return network["fc6"](maps.flatten(1)).relu()
