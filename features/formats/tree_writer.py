"""Write a store as FORMAT.md lays it out, over any tree."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np

from longtake.features.columns import CHECKSUM, NUMBER_FIELDS, TEXT_FIELDS, VideoTable, encode
from longtake.features.content import Content, Storage, StreamPlan
from longtake.features.errors import InvalidFeatures
from longtake.features.formats.checksums import SummedTree
from longtake.features.formats.tree import (
    GROUP_NAMES,
    LATER_COLUMNS,
    MAGIC,
    MAX_CHUNK_BYTES,
    NUM_BOUNDARIES,
    NewTree,
    Write,
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
    table = _Blocks(*group.table("features", (total, dim), plan.dtype, ("clip", "feature"), storage))
    start_seconds, end_seconds = np.zeros(total), np.zeros(total)
    tables: list[VideoTable] = []
    single: list[tuple[VideoRecord, str]] = []
    for block in (block for item in plan.items for block in item.blocks()):
        rows = block.features
        if rows.ndim != 2 or rows.shape[1] != dim or (len(rows) and rows.dtype != plan.dtype):
            raise InvalidFeatures(
                f"{plan.header.backbone}: {plan.dtype} features {dim} wide expected, got {rows.dtype} of shape {rows.shape}"
            )
        begin, end = table.num_rows, table.num_rows + len(rows)
        start_seconds[begin:end], end_seconds[begin:end] = block.start_seconds, block.end_seconds
        table.add(rows)
        if isinstance(block.videos, VideoTable):
            tables += [VideoTable.of(single)] if single else []
            tables.append(block.videos)
            single = []
        else:
            single.append(block.videos)
    if single or not tables:
        tables.append(VideoTable.of(single))
    table.finish()
    group.array("offsets", offsets, ("offset",))
    group.array("start_seconds", start_seconds.astype("<f8"), ("clip",), by_row=True)
    group.array("end_seconds", end_seconds.astype("<f8"), ("clip",), by_row=True)
    videos = VideoTable.joined(tables)
    columns = group.child("videos")
    for attribute in LATER_COLUMNS.values():
        columns.attribute(attribute, 1)
    columns.array("video_id", np.asarray(videos.columns["video_id"][:]), ("video",))
    for name in (*TEXT_FIELDS, *NUMBER_FIELDS, CHECKSUM):
        if name != "video_id":
            columns.array(name, np.asarray(videos.columns[name][:]), ("video",), by_row=True)


class _Blocks:
    """Collects rows into whole blocks of chunks."""

    def __init__(self, block_rows: int, write: Write) -> None:
        self._block_rows, self._write = block_rows, write
        self._waiting: list[np.ndarray] = []
        self._num_waiting = self._num_written = self.num_rows = 0

    def add(self, rows: np.ndarray) -> None:
        self.num_rows += len(rows)
        step = self._block_rows
        while len(rows):
            taken = rows[: step - self._num_waiting]
            # A copy: the rows may be a view of a buffer that is reused.
            self._waiting.append(taken if len(taken) == step else taken.copy())
            self._num_waiting += len(taken)
            rows = rows[len(taken) :]
            if self._num_waiting == step:
                self.finish()

    def finish(self) -> None:
        if self._num_waiting:
            end = self._num_written + self._num_waiting
            rows = self._waiting[0] if len(self._waiting) == 1 else np.concatenate(self._waiting)
            self._write(slice(self._num_written, end), rows)
            self._num_written, self._waiting, self._num_waiting = end, [], 0


def _write_prompt_set(group: NewTree, text: TextFeatures) -> None:
    group.attribute("header", text.header.to_json())
    group.array("features", text.features.astype("<f4"), ("prompt", "feature"))
    group.array("text", encode(text.texts), ("prompt",))
    group.array("group", encode(text.groups), ("prompt",))
