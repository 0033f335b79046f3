"""Video Swin Transformers (Liu et al., CVPR 2022): torchvision's networks, patch 2x4x4, window 8x7x7.

The features are the last map, its LayerNorm included, averaged over time and space. Weights load in torchvision's key layout and in that
of the original repository, whose keys are `backbone.layers.*`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from longtake.extract.backbones.spec import BackboneSpec, NameRule, Network
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
    openvino=True,
    num_classes=600,
)
SMALL = replace(BASE, name="vst-s", title="Video Swin-S", dim=768, default_weights="vst_s_kinetics400", num_classes=400)
TINY = replace(SMALL, name="vst-t", title="Video Swin-T", default_weights="vst_t_kinetics400")
_INDEX = ".relative_position_index"
"""A table that follows from the window; files contain it, networks compute their own."""
FROM_ORIGINAL: Sequence[NameRule] = (
    (r"^backbone\.", ""),
    (r"^norm3\.", "norm."),
    (rf"^layers\..*{re.escape(_INDEX)}$", None),
    (r"^layers\.(\d+)\.blocks\.", lambda m: f"features.{2 * int(m[1])}."),
    (r"^layers\.(\d+)\.downsample\.", lambda m: f"features.{2 * int(m[1]) + 1}."),
    (r"\.mlp\.fc1\.", ".mlp.0."),
    (r"\.mlp\.fc2\.", ".mlp.3."),
    (r"^cls_head\.fc_cls\.", "head."),
)
"""Names of the original repository and of mmaction2 (which calls the last norm `norm3`) to torchvision's. There, stage i is `features.2i` and the layer after it `features.2i+1`."""


def build(spec: BackboneSpec) -> Network:
    """The network without weights. bfloat16 changes features by 0.4 to 0.8% (relative, L2)."""
    from torchvision.models.video import swin3d_b, swin3d_s, swin3d_t

    from longtake.extract.backbones.frozen import last_map

    make = {"vst": swin3d_b, "vst-s": swin3d_s, "vst-t": swin3d_t}[spec.name]
    return Network(
        lambda num_classes: make(weights=None, num_classes=num_classes),
        features=features,
        logits=lambda network, features: network.head(features),
        classifier="head.weight",
        names=FROM_ORIGINAL,
        tokens=lambda network, pictures, layers: [last_map(_maps(network, pictures).permute(0, 4, 1, 2, 3), layers)],
        optional=(_INDEX,),
    )


def features(network: nn.Module, pictures: torch.Tensor) -> torch.Tensor:
    """`(batch, 3, length, height, width)` -> `(batch, dim)` float32."""
    return _maps(network, pictures).float().mean(dim=(1, 2, 3))


def _maps(network: nn.Module, pictures: torch.Tensor) -> torch.Tensor:
    """The last map, `(batch, times, rows, columns, dim)`."""
    found: torch.Tensor = network.norm(network.features(network.pos_drop(network.patch_embed(pictures))))
    return found
