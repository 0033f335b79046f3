"""FORMAT.md line by line, over any tree of groups and arrays: how a store is laid out, and what a reader must not believe.

HDF5 and Zarr differ in how a tree is kept, not in what stands in it; `features/formats/hdf5.py` and `features/formats/zarr3.py` are the two trees.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import numpy as np

from longtake.features.columns import CHECKSUM, NUMBER_FIELDS, TEXT_FIELDS, ArrayLike, VideoTable, decode, encode
from longtake.features.errors import InvalidFeatures, NotAStore
from longtake.features.labels import Labels
from longtake.features.remote import failures
from longtake.features.store import Storage, Store, Stream, StreamPlan, require_memory
from longtake.features.types import FORMAT_VERSION, FeatureHeader, TextFeatures, TextHeader, VideoRecord
from longtake.manifests.table import check_video_id

MAGIC = "longtake-features"
NUM_BOUNDARIES = "num_boundaries"
"""Attribute of labels that have boundaries of stages; others have neither attribute nor array."""
HAS_DECODER = "has_decoder"
"""Attribute of the table of videos; stores of earlier writers have neither it nor the column."""
MAX_ROWS = 1 << 31
"""A store that declares more videos or clips than this is refused before anything is allocated."""
MAX_CHUNK_BYTES = 1 << 26
"""Readers refuse larger chunks, so features are written in fewer rows than were asked for where those would be larger."""
MAX_INFLATION = 1100
"""What gzip can do at best. A declared size that the stored bytes could not hold even so is a lie."""

DAMAGED = (
    ArithmeticError, AttributeError, EOFError, LookupError, MemoryError, OSError, RuntimeError, TypeError, ValueError,
    zlib.error,
)  # fmt: skip
"""What reading a damaged or hostile tree can raise, beside `NotAStore`."""


class Tree(Protocol):
    """A group, to be read."""

    name: str
    attributes: Mapping[str, object]

    def child(self, name: str) -> Tree:
        """Raises `NotAStore` when it is not there, or leads elsewhere."""

    def names(self) -> Sequence[str]:
        """Of the groups in it, sorted."""

    def array(self, name: str, kinds: str, num_axes: int) -> ArrayLike:
        """Not read yet; fixed-length text has one axis and kind `S`. Raises `NotAStore` for an array of another type, one
        whose data is elsewhere, or one that declares what it cannot hold."""


class NewTree(Protocol):
    """A group, to be written."""

    def child(self, name: str) -> NewTree: ...

    def attribute(self, name: str, value: str | int) -> None: ...

    def array(self, name: str, values: np.ndarray, *, by_row: bool = False) -> None:
        """A whole array. One that is read `by_row` is cut into small pieces, and its text is compressed: the longest value
        decides how long all are."""

    def table(self, name: str, shape: tuple[int, int], dtype: np.dtype, storage: Storage) -> Table: ...


class Table(Protocol):
    block_rows: int
    """Written at a time, so that no chunk is written twice."""

    def __setitem__(self, key: slice, rows: np.ndarray) -> None: ...


def check_array(name: str, shape: Sequence[int], dtype: np.dtype, kinds: str, num_axes: int) -> None:
    if len(shape) != num_axes or dtype.kind not in kinds:
        raise NotAStore(f"{name} has type {dtype} and {len(shape)} axes; {num_axes} axes of kind {kinds} expected")
    if max(shape, default=0) > MAX_ROWS:
        raise NotAStore(f"{name} declares an impossible shape {tuple(shape)}")
    if kinds != "f" or num_axes < 2:
        # All but the features is read as a whole.
        require_memory(name, 4 * int(np.prod(shape, dtype=float)) * dtype.itemsize)


def check_bytes(name: str, shape: Sequence[int], num_bytes: int, stored_bytes: int) -> None:
    """Refuse a declared size that the stored bytes cannot hold; reading would allocate it."""
    if num_bytes > max(1 << 20, MAX_INFLATION * stored_bytes):
        raise NotAStore(f"{name} declares {tuple(shape)} but stores {stored_bytes} bytes")


# Writing


def write_tree(
    root: NewTree,
    *,
    dataset: str,
    card_json: str,
    labels: Labels,
    streams: Sequence[StreamPlan],
    texts: Sequence[TextFeatures],
    storage: Storage,
) -> None:
    for name, value in {
        "format": MAGIC,
        "format_version": FORMAT_VERSION,
        "dataset": dataset,
        "created_utc": datetime.now(UTC).isoformat(timespec="seconds"),
        "chunk_rows": storage.chunk_rows,
        "compression": storage.compression,
    }.items():
        root.attribute(name, value)
    root.array("card", encode([card_json]))
    group = root.child("labels")
    group.attribute("score_names", json.dumps(labels.score_names))
    group.array("video_id", encode(labels.video_ids))
    group.array("split", encode(labels.splits))
    group.array("category", encode(labels.categories))
    group.array("scores", labels.scores.astype("<f8"))
    if labels.boundaries.shape[1]:
        group.attribute(NUM_BOUNDARIES, labels.boundaries.shape[1])
        group.array("boundary_seconds", labels.boundaries.astype("<f8"))
    group = root.child("streams")
    for plan in streams:
        _write_stream(group.child(f"{plan.header.backbone}@{plan.header.recipe_id}"), plan, storage)
    group = root.child("text")
    for text in texts:
        _write_prompt_set(group.child(f"{text.name}@{text.header.recipe_id}"), text)


def _write_stream(group: NewTree, plan: StreamPlan, storage: Storage) -> None:
    offsets = np.cumsum(np.concatenate([[0], *(item.counts for item in plan.items)]), dtype="<i8")
    total, dim = int(offsets[-1]), plan.header.dim
    group.attribute("header", plan.header.to_json())
    most_rows = MAX_CHUNK_BYTES // (dim * plan.dtype.itemsize)
    storage = replace(storage, chunk_rows=max(1, min(storage.chunk_rows, most_rows)))
    table = _Blocks(group.table("features", (total, dim), plan.dtype, storage))
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
            tables += [VideoTable.of(*zip(*single))] if single else []
            tables.append(block.videos)
            single = []
        elif block.videos:
            single.append(block.videos)
    if single or not tables:
        tables.append(VideoTable.of([record for record, _ in single], [checksum for _, checksum in single]))
    table.finish()
    group.array("offsets", offsets)
    group.array("start_seconds", start_seconds.astype("<f8"), by_row=True)
    group.array("end_seconds", end_seconds.astype("<f8"), by_row=True)
    videos = VideoTable.joined(tables)
    columns = group.child("videos")
    columns.attribute(HAS_DECODER, 1)
    columns.array("video_id", np.asarray(videos.columns["video_id"][:]))
    for name in (*TEXT_FIELDS, *NUMBER_FIELDS, CHECKSUM):
        if name != "video_id":
            columns.array(name, np.asarray(videos.columns[name][:]), by_row=True)


class _Blocks:
    """Gathers rows into whole blocks of chunks."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._waiting: list[np.ndarray] = []
        self._num_waiting = self._num_written = self.num_rows = 0

    def add(self, rows: np.ndarray) -> None:
        self.num_rows += len(rows)
        step = self._table.block_rows
        while len(rows):
            taken = rows[: step - self._num_waiting]
            # A copy, because the rows may be a view of a buffer that its owner uses again.
            self._waiting.append(taken if len(taken) == step else taken.copy())
            self._num_waiting += len(taken)
            rows = rows[len(taken) :]
            if self._num_waiting == step:
                self.finish()

    def finish(self) -> None:
        if self._num_waiting:
            end = self._num_written + self._num_waiting
            rows = self._waiting[0] if len(self._waiting) == 1 else np.concatenate(self._waiting)
            self._table[self._num_written : end] = rows
            self._num_written, self._waiting, self._num_waiting = end, [], 0


