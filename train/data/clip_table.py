"""All clips of one stream: one table, the clips of each video one after the other, in memory or on the disk."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import numpy as np
import torch

from longtake.features.formats.flat import FlatCopy
from longtake.features.stream import Stream
from longtake.features.types import FeatureHeader
from longtake.train.data.on_disk import CopiedStream, DiskClips, OpenStream, Videos, join_on_disk
from longtake.train.errors import DataError

MEANS_BYTES = 1 << 26
"""Of features that are added up at a time."""


@dataclass(frozen=True)
class ClipTable:
    header: FeatureHeader
    features: torch.Tensor | DiskClips
    """`(total_clips, dim)`, float32, or float16 where the store has that: a batch has them as float32, which is exact."""
    offsets: np.ndarray
    """int64, `(videos + 1,)`."""
    seconds: np.ndarray
    """float64, `(total_clips, 2)`: start and end of each clip."""

    @classmethod
    def read(cls, path: Path | str, stream: Stream, rows: Sequence[int], on_disk: bool = False) -> ClipTable:
        """The clips of these videos of a stream of the store at `path`, in this order. All are read once, in the order in which they are stored, and
        compared with their checksums, also where they stay on the disk. Raises `DataError` for NaN and infinity."""
        order = np.argsort(rows)
        if on_disk:
            return _read_to_disk(path, stream, np.asarray(rows)[order]).take(np.argsort(order))
        return _read_to_memory(path, stream, np.asarray(rows), order)

    @property
    def on_disk(self) -> bool:
        return isinstance(self.features, DiskClips)

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

    @property
    def tensor(self) -> torch.Tensor:
        """All clips in memory, float32 `(total_clips, dim)`: of few videos."""
        if isinstance(self.features, torch.Tensor):
            return self.features.float()
        videos = [self.features.read(int(a), int(b)) for a, b in zip(self.offsets[:-1], self.offsets[1:])]
        return torch.from_numpy(np.concatenate(videos).astype(np.float32, copy=False))

    def fits(self, num_videos: int) -> bool:
        """Whether its arrays are of lengths that belong together, each video has a clip, and there are so many videos."""
        begins, ends, total = self.offsets[:1] == 0, self.offsets[-1:] == len(self.features), len(self.features)
        lengths = len(self.offsets) == num_videos + 1 and len(self.seconds) == total
        return bool(lengths and begins.all() and ends.all() and (self.num_clips > 0).all())

    def take(self, rows: Sequence[int] | np.ndarray) -> ClipTable:
        """These videos alone, in this order."""
        rows = np.asarray(rows, int)
        if np.array_equal(rows, np.arange(len(self.offsets) - 1)):
            return self
        index = np.concatenate([np.arange(self.offsets[row], self.offsets[row + 1]) for row in rows])
        features: torch.Tensor | DiskClips
        if isinstance(self.features, DiskClips):
            features = self.features.take(rows)
        else:
            features = self.features[torch.from_numpy(index).to(self.features.device)]
        return ClipTable(self.header, features, offsets_of(self.num_clips[rows]), self.seconds[index])

    def to(self, device: torch.device) -> ClipTable:
        """On the device; clips that are on the disk stay there."""
        return self if isinstance(self.features, DiskClips) else replace(self, features=self.features.to(device))

    def means(self) -> ClipTable:
        """Every video as one clip, the mean of its clips."""
        if isinstance(self.features, DiskClips):
            means = torch.from_numpy(self.features.means)
        else:
            parts = _parts(self.num_clips, MEANS_BYTES // (4 * self.features.shape[1]))
            means = torch.cat([means_of(self.features[clips], counts) for clips, counts in parts])
        return ClipTable(self.header, means, np.arange(len(self.num_clips) + 1), self.spans)

    def gather(self, index: np.ndarray, mask: torch.Tensor) -> torch.Tensor:
        """Clips by their numbers, int `(batch, steps)`, each row of one video, zero where the mask is False: float32 `(batch, steps, dim)` on the
        device of the mask. A table that does not fit there stays in the machine's memory or on the disk."""
        if isinstance(self.features, DiskClips):
            return torch.from_numpy(self.features.gather(index, mask.cpu().numpy())).to(mask.device)
        clips = self.features[torch.from_numpy(index).to(self.features.device)]
        return clips.to(mask.device).float().masked_fill_(~mask[..., None], 0.0)


def means_of(features: torch.Tensor, num_clips: np.ndarray) -> torch.Tensor:
    """float32 `(videos, dim)`: means of the clips of each video, which come one after the other."""
    owners = torch.from_numpy(np.repeat(np.arange(len(num_clips)), num_clips)).to(features.device)
    sums = torch.zeros(len(num_clips), features.shape[1], device=features.device)
    sums.index_add_(0, owners, features.float())
    return sums / torch.from_numpy(num_clips).to(sums)[:, None]


