"""A second stream in a clock of its own, such as 96 frames of CLIP for 9 clips of I3D. Seconds relate the two."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from longtake.train.data.clip_table import ClipTable
from longtake.train.errors import DataError
from longtake.train.heads.base import SecondStream


def frames_within(
    table: ClipTable, rows: Sequence[int] | np.ndarray, begins: np.ndarray, ends: np.ndarray, device: torch.device
) -> SecondStream:
    """Of each video the frames whose middle is in `[begin, end)` seconds, or the nearest frame where there is none; on the device."""
    firsts, counts = [], []
    for row, begin, end in zip(rows, begins, ends):
        offset = int(table.offsets[row])
        middles = table.seconds[offset : int(table.offsets[row + 1])].mean(1)
        first, last = np.searchsorted(middles, (begin, end))
        if first == last:
            first = int(np.abs(middles - (begin + end) / 2).argmin())
            last = first + 1
        firsts.append(offset + first)
        counts.append(last - first)
    steps = np.arange(max(counts))
    mask = steps[None] < np.array(counts)[:, None]
    index = np.where(mask, np.array(firsts)[:, None] + steps[None], 0)
    seconds = np.where(mask[..., None], table.seconds[index], 0.0).astype(np.float32)
    mask_tensor = torch.from_numpy(mask).to(device)
    return SecondStream(table.gather(index, mask_tensor), mask_tensor, torch.from_numpy(seconds).to(device))


def require_same_clock(where: str, video_ids: Sequence[str], clips: ClipTable, frames: ClipTable) -> None:
    """Raises `DataError` for videos of which the two tables cover spans that differ by more than a clip and a frame: what rules about
    the end of a video leave out."""
    slack = clips.longest_seconds + frames.longest_seconds
    spans, own = clips.spans, frames.spans
    apart = np.flatnonzero((np.abs(own - spans) > slack).any(1))
    if len(apart):
        row = int(apart[0])
        raise DataError(
            f"{where}: clips and the second stream {frames.header.backbone} are in different clocks in {len(apart)} videos, "
            f"such as {video_ids[row]}: {spans[row, 0]:g} to {spans[row, 1]:g} s and {own[row, 0]:g} to {own[row, 1]:g} s. "
            f"Extract both from the same files with the same start and end"
        )
