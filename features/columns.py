"""The table of videos of a stream: one column per field of `VideoRecord`, read from the file on access.

A store of a hundred thousand videos opens as fast as one of five hundred, because reading one video makes one record.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import fields
from functools import cached_property
from itertools import groupby
from typing import Any, Protocol

import numpy as np

from longtake.collector import paused_collector
from longtake.features.errors import NotAStore, NotInStore
from longtake.features.types import VideoRecord
from longtake.manifests.table import check_video_ids

TEXT_FIELDS = tuple(f.name for f in fields(VideoRecord) if f.type == "str")
NUMBER_FIELDS = tuple(f.name for f in fields(VideoRecord) if f.type == "float")
CHECKSUM = "features_sha256"
BLOCK_ROWS = 1 << 13
"""Rows of a column that are objects at a time, where not all of them stay."""


class ArrayLike(Protocol):
    """What a store needs of an array. numpy, HDF5 and Zarr arrays have it."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> np.dtype: ...

    def __getitem__(self, key: slice, /) -> np.ndarray: ...


def encode(values: Sequence[str]) -> np.ndarray:
    """Text as stores keep it: fixed-length UTF-8, ended by NUL, which no value may contain."""
    longest = max(map(len, map(str.encode, values)), default=0)
    encoded = np.zeros(len(values), f"S{longest + 1}")
    for begin in range(0, len(values), BLOCK_ROWS):
        block = values[begin : begin + BLOCK_ROWS]
        encoded[begin : begin + len(block)] = [*map(str.encode, block)]
    return encoded


def terminated(values: np.ndarray) -> np.ndarray:
    """The same text, if it was stored without room for a NUL at the end of the longest value; other arrays as they are."""
    if values.dtype.kind != "S" or not len(values):
        return values
    last = np.ascontiguousarray(values).view(np.uint8).reshape(len(values), -1)[:, -1]
    return values.astype(f"S{values.dtype.itemsize + 1}") if last.any() else values


def decode(values: np.ndarray) -> tuple[str, ...]:
    """Raises `NotAStore` for bytes that are not UTF-8."""
    found: list[str] = []
    try:
        for begin in range(0, len(values), BLOCK_ROWS):
            block = values[begin : begin + BLOCK_ROWS].tolist()
            different = dict.fromkeys(block)
            if len(different) == len(block):
                found += map(bytes.decode, block)
            else:  # Equal texts, such as splits, are one object.
                texts = {value: value.decode() for value in different}
                found += map(texts.__getitem__, block)
        return tuple(found)
    except UnicodeDecodeError as error:
        raise NotAStore(f"a text that is not UTF-8: {error}") from error


class VideoTable:
    """The videos of a stream. `columns` has the fields of `VideoRecord` and `features_sha256`, all of one length."""

    def __init__(self, columns: Mapping[str, ArrayLike]) -> None:
        self.columns = columns

    @classmethod
    def of(cls, videos: Sequence[tuple[VideoRecord, str]]) -> VideoTable:
        """Of records, each with the checksum of its features."""
        columns: dict[str, ArrayLike] = {CHECKSUM: encode([checksum for _, checksum in videos])}
        columns |= {name: encode([getattr(record, name) for record, _ in videos]) for name in TEXT_FIELDS}
        columns |= {name: np.array([getattr(record, name) for record, _ in videos], "<f8") for name in NUMBER_FIELDS}
        return cls(columns)

    @staticmethod
    def unknown(names: Collection[str], length: int) -> dict[str, ArrayLike]:
        """Columns without a value in any row: empty text and nan."""
        return {name: np.zeros(length, "S1") if name in TEXT_FIELDS else np.full(length, np.nan) for name in names}

    def part(self, begin: int, end: int) -> VideoTable:
        return VideoTable({name: column[begin:end] for name, column in self.columns.items()})

    def __len__(self) -> int:
        return self.columns["video_id"].shape[0]

    @cached_property
    def _ids(self) -> np.ndarray:
        return np.asarray(self.columns["video_id"][:])

    def to_columns(self) -> dict[str, Sequence[object]]:
        """Field of `VideoRecord` -> values of all videos."""
        return {f.name: [getattr(record, f.name) for record in self.records] for f in fields(VideoRecord)}

    def _text(self, name: str) -> tuple[str, ...]:
        return decode(np.asarray(self.columns[name][:]))

    @cached_property
    def video_ids(self) -> tuple[str, ...]:
        return check_video_ids(decode(self._ids))

    @cached_property
    def rows(self) -> Mapping[str, int]:
        """video_id -> row."""
        return dict(zip(self.video_ids, range(len(self))))

    @cached_property
    def statuses(self) -> tuple[str, ...]:
        return self._text("status")

    @cached_property
    def checksums(self) -> tuple[str, ...]:
        return self._text(CHECKSUM)

    @cached_property
    def records(self) -> tuple[VideoRecord, ...]:
        values: dict[str, Sequence[Any]] = {name: self._text(name) for name in TEXT_FIELDS}
        values |= {name: np.asarray(self.columns[name][:]).tolist() for name in NUMBER_FIELDS}
        with paused_collector():
            return tuple(VideoRecord(**dict(zip(values, row))) for row in zip(*values.values()))

    def some(self, rows: Iterable[int]) -> dict[int, tuple[VideoRecord, str]]:
        """Row -> record and checksum of the features. The columns are read in blocks, and no other row becomes an object."""
        found: dict[int, tuple[VideoRecord, str]] = {}
        for _, block in groupby(sorted(rows), key=lambda row: row // BLOCK_ROWS):
            wanted = list(block)
            indices = np.array(wanted) - wanted[0]
            part = self.part(wanted[0], wanted[-1] + 1)
            table = VideoTable({name: np.asarray(column[:])[indices] for name, column in part.columns.items()})
            found |= zip(wanted, zip(table.records, table.checksums))
        return found

    def record(self, row: int) -> VideoRecord:
        return self.part(row, row + 1).records[0]

    def rows_of(self, video_ids: Iterable[str]) -> dict[str, int]:
        """video_id -> row, of those of these videos that are here. The ids of the others are checked, and are no objects later."""
        wanted = {video_id.encode(): video_id for video_id in video_ids}
        found: dict[str, int] = {}
        for begin in range(0, len(self) if wanted else 0, BLOCK_ROWS):
            ids = self._checked_ids[begin : begin + BLOCK_ROWS].tolist()
            found |= {wanted[one]: row for row, one in enumerate(ids, begin) if one in wanted}
        return found

    @cached_property
    def _checked_ids(self) -> np.ndarray:
        for begin in range(0, len(self), BLOCK_ROWS):
            check_video_ids(decode(self._ids[begin : begin + BLOCK_ROWS]))
        return self._ids

    def find(self, video_id: str) -> int:
        """The row of a video; the other ids are not decoded. Raises `NotInStore`."""
        found = np.flatnonzero(self._ids == video_id.encode())
        if not len(found):
            raise NotInStore(f"no video {video_id!r}")
        return int(found[0])