def _parts(num_clips: np.ndarray, most: int) -> Iterator[tuple[slice, np.ndarray]]:
    """Consecutive videos of `most` clips together, or one: their clips, and the counts of each."""
    offsets, first = offsets_of(num_clips), 0
    while first < len(num_clips):
        end = max(first + 1, int(np.searchsorted(offsets, offsets[first] + most, side="right")) - 1)
        yield slice(int(offsets[first]), int(offsets[end])), num_clips[first:end]
        first = end


def offsets_of(num_clips: np.ndarray) -> np.ndarray:
    """int64, `(videos + 1,)`."""
    return np.concatenate([[0], np.cumsum(num_clips)])


def join_tables(tables: Sequence[ClipTable]) -> ClipTable:
    """The videos of several data sets one after the other, under the header of the first; all in memory, or all on the disk."""
    features: torch.Tensor | DiskClips
    if tables[0].on_disk:
        features = join_on_disk([cast(DiskClips, table.features) for table in tables])
    else:
        features = torch.cat([cast(torch.Tensor, table.features) for table in tables])
    return ClipTable(
        tables[0].header,
        features,
        offsets_of(np.concatenate([table.num_clips for table in tables])),
        np.concatenate([table.seconds for table in tables]),
    )


def _blocks(path: Path | str, stream: Stream, wanted: np.ndarray) -> Iterator[tuple[slice, np.ndarray, np.ndarray]]:
    """All that is read of a stream, a block at a time: places of the videos in the wanted rows, which rise, and their clips and seconds."""
    all_counts = np.array(stream.counts)
    for block, (features, starts, ends) in stream.blocks(0, int(wanted.max()) + 1):
        first, end = np.searchsorted(wanted, (block.start, block.stop))
        if first == end:
            continue
        counts = all_counts[block.start : block.stop]
        kept = np.isin(np.arange(block.start, block.stop), wanted[first:end])
        features, seconds = features.astype(_kept(stream), copy=False), np.stack([starts, ends], 1)
        if (counts[~kept] > 0).any():
            clips = np.repeat(kept, counts)
            features, seconds = features[clips], seconds[clips]
        # Of one video, not-a-number in a sum is enough to see it; float16 overflows in sums.
        if not torch.isfinite(torch.from_numpy(features).sum(dim=1, dtype=torch.float32)).all():
            raise DataError(f"{path}: {stream.name} holds NaN or infinity; `features verify` says where")
        yield slice(int(first), int(end)), features, seconds


def _read_to_memory(path: Path | str, stream: Stream, rows: np.ndarray, order: np.ndarray) -> ClipTable:
    """Each video goes to its place as it comes, so that no second copy of all is made. `order` sorts the rows."""
    offsets = offsets_of(np.array(stream.counts)[rows])
    features = np.empty((int(offsets[-1]), stream.header.dim), _kept(stream))
    seconds = _no_seconds(stream, len(features))
    for videos, clips, times in _blocks(path, stream, rows[order]):
        begin = 0
        for place in order[videos]:
            here = slice(int(offsets[place]), int(offsets[place + 1]))
            end = begin + here.stop - here.start
            features[here], seconds[here] = clips[begin:end], times[begin:end]
            begin = end
    return ClipTable(stream.header, torch.from_numpy(features), offsets, seconds)


def _read_to_disk(path: Path | str, stream: Stream, rows: np.ndarray) -> ClipTable:
    """Rows rise. Where the store's format allows to read a few rows fast, they are read from it; else from a flat copy."""
    counts = np.array(stream.counts)[rows]
    offsets = offsets_of(counts)
    shape = int(offsets[-1]), stream.header.dim
    means, seconds = np.empty((len(counts), shape[1]), np.float32), _no_seconds(stream, shape[0])
    own = getattr(stream.features, "reads_few_rows_fast", False)
    copy = None if own else FlatCopy(f"{path}: {stream.name}", shape, _kept(stream))
    # Opened before anything is read: what is read later is of the same file.
    source: Videos | None = OpenStream(path, stream) if own else None
    for videos, clips, times in _blocks(path, stream, rows):
        seconds[int(offsets[videos.start]) : int(offsets[videos.stop])] = times
        means[videos] = means_of(torch.from_numpy(clips), counts[videos]).numpy()
        if copy:
            copy.append(clips)
    if copy:
        source = CopiedStream(copy.finish())
    assert source is not None
    first = offsets[:-1] if copy else stream.offsets[:-1][rows]
    clips_on_disk = DiskClips((source,), np.zeros(len(counts), int), np.asarray(first), offsets, means, _kept(stream))
    return ClipTable(stream.header, clips_on_disk, offsets, seconds)


def _no_seconds(stream: Stream, num_clips: int) -> np.ndarray:
    """`(clips, 2)`, to be filled; as the store has them, since they are part of the hash of the data."""
    return np.empty((num_clips, 2), np.result_type(stream.start_seconds.dtype, stream.end_seconds.dtype))


def _kept(stream: Stream) -> np.dtype:
    """The type that features are kept in: float16 where the store has that, which takes half the memory."""
    return np.dtype(np.float16 if stream.features.dtype.itemsize == 2 else np.float32)
