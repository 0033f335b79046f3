"""Random inputs of the sizes that networks need."""

from __future__ import annotations

import torch

from longtake.extract.preprocessing import SoundRule

SMALL = {"i3d", "i3d-flow", "i3d-r50", "slowfast-r50", "vst", "vst-s", "vst-t", "resnet50", "efficientnet-lite0"}
"""Networks that take pictures of any size; the others take their own."""

LENGTH = {
    "slowfast-r50": 16,
    "vst": 8,
    "vst-s": 8,
    "vst-t": 8,
    "i3d-r50": 8,
    "clip": 1,
    "vifi-clip": 2,
    "resnet50": 2,
    "vit": 2,
    "blip": 1,
    "efficientnet-lite0": 2,
    "timesformer": 2,
}


def inputs(spec, num_clips: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    if isinstance(spec.frames, SoundRule):
        return torch.randn((num_clips, spec.frames.num_frames, spec.frames.mel_bins), generator=generator) / 2
    size = (64, 64) if spec.name in SMALL else (spec.frames.height, spec.frames.width)
    length = LENGTH.get(spec.name, spec.clips.length)
    return torch.randint(0, 256, (num_clips, length, *size, 3), dtype=torch.uint8, generator=generator)
