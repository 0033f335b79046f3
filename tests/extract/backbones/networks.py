"""Networks of each library by name, with random weights: dims, input and parity with the library. Run as a script, it prints the table of
docs/backbones.md."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import torch

from longtake.extract.backbones.spec import BackboneSpec
from longtake.extract.preprocessing import FrameRule
from tests.extract.backbones.hf_models import KINDS, save
from tests.extract.backbones.parity import parity
from tests.extract.backbones.test_from_hf import inputs, library_row, loaded, relative

NETWORKS = {
    "timm": ["resnet18", "mobilenetv3_small_050", "efficientnet_b0", "vit_tiny_patch16_224", "vit_small_patch16_dinov3", "deit_tiny_patch16_224",
             "convnext_atto", "swin_tiny_patch4_window7_224", "eva02_tiny_patch14_224", "edgenext_xx_small"],
    "torchvision": ["resnet18", "mobilenet_v3_small", "squeezenet1_1", "shufflenet_v2_x0_5", "efficientnet_b0", "regnet_y_400mf", "densenet121",
                    "swin_t", "r3d_18", "mc3_18", "r2plus1d_18"],
    "open_clip": ["ViT-B-32:openai", "ViT-S-32-alt", "ViT-M-32-alt", "ViT-S-16-alt", "ViT-S-16", "ViT-S-32", "RN50:openai", "coca_ViT-B-32",
                  "ViT-B-32-quickgelu", "ViT-M-16-alt"],
}  # fmt: skip


def row(name: str, spec: BackboneSpec, apart: float, rounded: float) -> str:
    if isinstance(spec.frames, FrameRule):
        length = f"{spec.clips.length} x " if spec.modality == "video" else ""
        seen = f"{length}{spec.frames.height} x {spec.frames.width}"
    else:
        seen = f"{spec.frames.sample_rate} Hz"
    return f"| `{name}` | {spec.modality} | {spec.dim} | {seen} | {apart:.0e} | {rounded:.1%} |"


def main() -> None:
    torch.set_num_threads(1)
    print("| name | modality | values | input | float32 | bfloat16 |\n|---|---|---|---|---|---|", flush=True)
    for family, names in NETWORKS.items():
        for name in names:
            try:
                print(row(f"{family}/{name}", *parity(f"{family}/{name}")), flush=True)
            except Exception as error:  # the table is for reading: the rest is still of use
                print(f"{family}/{name}: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for kind in KINDS:
            model, processor = save(kind, Path(folder) / kind)
            backbone = loaded(Path(folder) / kind)
            clip, source = inputs(backbone)
            found = backbone.forward(clip)
            expected = library_row(kind, backbone, model, processor, source)
            fast = loaded(Path(folder) / kind, "bfloat16").forward(clip)
            print(row(f"hf/{kind}", backbone.spec, relative(found, expected), relative(fast, found)), flush=True)


if __name__ == "__main__":
    main()
