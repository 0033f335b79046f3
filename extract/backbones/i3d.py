"""Inception I3D on RGB: its numbers, and the way to its network (extract/backbones/i3d_network.py, which needs torch).

The features are the last map, `Mixed_5c`, averaged over time and space: 1024 values per clip. Carreira and Zisserman,
"Quo Vadis, Action Recognition? A New Model and the Kinetics Dataset", CVPR 2017.
"""

from __future__ import annotations

from extract.backbones.spec import Backbone, BackboneSpec, ClipRule, FrameRule

SPEC = BackboneSpec(
    name="i3d",
    title="Inception I3D (RGB)",
    modality="video",
    dim=1024,
    # (value - 127.5) / 127.5 puts 8-bit RGB into [-1, 1], the range the weights were trained on.
    frames=FrameRule(short_side=256, crop_height=224, crop_width=224, mean=(127.5,) * 3, std=(127.5,) * 3),
    clips=ClipRule(length=16, stride=16, tail="pad", fps=None),
    default_weights="i3d_rgb_imagenet",
    citation="Carreira and Zisserman, Quo Vadis, Action Recognition? CVPR 2017, arXiv:1705.07750",
    batch_size=8,
)


def build(*, precision: str = "float32", device: str = "cpu") -> Backbone:
    """The network without weights. See `extract.backbones.build` for the settings."""
    from extract.backbones.i3d_network import I3d

    return I3d(SPEC, precision=precision, device=device)
