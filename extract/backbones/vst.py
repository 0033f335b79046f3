"""Video Swin Transformers (Liu et al., CVPR 2022): torchvision's networks, patch 2x4x4, window 8x7x7.

The features are the last map, its LayerNorm included, averaged over time and space. Weights load in torchvision's key layout and in that
of the original repository, whose keys are `backbone.layers.*`.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from longtake.extract.backbones.spec import Backbone, BackboneSpec
from longtake.extract.preprocessing import IMAGENET_MEAN, IMAGENET_STD, ClipRule, FrameRule

if TYPE_CHECKING:
    import torch
    from torch import nn


BASE = BackboneSpec(
    name="vst",
    title="Video Swin-B",
    modality="video",
    dim=1024,
    frames=FrameRule(256, 224, 224, IMAGENET_MEAN, IMAGENET_STD),
    clips=ClipRule(length=32, stride=32, tail="centre", fps=None),
    default_weights="vst_b_kinetics600_22k",
    citation="Liu et al., Video Swin Transformer, CVPR 2022, arXiv:2106.13230",
    batch_size=2,
    bfloat16_error=0.01,
    num_classes=600,
)
SMALL = replace(BASE, name="vst-s", title="Video Swin-S", dim=768, default_weights="vst_s_kinetics400", num_classes=400)
TINY = replace(SMALL, name="vst-t", title="Video Swin-T", default_weights="vst_t_kinetics400")
_INDEX = ".relative_position_index"
"""A table that follows from the window; files contain it, networks compute their own."""


def build(spec: BackboneSpec, *, precision: str, device: str) -> Backbone:
    """The network without weights. bfloat16 changes features by 0.4 to 0.8% (relative, L2)."""
    from torchvision.models.video import swin3d_b, swin3d_s, swin3d_t

    from longtake.extract.backbones.frozen import Frozen

    make = {"vst": swin3d_b, "vst-s": swin3d_s, "vst-t": swin3d_t}[spec.name]
    return Frozen(
        spec,
        lambda num_classes: make(weights=None, num_classes=num_classes),
        features=features,
        logits=lambda network, pictures: network.head(features(network, pictures).to(pictures.dtype)),
        classifier="head.weight",
        rename=from_original,
        optional=(_INDEX,),
        precision=precision,
        device=device,
    )


def features(network: nn.Module, pictures: torch.Tensor) -> torch.Tensor:
    """`(batch, 3, length, height, width)` -> `(batch, dim)` float32."""
    maps = network.norm(network.features(network.pos_drop(network.patch_embed(pictures))))
    return maps.float().mean(dim=(1, 2, 3))


def from_original(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Names of the original repository to torchvision's. There, stage i is `features.2i` and the layer after it `features.2i+1`."""
    if not any(key.startswith(("backbone.layers.", "layers.")) for key in state):
        return state
    renamed = {}
    for key, value in state.items():
        if key.endswith(_INDEX):
            continue
        name = key.removeprefix("backbone.")
        name = re.sub(r"^layers\.(\d+)\.blocks\.", lambda m: f"features.{2 * int(m[1])}.", name)
        name = re.sub(r"^layers\.(\d+)\.downsample\.", lambda m: f"features.{2 * int(m[1]) + 1}.", name)
        name = name.replace(".mlp.fc1.", ".mlp.0.").replace(".mlp.fc2.", ".mlp.3.")
        renamed[name.replace("cls_head.fc_cls.", "head.")] = value
    return renamed
