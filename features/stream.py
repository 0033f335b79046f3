"""The features of one backbone in an open store, read from the file on access."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from longtake.features.columns import ArrayLike, VideoTable
from longtake.features.errors import InvalidFeatures
from longtake.features.types import FeatureHeader, VideoFeatures, VideoRecord
from longtake.notebooks import data_frame

BLOCK_BYTES = 1 << 25
"""Copied at a time from store to store."""

Clips = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Features `(clips, dim)`, start seconds and end seconds `(clips,)`."""


def require_memory(what: str, num_bytes: int) -> None:
    """Raise `InvalidFeatures` for more than the memory of this machine: the store is too large, or its declared size is false."""
    have = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if num_bytes > have:
        raise InvalidFeatures(f"{what}: {num_bytes / 1e9:.0f} GB, but this machine has {have / 1e9:.0f} GB of memory")


@dataclass(frozen=True, repr=False)
class Stream:
    """The features of one backbone with one recipe."""

    header: FeatureHeader
    videos: VideoTable
    offsets: np.ndarray
    """int64, `(videos + 1,)`: video i has the rows `offsets[i]:offsets[i + 1]`."""
    start_seconds: ArrayLike
    """float64, `(total_clips,)`; this and the two below are read from the file on access."""
    end_seconds: ArrayLike
    features: ArrayLike
    """`(total_clips, dim)`."""

    def __repr__(self) -> str:
        return f"Stream({self.name}: {self.summary})"

    @property
    def summary(self) -> str:
        size = f"{len(self.videos)} videos, {self.num_clips} clips x {self.header.dim} {self.features.dtype}"
        return f"{size}, RANDOM weights" if self.header.weights_random else size

    def to_pandas(self) -> Any:
        """One row per video, failed ones included: a pandas DataFrame. Raises `LongtakeError` if pandas is not installed."""
        return data_frame({**self.videos.to_columns(), "clips": self.counts})

    @property
    def name(self) -> str:
        return self.header.stream_name

    @property
    def num_clips(self) -> int:
        return int(self.offsets[-1])

    @property
    def counts(self) -> list[int]:
        """Clips of each video."""
        counts: list[int] = np.diff(self.offsets).tolist()
        return counts

    @property
    def records(self) -> tuple[VideoRecord, ...]:
        return self.videos.records

    def rows(self) -> Mapping[str, int]:
        """video_id -> row."""
        return self.videos.rows

    def read(self, video: int | str) -> VideoFeatures:
        """One video by its row or id; touches that video's bytes only. Raises `NotInStore`, `NotAStore`."""
        row = self.videos.find(video) if isinstance(video, str) else video
        begin, end = int(self.offsets[row]), int(self.offsets[row + 1])
        return VideoFeatures(self.videos.record(row), *self.read_clips(begin, end))

    def read_clips(self, begin: int, end: int) -> Clips:
        """Features, start and end times of the clips `[begin, end)` of the whole stream."""
        num_bytes = (end - begin) * self.header.dim * self.features.dtype.itemsize
        require_memory(f"{end - begin} clips of {self.name}", num_bytes)
        features, starts, ends = (
            np.asarray(array[begin:end]) for array in (self.features, self.start_seconds, self.end_seconds)
        )
        return features, starts, ends

    def blocks(self, first: int, end: int) -> Iterator[tuple[range, Clips]]:
        """The videos `[first, end)` of the table, many at a time: their rows, and the clips of them all."""
        limit = max(1, BLOCK_BYTES // (self.header.dim * self.features.dtype.itemsize))
        while first < end:
            begin = int(self.offsets[first])
            last = max(first + 1, int(np.searchsorted(self.offsets, begin + limit, side="right")) - 1)
            rows = range(first, min(last, end))
            yield rows, self.read_clips(begin, int(self.offsets[rows.stop]))
            first = rows.stop

    def each(self) -> Iterator[tuple[VideoRecord, Clips]]:
        """All videos in order with features, start and end times, read many at a time."""
        for rows, (features, starts, ends) in self.blocks(0, len(self.videos)):
            begin = int(self.offsets[rows.start])
            for row in rows:
                clips = slice(int(self.offsets[row]) - begin, int(self.offsets[row + 1]) - begin)
                yield self.records[row], (features[clips], starts[clips], ends[clips])

    def read_all(self) -> np.ndarray:
        """`(total_clips, dim)` in one read."""
        require_memory(self.name, self.num_clips * self.header.dim * self.features.dtype.itemsize)
        return np.asarray(self.features[0 : self.num_clips])
