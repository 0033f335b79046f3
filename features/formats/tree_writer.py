"""Write a store as FORMAT.md lays it out, over any tree."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np

from longtake.features.columns import CHECKSUM, NUMBER_FIELDS, TEXT_FIELDS, ArrayLike, VideoTable, encode, terminated
from longtake.features.content import Content, Storage, StreamPlan, StreamRows
from longtake.features.errors import InvalidFeatures
from longtake.features.formats.checksums import SummedTree
from longtake.features.formats.tree import (
    GROUP_NAMES,
    LATER_COLUMNS,
    MAGIC,
    MAX_CHUNK_BYTES,
    NUM_BOUNDARIES,
    NewTable,
    NewTree,
    stored_of,
)
from longtake.features.types import FORMAT_VERSION, TextFeatures, VideoRecord


def write_tree(root: NewTree, content: Content) -> None:
    """Raises `InvalidFeatures` for features that do not have the dtype and width of their plan."""
    summed = SummedTree(root)
    _write_contents(summed, content)
    summed.finish()


def _write_contents(root: NewTree, content: Content) -> None:
    labels, storage = content.labels, content.storage
    root.attribute("format", MAGIC)
    root.attribute("format_version", FORMAT_VERSION)
    root.attribute("dataset", content.dataset)
    root.attribute("created_utc", datetime.now(UTC).isoformat(timespec="seconds"))
    root.attribute("chunk_rows", storage.chunk_rows)
    root.attribute("compression", storage.compression)
    root.array("card", encode([content.card_json]), ("one",))
    group = root.child("labels")
    group.attribute("score_names", json.dumps(labels.score_names))
    for name, values in labels.texts.items():
        column = content.label_texts.get(name)
        piece = encode(values) if column is None else column
        _write_column(group, name, len(labels), ("video",), [(piece, slice(0, len(labels)))], is_whole=True)
    group.array("scores", labels.scores.astype("<f8"), ("video", "score"))
    if labels.boundaries.shape[1]:
        group.attribute(NUM_BOUNDARIES, labels.boundaries.shape[1])
        group.array("boundary_seconds", labels.boundaries.astype("<f8"), ("video", "boundary"))
    if labels.groups:
        group.attribute(GROUP_NAMES, json.dumps(list(labels.groups)))
    group = root.child("streams")
    for plan in content.streams:
        _write_stream(group.child(plan.header.stream_name), plan, storage)
    group = root.child("text")
    for text in content.texts:
        _write_prompt_set(group.child(text.full_name), text)


def _write_stream(group: NewTree, plan: StreamPlan, storage: Storage) -> None:
    offsets = np.cumsum(np.concatenate([[0], *(item.counts for item in plan.items)]), dtype="<i8")
    total, dim = int(offsets[-1]), plan.header.dim
    group.attribute("header", plan.header.to_json())
    most_rows = MAX_CHUNK_BYTES // (dim * plan.dtype.itemsize)
    storage = replace(storage, chunk_rows=max(1, min(storage.chunk_rows, most_rows)))
    table = _Blocks(group.table("features", (total, dim), plan.dtype, ("clip", "feature"), storage))
    times = {name: _Times(total) for name in ("start_seconds", "end_seconds")}
    videos = _Videos()
    for item in plan.items:
        is_alike = isinstance(item, StreamRows) and item.stream.features.dtype == plan.dtype
        if isinstance(item, StreamRows) and is_alike and table.add_kept(item.stream.features, item.rows, total):
            for name, column in times.items():
                column.pieces.append((getattr(item.stream, name), item.rows))
            videos.add_kept(item.stream.videos, slice(item.begin, item.end))
            continue
        for block in item.blocks():
            rows = block.features
            if rows.ndim != 2 or rows.shape[1] != dim or (len(rows) and rows.dtype != plan.dtype):
                raise InvalidFeatures(
                    f"{plan.header.backbone}: {plan.dtype} features {dim} wide expected, got {rows.dtype} of shape {rows.shape}"
                )
            times["start_seconds"].add(table.num_rows, block.start_seconds)
            times["end_seconds"].add(table.num_rows, block.end_seconds)
            table.add(rows)
            videos.add(block.videos)
    table.finish()
    group.array("offsets", offsets, ("offset",))
    for name, column in times.items():
        _write_column(group, name, total, ("clip",), column.pieces)
    _write_videos(group.child("videos"), len(offsets) - 1, videos)


def _write_videos(columns: NewTree, num_videos: int, videos: _Videos) -> None:
    for attribute in LATER_COLUMNS.values():
        columns.attribute(attribute, 1)
    _write_column(columns, "video_id", num_videos, ("video",), videos.pieces("video_id"), is_whole=True)
    for name in (*TEXT_FIELDS, *NUMBER_FIELDS, CHECKSUM):
        if name != "video_id":
            _write_column(columns, name, num_videos, ("video",), videos.pieces(name))


Piece = tuple[ArrayLike, slice]
"""Rows of a column, in memory or in an open store."""


def _write_column(
    group: NewTree, name: str, num_rows: int, axes: Sequence[str], pieces: Sequence[Piece], *, is_whole: bool = False
) -> None:
    pieces = [_terminated(*piece) for piece in pieces]
    none = np.dtype("S1" if name in (*TEXT_FIELDS, CHECKSUM) else "<f8")
    dtype = max((source.dtype for source, _ in pieces), key=lambda one: one.itemsize, default=none)
    dtype = dtype if dtype.kind == "S" else np.dtype("<f8")
    table = _Blocks(group.column(name, num_rows, dtype, axes, is_whole=is_whole), dtype)
    for source, rows in pieces:
        if not table.add_kept(source, rows, num_rows):
            table.add(np.asarray(source[rows]))
    table.finish()


def _terminated(source: ArrayLike, rows: slice) -> Piece:
    """Text that has a NUL after its longest value; numbers as they are. Rows in an open store are read only if an earlier writer wrote them."""
    stored = stored_of(source)
    if source.dtype.kind != "S" or (stored is not None and stored.is_terminated):
        return source, rows
    return terminated(np.asarray(source[rows])), slice(0, rows.stop - rows.start)


class _Times:
    """Collects the times of clips. Those of videos that are read are copied: they may be views of a buffer with the features."""

    def __init__(self, num_clips: int) -> None:
        self._own = np.zeros(num_clips, "<f8")
        self.pieces: list[Piece] = []

    def add(self, first: int, seconds: np.ndarray) -> None:
        end = first + len(seconds)
        self._own[first:end] = seconds
        if self.pieces and self.pieces[-1][0] is self._own:
            first = self.pieces.pop()[1].start
        self.pieces.append((self._own, slice(first, end)))


class _Videos:
    """Collects the table of videos."""

    def __init__(self) -> None:
        self._tables: list[tuple[VideoTable, slice]] = []
        self._single: list[tuple[VideoRecord, str]] = []

    def add(self, videos: tuple[VideoRecord, str] | VideoTable) -> None:
        if isinstance(videos, VideoTable):
            self.add_kept(videos, slice(0, len(videos)))
        else:
            self._single.append(videos)

    def add_kept(self, videos: VideoTable, rows: slice) -> None:
        """Rows of an open store, which are not read before they are written, or not at all."""
        self._end_single()
        self._tables.append((videos, rows))

    def pieces(self, name: str) -> list[Piece]:
        self._end_single()
        return [(table.columns[name], rows) for table, rows in self._tables]

    def _end_single(self) -> None:
        if self._single:
            self._tables.append((VideoTable.of(self._single), slice(0, len(self._single))))
            self._single = []


class _Blocks:
    """Collects rows into whole blocks of chunks."""

    def __init__(self, table: NewTable, dtype: np.dtype | None = None) -> None:
        """`dtype` is that of text, which may be longer than that of the rows that are added."""
        self._table, self._dtype = table, dtype
        self._waiting: np.ndarray | None = None
        """Room for a block; it takes memory only as rows are written."""
        self._num_waiting = self._num_written = self.num_rows = 0

    def add(self, rows: np.ndarray) -> None:
        self.num_rows += len(rows)
        if self._dtype is not None:
            rows = rows.astype(self._dtype, copy=False)
        while len(rows):
            room = self._room()
            taken, rows = rows[:room], rows[room:]
            if len(taken) == room and not self._num_waiting:
                self._write(taken)
                continue
            # A copy: the rows may be a view of a buffer that is reused.
            if self._waiting is None:
                self._waiting = np.empty((self._table.block_rows, *taken.shape[1:]), taken.dtype)
            self._waiting[self._num_waiting : self._num_waiting + len(taken)] = taken
            self._num_waiting += len(taken)
            if len(taken) == room:
                self._write_waiting()

    def _room(self) -> int:
        """Rows until the block is full, of which a first part may have been kept."""
        step = self._table.block_rows
        return step - self._num_written % step - self._num_waiting

    def add_kept(self, source: ArrayLike, rows: slice, total: int) -> bool:
        """Add these rows of an open store, which have the same places in it, without reading the chunks that the new store can keep. False if
        there are none; then nothing was added. `total` is the number of rows of the new table."""
        step, chunk = self._table.block_rows, self._table.chunk_rows
        first = -(-rows.start // step) * step
        last = rows.stop if rows.stop == total == source.shape[0] else rows.stop // chunk * chunk
        if rows.start != self.num_rows or first >= last:
            return False
        self._copy(source, rows.start, first)
        if self._table.keep(source, slice(first, last)):
            self._num_written = self.num_rows = last
        else:
            self._copy(source, first, last)
        self._copy(source, last, rows.stop)
        return True

    def _copy(self, source: ArrayLike, begin: int, end: int) -> None:
        step = self._table.block_rows
        for row in range(begin, end, step):
            self.add(source[row : min(row + step, end)])

    def finish(self) -> None:
        """Write the rows that are left."""
        self._write_waiting()
        self._waiting = None

    def _write_waiting(self) -> None:
        if self._waiting is not None and self._num_waiting:
            rows, self._num_waiting = self._waiting[: self._num_waiting], 0
            self._write(rows)

    def _write(self, rows: np.ndarray) -> None:
        end = self._num_written + len(rows)
        self._table.write(slice(self._num_written, end), rows)
        self._num_written = end


def _write_prompt_set(group: NewTree, text: TextFeatures) -> None:
    group.attribute("header", text.header.to_json())
    group.array("features", text.features.astype("<f4"), ("prompt", "feature"))
    group.array("text", encode(text.texts), ("prompt",))
    group.array("group", encode(text.groups), ("prompt",))