def _write_prompt_set(group: NewTree, text: TextFeatures) -> None:
    group.attribute("header", text.header.to_json())
    group.array("features", text.features.astype("<f4"))
    group.array("text", encode(text.texts))
    group.array("group", encode(text.groups))


# Reading


@dataclass(frozen=True)
class Opened:
    """A tree that was just opened, and how to let go of it."""

    root: Tree
    close: Callable[[], None]
    num_bytes: int | None
    """Stored; None where that would take a listing of something far away."""


def read_store(path: Path | str, opened: Opened) -> Store:
    """Check a tree and make a store of it. Raises `NotAStore` with one line, and then closes the tree."""
    try:
        return _read_store(path, opened)
    except (*DAMAGED, *failures()) as error:
        opened.close()
        raise NotAStore(f"{path} is not a whole Longtake feature store: {error}") from error


def _read_store(path: Path | str, opened: Opened) -> Store:
    root = opened.root
    if root.attributes.get("format") != MAGIC:
        raise NotAStore("it does not say that it is one (attribute 'format')")
    version = root.attributes.get("format_version")
    if version != FORMAT_VERSION:
        raise NotAStore(f"format version {version}; this release reads version {FORMAT_VERSION}")
    labels = root.child("labels")
    streams, texts = root.child("streams"), root.child("text")
    return Store(
        path,
        str(root.attributes["dataset"]),
        _text(root, "card")[0],
        str(root.attributes.get("created_utc", "")),
        opened.num_bytes,
        Storage(
            int(root.attributes.get("chunk_rows", Storage.chunk_rows)),
            str(root.attributes.get("compression", Storage.compression)),
        ),
        lambda: _guarded(path, _read_labels, labels),
        tuple(_read_stream(name, streams.child(name)) for name in streams.names()),
        tuple(_read_prompt_set(name, texts.child(name)) for name in texts.names()),
        opened.close,
    )


