"""A second stream in a clock of its own, such as CLIP on 96 frames beside 9 clips of I3D. Seconds tie the two together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from longtake.features.types import FeatureHeader
from longtake.train.errors import DataError
from longtake.train.heads.base import SecondStream


def gather(table: torch.Tensor, index: np.ndarray, mask: torch.Tensor) -> torch.Tensor:
    """Rows of a table by their numbers, int `(batch, steps)`, zero where the mask, on the device that is to have them, is False. A table that does not fit
    there stays in the machine's memory."""
    rows = table[torch.from_numpy(index).to(table.device)]
    return rows.to(mask.device).masked_fill_(~mask[..., None], 0.0)


@dataclass(frozen=True)
class FrameTable:
    """All frames of a data set in memory, its videos in the order of the clips'."""

    header: FeatureHeader
    features: torch.Tensor
    """float32, `(total_frames, dim)`."""
    offsets: np.ndarray
    """int64, `(videos + 1,)`."""
    seconds: np.ndarray
    """float64, `(total_frames, 2)`: start and end."""

    def to(self, device: torch.device) -> FrameTable:
        return replace(self, features=self.features.to(device))

    def take(self, rows: Sequence[int]) -> FrameTable:
        """These videos alone, in this order."""
        index = np.concatenate([np.arange(self.offsets[row], self.offsets[row + 1]) for row in rows])
        offsets = np.concatenate([[0], np.cumsum(np.diff(self.offsets)[rows])])
        there = torch.from_numpy(index).to(self.features.device)
        return FrameTable(self.header, self.features[there], offsets, self.seconds[index])

    def within(self, rows: Sequence[int], begins: np.ndarray, ends: np.ndarray, device: torch.device) -> SecondStream:
        """Of each video the frames whose middle lies in `[begin, end)` seconds, and one at least: the nearest. On the device."""
        firsts, counts = [], []
        for row, begin, end in zip(rows, begins, ends):
            offset = int(self.offsets[row])
            middles = self.seconds[offset : int(self.offsets[row + 1])].mean(1)
            first, last = np.searchsorted(middles, (begin, end))
            if first == last:
                first = int(np.abs(middles - (begin + end) / 2).argmin())
                last = first + 1
            firsts.append(offset + first)
            counts.append(last - first)
        steps = np.arange(max(counts))
        mask = steps[None] < np.array(counts)[:, None]
        index = np.where(mask, np.array(firsts)[:, None] + steps[None], 0)
        there = torch.from_numpy(mask).to(device)
        features = gather(self.features, index, there)
        seconds = np.where(mask[..., None], self.seconds[index], 0.0).astype(np.float32)
        return SecondStream(features, there, torch.from_numpy(seconds).to(device))

    def require_same_clock(self, where: str, video_ids: Sequence[str], spans: np.ndarray, longest: float) -> None:
        """Raises `DataError` for videos whose frames do not cover the clips' `spans`, float64 `(videos, 2)` seconds, or reach
        beyond, by more than a clip of `longest` seconds and a frame: what rules about the end of a video leave out."""
        own = np.stack([self.seconds[self.offsets[:-1], 0], self.seconds[self.offsets[1:] - 1, 1]], 1)
        slack = longest + float(np.diff(self.seconds, axis=1).max())
        apart = np.flatnonzero((np.abs(own - spans) > slack).any(1))
        if len(apart):
            row = int(apart[0])
            raise DataError(
                f"{where}: clips and the second stream {self.header.backbone} are in different clocks in {len(apart)} videos, "
                f"such as {video_ids[row]}: {spans[row, 0]:g} to {spans[row, 1]:g} s and {own[row, 0]:g} to {own[row, 1]:g} s. "
                f"Extract both from the same files with the same start and end"
            )


def join_tables(tables: Sequence[FrameTable]) -> FrameTable:
    """The videos of several data sets one after the other, for one model of all."""
    counts = np.concatenate([np.diff(table.offsets) for table in tables])
    return FrameTable(
        tables[0].header,
        torch.cat([table.features for table in tables]),
        np.concatenate([[0], np.cumsum(counts)]),
        np.concatenate([table.seconds for table in tables]),
    )
