"""The procedure segmentation network of TSA as published (Xu et al., FineDiving, CVPR 2022, section 4): the clips of a video are the channels of
convolutions along their values, so that it knows one number of clips and one of frames. `segmentation.py` is the one that knows any."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

from longtake.train.errors import DataError, SettingsError
from longtake.train.heads.base import Batch
from longtake.train.heads.blocks.segmentation import Segmented

CHANNELS = (12, 24, 48, 96)
POOLED = 16
"""Values of a clip to one of a frame."""


class ProcedureSegmentation(nn.Module):
    """`num_clips` clips of `dim` values to `num_frames` frames of `dim / 16`, and a perceptron's confidence that a frame begins the next stage."""

    def __init__(self, dim: int, num_clips: int, num_frames: int, num_boundaries: int) -> None:
        super().__init__()
        if dim % POOLED:
            raise SettingsError(f"segmentation=channels takes clips of a multiple of {POOLED} values, got {dim}")
        sizes = (num_clips, *CHANNELS, num_frames)
        self.blocks = nn.ModuleList(_block(a, b) for a, b in zip(sizes, sizes[1:]))
        self.confidence = nn.Sequential(
            nn.Linear(dim // POOLED, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, num_boundaries)
        )
        self.num_clips = num_clips

    def forward(self, batches: Sequence[Batch]) -> list[Segmented]:
        """Of each batch; all of them are one for the batch norms. Raises `DataError` where a video has another number of clips."""
        for batch in batches:
            if batch.mask.shape[1] != self.num_clips or not bool(batch.mask.all()):
                raise DataError(
                    f"segmentation=channels takes videos of {self.num_clips} clips, and a batch has videos of {batch.mask.sum(1).tolist()[:5]}: say "
                    f"--set clips=N, or take segmentation=times"
                )
        frames = torch.cat([batch.clips for batch in batches])
        for index, block in enumerate(self.blocks):
            frames = block(F.max_pool1d(frames, 2) if index else frames)
        logits = self.confidence(frames)
        counts = [len(batch.clips) for batch in batches]
        parts = zip(frames.split(counts), logits.split(counts))
        return [Segmented(one, confident, by_parts(confident)) for one, confident in parts]


def by_parts(logits: torch.Tensor) -> torch.Tensor:
    """Of `(batch, frames, boundaries)` the most confident frame for each boundary in its own equal part of the video, int64 `(batch,
    boundaries)`; the first frame of all begins no stage."""
    num_frames, num_boundaries = logits.shape[1:]
    size = num_frames // num_boundaries
    own = torch.stack([logits[:, number * size : (number + 1) * size, number] for number in range(num_boundaries)], -1)
    begins = size * torch.arange(num_boundaries, device=logits.device)
    return (own.argmax(1) + begins).clamp(min=1)


def _block(inputs: int, outputs: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for width in (inputs, outputs):
        layers += [nn.Conv1d(width, outputs, 3, padding=1), nn.BatchNorm1d(outputs), nn.ReLU()]
    return nn.Sequential(*layers)