def _guarded(path: Path | str, read: Callable, *arguments: object):
    """What is read after opening gets the same care."""
    try:
        return read(*arguments)
    except (*DAMAGED, *failures()) as error:
        raise NotAStore(f"{path} is not a whole Longtake feature store: {error}") from error


def _text(group: Tree, name: str) -> tuple[str, ...]:
    return decode(np.asarray(group.array(name, "S", 1)[:]))


def _read_labels(group: Tree) -> Labels:
    video_ids = _text(group, "video_id")
    for video_id in video_ids:
        check_video_id(video_id)
    return Labels(
        video_ids,
        _text(group, "split"),
        _text(group, "category"),
        tuple(json.loads(str(group.attributes["score_names"]))),
        np.asarray(group.array("scores", "fiu", 2)[:]),
        np.asarray(group.array("boundary_seconds", "f", 2)[:])
        if NUM_BOUNDARIES in group.attributes
        else np.zeros((0, 0)),
    )


def _require_name(name: str, group: Tree, expected: str) -> None:
    """What a header says has no checksum but the name that was made of it."""
    if name != expected:
        raise NotAStore(f"{group.name} has the header of {expected}: one of the two is damaged")


def _read_stream(name: str, group: Tree) -> Stream:
    header = FeatureHeader.from_json(str(group.attributes["header"]))
    _require_name(name, group, f"{header.backbone}@{header.recipe_id}")
    features = group.array("features", "f", 2)
    offsets = np.asarray(group.array("offsets", "iu", 1)[:], np.int64)
    if features.shape[1] != header.dim:
        raise NotAStore(f"{group.name}: features are {features.shape[1]} wide, the recipe says {header.dim}")
    if not len(offsets) or offsets[0] != 0 or (np.diff(offsets) < 0).any() or offsets[-1] != features.shape[0]:
        raise NotAStore(f"{group.name}: offsets do not divide its {features.shape[0]} clips")
    table = group.child("videos")
    missing = () if HAS_DECODER in table.attributes else ("decoder",)
    columns = {name: table.array(name, "S", 1) for name in (*TEXT_FIELDS, CHECKSUM) if name not in missing}
    columns |= {name: np.zeros(len(offsets) - 1, "S1") for name in missing}
    columns |= {name: table.array(name, "fiu", 1) for name in NUMBER_FIELDS}
    _require_length(group, columns.values(), len(offsets) - 1, "videos")
    starts, ends = group.array("start_seconds", "f", 1), group.array("end_seconds", "f", 1)
    _require_length(group, (starts, ends), features.shape[0], "clips")
    return Stream(header, VideoTable(columns), offsets, starts, ends, features)


def _require_length(group: Tree, arrays: Iterable[ArrayLike], length: int, what: str) -> None:
    if any(array.shape[0] != length for array in arrays):
        raise NotAStore(f"{group.name} has {length} {what}, but a column of another length")


def _read_prompt_set(name: str, group: Tree) -> TextFeatures:
    header = TextHeader.from_json(str(group.attributes["header"]))
    _require_name(name, group, f"{name.rsplit('@', 1)[0]}@{header.recipe_id}")
    features = np.asarray(group.array("features", "fiu", 2)[:])
    return TextFeatures(name.rsplit("@", 1)[0], header, _text(group, "text"), _text(group, "group"), features)
