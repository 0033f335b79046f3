"""Write a store as FORMAT.md lays it out, over any tree."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np

from longtake.features.columns import CHECKSUM, NUMBER_FIELDS, TEXT_FIELDS, ArrayLike, VideoTable, encode
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
    Same,
)
from longtake.features.types import FORMAT_VERSION, TextFeatures, VideoRecord
from longtake.manifests.table import GROUP_PREFIX


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
    group.array("video_id", encode(labels.video_ids), ("video",))
    group.array("split", encode(labels.splits), ("video",))
    group.array("category", encode(labels.categories), ("video",))
    group.array("scores", labels.scores.astype("<f8"), ("video", "score"))
    if labels.boundaries.shape[1]:
        group.attribute(NUM_BOUNDARIES, labels.boundaries.shape[1])
        group.array("boundary_seconds", labels.boundaries.astype("<f8"), ("video", "boundary"))
    if labels.groups:
        group.attribute(GROUP_NAMES, json.dumps(list(labels.groups)))
        for name, values in labels.groups.items():
            group.array(GROUP_PREFIX + name, encode(values), ("video",))
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
    times = {name: np.zeros(total, "<f8") for name in ("start_seconds", "end_seconds")}
    same: dict[str, list[Same]] = {name: [] for name in times}
    videos = _Videos()
    for item in plan.items:
        is_alike = isinstance(item, StreamRows) and item.stream.features.dtype == plan.dtype
        if isinstance(item, StreamRows) and is_alike and table.add_kept(item.stream.features, item.rows, total):
            for name, values in times.items():
                source: ArrayLike = getattr(item.stream, name)
                values[item.rows] = source[item.rows]
                same[name].append((source, item.rows))
            videos.add(item.stream.videos.part(item.begin, item.end))
            continue
        for block in item.blocks():
            rows = block.features
            if rows.ndim != 2 or rows.shape[1] != dim or (len(rows) and rows.dtype != plan.dtype):
                raise InvalidFeatures(
                    f"{plan.header.backbone}: {plan.dtype} features {dim} wide expected, got {rows.dtype} of shape {rows.shape}"
                )
            begin, end = table.num_rows, table.num_rows + len(rows)
            times["start_seconds"][begin:end], times["end_seconds"][begin:end] = block.start_seconds, block.end_seconds
            table.add(rows)
            videos.add(block.videos)
    table.finish()
    group.array("offsets", offsets, ("offset",))
    for name, values in times.items():
        group.array(name, values, ("clip",), by_row=True, same=same[name])
    _write_videos(group.child("videos"), videos.joined())


def _write_videos(columns: NewTree, videos: VideoTable) -> None:
    for attribute in LATER_COLUMNS.values():
        columns.attribute(attribute, 1)
    columns.array("video_id", np.asarray(videos.columns["video_id"][:]), ("video",))
    for name in (*TEXT_FIELDS, *NUMBER_FIELDS, CHECKSUM):
        if name != "video_id":
            columns.array(name, np.asarray(videos.columns[name][:]), ("video",), by_row=True)


class _Videos:
    """Collects the table of videos."""

    def __init__(self) -> None:
        self._tables: list[VideoTable] = []
        self._single: list[tuple[VideoRecord, str]] = []

    def add(self, videos: tuple[VideoRecord, str] | VideoTable) -> None:
        if isinstance(videos, VideoTable):
            self._end_single()
            self._tables.append(videos)
        else:
            self._single.append(videos)

    def joined(self) -> VideoTable:
        if not self._tables:
            return VideoTable.of(self._single)
        self._end_single()
        return VideoTable.joined(self._tables)

    def _end_single(self) -> None:
        if self._single:
            self._tables.append(VideoTable.of(self._single))
            self._single = []


class _Blocks:
    """Collects rows into whole blocks of chunks."""

    def __init__(self, table: NewTable) -> None:
        self._table = table
        self._waiting: list[np.ndarray] = []
        self._num_waiting = self._num_written = self.num_rows = 0

    def add(self, rows: np.ndarray) -> None:
        self.num_rows += len(rows)
        step = self._table.block_rows
        while len(rows):
            taken = rows[: step - self._num_waiting]
            # A copy: the rows may be a view of a buffer that is reused.
            self._waiting.append(taken if len(taken) == step else taken.copy())
            self._num_waiting += len(taken)
            rows = rows[len(taken) :]
            if self._num_waiting == step:
                self.finish()

    def add_kept(self, source: ArrayLike, rows: slice, total: int) -> bool:
        """Add these rows of an open store, which have the same places in it, without reading the blocks that the new store can keep. False if
        there are none; then nothing was added. `total` is the number of rows of the new table."""
        step = self._table.block_rows
        first = -(-rows.start // step) * step
        last = rows.stop if rows.stop == total == source.shape[0] else rows.stop // step * step
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
        if self._num_waiting:
            end = self._num_written + self._num_waiting
            rows = self._waiting[0] if len(self._waiting) == 1 else np.concatenate(self._waiting)
            self._table.write(slice(self._num_written, end), rows)
            self._num_written, self._waiting, self._num_waiting = end, [], 0


def _write_prompt_set(group: NewTree, text: TextFeatures) -> None:
    group.attribute("header", text.header.to_json())
    group.array("features", text.features.astype("<f4"), ("prompt", "feature"))
    group.array("text", encode(text.texts), ("prompt",))
    group.array("group", encode(text.groups), ("prompt",))
