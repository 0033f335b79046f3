"""All clips of one stream in memory: one table, the clips of each video one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from longtake.features.stream import Stream
from longtake.features.types import FeatureHeader


@dataclass(frozen=True)
class ClipTable:
    header: FeatureHeader
    features: torch.Tensor
    """float32, `(total_clips, dim)`."""
    offsets: np.ndarray
    """int64, `(videos + 1,)`."""
    seconds: np.ndarray
    """float64, `(total_clips, 2)`: start and end of each clip."""

    @classmethod
    def read(cls, stream: Stream, rows: Sequence[int]) -> ClipTable:
        """The clips of these videos of a stream; rows rise."""
        features = torch.from_numpy(stream.read_all().astype(np.float32, copy=False))
        times = [np.asarray(times[0 : stream.num_clips]) for times in (stream.start_seconds, stream.end_seconds)]
        whole = cls(stream.header, features, np.asarray(stream.offsets), np.stack(times, 1))
        counts = whole.num_clips[rows]
        return whole.take(rows) if counts.sum() < len(features) else replace(whole, offsets=offsets_of(counts))

    @property
    def num_clips(self) -> np.ndarray:
        """int64, `(videos,)`."""
        return np.diff(self.offsets)

    @property
    def spans(self) -> np.ndarray:
        """float64, `(videos, 2)` seconds: start of the first clip and end of the last."""
        return np.stack([self.seconds[self.offsets[:-1], 0], self.seconds[self.offsets[1:] - 1, 1]], 1)

    @property
    def longest_seconds(self) -> float:
        """Of one clip."""
        return float(np.diff(self.seconds, axis=1).max())

    def fits(self, num_videos: int) -> bool:
        """Whether its arrays are of lengths that belong together, each video has a clip, and there are so many videos."""
        begins, ends, total = self.offsets[:1] == 0, self.offsets[-1:] == len(self.features), len(self.features)
        lengths = len(self.offsets) == num_videos + 1 and len(self.seconds) == total
        return bool(lengths and begins.all() and ends.all() and (self.num_clips > 0).all())

    def take(self, rows: Sequence[int] | np.ndarray) -> ClipTable:
        """These videos alone, in this order."""
        index = np.concatenate([np.arange(self.offsets[row], self.offsets[row + 1]) for row in rows])
        features = self.features[torch.from_numpy(index).to(self.features.device)]
        return ClipTable(self.header, features, offsets_of(self.num_clips[rows]), self.seconds[index])

    def to(self, device: torch.device) -> ClipTable:
        return replace(self, features=self.features.to(device))

    def means(self) -> ClipTable:
        """Every video as one clip, the mean of its clips."""
        features, num_clips = self.features, self.num_clips
        owners = torch.from_numpy(np.repeat(np.arange(len(num_clips)), num_clips)).to(features.device)
        sums = features.new_zeros(len(num_clips), features.shape[1]).index_add_(0, owners, features)
        counts = torch.from_numpy(num_clips).to(sums)
        return ClipTable(self.header, sums / counts[:, None], np.arange(len(num_clips) + 1), self.spans)

    def gather(self, index: np.ndarray, mask: torch.Tensor) -> torch.Tensor:
        """Clips by their numbers, int `(batch, steps)`, zero where the mask is False: float32 `(batch, steps, dim)` on the device of
        the mask. A table that does not fit there stays in the machine's memory."""
        clips = self.features[torch.from_numpy(index).to(self.features.device)]
        return clips.to(mask.device).masked_fill_(~mask[..., None], 0.0)


def offsets_of(num_clips: np.ndarray) -> np.ndarray:
    """int64, `(videos + 1,)`."""
    return np.concatenate([[0], np.cumsum(num_clips)])


def join_tables(tables: Sequence[ClipTable]) -> ClipTable:
    """The videos of several data sets one after the other, under the header of the first."""
    return ClipTable(
        tables[0].header,
        torch.cat([table.features for table in tables]),
        offsets_of(np.concatenate([table.num_clips for table in tables])),
        np.concatenate([table.seconds for table in tables]),
    )
