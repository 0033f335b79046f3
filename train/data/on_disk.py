"""Clips that stay on the disk, because the features of a stream do not fit in memory: read when a batch takes them.

They are read with `pread`, not mapped into memory: a file that is cut off or a disk that fails is then an error with a message, where a mapping would
end the process, and what was read counts as memory of the batch alone. Whatever is read is compared with its checksums, each time.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np

from longtake.features.columns import CHECKSUM, ArrayLike
from longtake.features.errors import NotAStore
from longtake.features.store import Store, open_store
from longtake.features.stream import Stream
from longtake.train.errors import DataError


class Videos(Protocol):
    """The clips of the videos of a stream."""

    def read(self, first: int, end: int) -> np.ndarray:
        """Rows `[first, end)`, as they are stored, `(rows, dim)`."""


@dataclass(frozen=True)
class DiskClips:
    """The features of the videos of a table, one after the other: what `ClipTable.features` is of features that do not fit in memory."""

    sources: tuple[Videos, ...]
    source: np.ndarray
    """int, `(videos,)`: which of the sources a video is in."""
    first: np.ndarray
    """int, `(videos,)`: where it begins there."""
    offsets: np.ndarray
    """int64, `(videos + 1,)`."""
    means: np.ndarray
    """float32, `(videos, dim)`: the mean of the clips of each video."""
    dtype: np.dtype

    def __len__(self) -> int:
        return int(self.offsets[-1])

    @property
    def shape(self) -> tuple[int, int]:
        return len(self), self.means.shape[1]

    @property
    def nbytes(self) -> int:
        return len(self) * self.shape[1] * self.dtype.itemsize

    def take(self, rows: np.ndarray) -> DiskClips:
        """These videos alone, in this order."""
        offsets = np.concatenate([[0], np.cumsum(np.diff(self.offsets)[rows])])
        return replace(self, source=self.source[rows], first=self.first[rows], offsets=offsets, means=self.means[rows])

    def gather(self, index: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """Clips by their numbers, int `(batch, steps)`, each row of one video; zero where the mask is False: float32 `(batch, steps, dim)`."""
        made = np.zeros((*index.shape, self.shape[1]), np.float32)
        for place, (numbers, there) in enumerate(zip(index, mask)):
            wanted = numbers[there]
            if not len(wanted):
                continue
            begin, end = int(wanted.min()), int(wanted.max()) + 1
            clips = self.read(begin, end)
            if len(clips) == len(wanted) and there[: len(wanted)].all():
                made[place, : len(wanted)] = clips[wanted - begin] if (np.diff(wanted) != 1).any() else clips
            else:
                made[place, there] = clips[wanted - begin]
        return made

    def read(self, begin: int, end: int) -> np.ndarray:
        """The clips `[begin, end)`, which are of one video, as they are stored."""
        video = int(np.searchsorted(self.offsets, begin, side="right")) - 1
        assert end <= self.offsets[video + 1], "clips of several videos"
        first = int(self.first[video]) + begin - int(self.offsets[video])
        return self.sources[self.source[video]].read(first, first + end - begin)


def join_on_disk(tables: Sequence[DiskClips]) -> DiskClips:
    """The videos of several tables one after the other; the wider type of numbers."""
    begins = np.cumsum([0, *(len(table.sources) for table in tables)])
    counts = np.concatenate([np.diff(table.offsets) for table in tables])
    return DiskClips(
        tuple(source for table in tables for source in table.sources),
        np.concatenate([table.source + begin for table, begin in zip(tables, begins)]),
        np.concatenate([table.first for table in tables]),
        np.concatenate([[0], np.cumsum(counts)]),
        np.concatenate([table.means for table in tables]),
        np.result_type(*(table.dtype for table in tables)),
    )


class OpenStream:
    """A stream that is read from the store itself, which stays open as long as this is used."""

    def __init__(self, path: Path | str, stream: Stream) -> None:
        """Raises `DataError` where the store has been replaced since the stream was opened."""
        self._path, self._name = path, stream.name
        store = open_store(path)
        weakref.finalize(self, store.close)
        if is_other(store, stream):
            store.close()
            raise DataError(replaced(path))
        self._stream = store.stream(stream.name)

    def read(self, first: int, end: int) -> np.ndarray:
        return read_features(self._path, self._stream, self._stream.features, first, end)


class CopiedStream:
    """A stream that is read from a flat copy."""

    def __init__(self, copy: ArrayLike) -> None:
        self._copy = copy

    def read(self, first: int, end: int) -> np.ndarray:
        return np.asarray(self._copy[first:end])


def read_features(path: Path | str, stream: Stream, features: ArrayLike, first: int, end: int) -> np.ndarray:
    """Raises `DataError` where reading fails because the store was replaced: on a network, its file or folder is then gone."""
    try:
        return np.asarray(features[first:end])
    except NotAStore as error:
        require_same_store(path, [stream], error)
        raise


def require_same_store(path: Path | str, streams: Sequence[Stream], failure: NotAStore) -> None:
    """Raises `DataError` where the store at `path` is another than the one whose streams could not be read."""
    try:
        with open_store(path) as store:
            other = any(is_other(store, stream) for stream in streams)
    except NotAStore:
        return
    if other:
        raise DataError(replaced(path)) from failure


def is_other(store: Store, stream: Stream) -> bool:
    """Whether the stream of that name has other videos, clips or features now, or what was opened is gone. Raises `NotAStore` where the store is
    damaged."""
    now = next((one for one in store.streams if one.name == stream.name), None)
    if now is None or now.counts != stream.counts:
        return True
    sums = np.asarray(now.videos.columns[CHECKSUM][:])
    try:
        return not np.array_equal(sums, stream.videos.columns[CHECKSUM][:])
    except NotAStore:
        return True


def replaced(path: Path | str) -> str:
    return f"{path} was published again while it was being read, and what was opened is gone: run the command again; --resume keeps finished models"
