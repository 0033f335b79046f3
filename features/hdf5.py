"""The HDF5 form of a store: FORMAT.md, line by line.

A store is never changed in place. It is written whole beside its final name, synced, and renamed over it, because a file
that is killed while HDF5 appends to it can no longer be opened at all, old data included.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from features.errors import InvalidFeatures, NotAStore
from features.store import Store, Stream, StreamPlan
from features.types import (
    FORMAT_VERSION,
    FeatureHeader,
    Labels,
    TextFeatures,
    TextHeader,
    VideoRecord,
)
from features.writer import temporary_beside

MAGIC = "longtake-features"
CHUNK_ROWS = 128
"""Clips per HDF5 chunk: about one routine, so that reading one video reads one or two chunks."""
MAX_ROWS = 1 << 31
"""A store that declares more videos or clips than this is refused before anything is allocated."""

TEXT_FIELDS = tuple(f.name for f in fields(VideoRecord) if f.type == "str")
NUMBER_FIELDS = tuple(f.name for f in fields(VideoRecord) if f.type == "float")


def write_hdf5(
    path: Path,
    *,
    dataset: str,
    card_json: str,
    labels: Labels,
    streams: Sequence[StreamPlan],
    texts: Sequence[TextFeatures],
) -> None:
    """Write a whole store and publish it at `path` by one rename. Readers see the old store or the new one."""
    temporary = temporary_beside(path)
    try:
        # Locking is off because the file is ours alone until it is renamed, and network file systems refuse locks.
        with h5py.File(temporary, "w", locking=False) as file:
            file.attrs["format"] = MAGIC
            file.attrs["format_version"] = FORMAT_VERSION
            file.attrs["dataset"] = dataset
            file.attrs["created_utc"] = datetime.now(UTC).isoformat(timespec="seconds")
            _write_text(file, "card", [card_json])
            _write_labels(file.create_group("labels"), labels)
            group = file.create_group("streams")
            for plan in streams:
                _write_stream(group.create_group(f"{plan.header.backbone}@{plan.header.recipe_id}"), plan)
            group = file.create_group("text")
            for text in texts:
                _write_prompt_set(group.create_group(f"{text.name}@{text.header.recipe_id}"), text)
        _sync(temporary)
        os.replace(temporary, path)
        _sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_text(group: h5py.Group, name: str, values: Sequence[str]) -> None:
    """Fixed-length UTF-8, so that no reader meets an object array. Padding is NUL, which no field may contain."""
    encoded = [value.encode() for value in values]
    width = max([1, *map(len, encoded)])
    group.create_dataset(name, data=np.array(encoded, dtype=h5py.string_dtype("utf-8", width)))


def _write_labels(group: h5py.Group, labels: Labels) -> None:
    group.attrs["score_names"] = json.dumps(labels.score_names)
    _write_text(group, "video_id", labels.video_ids)
    _write_text(group, "split", labels.splits)
    _write_text(group, "category", labels.categories)
    group.create_dataset("scores", data=labels.scores.astype("<f8"))


def _write_stream(group: h5py.Group, plan: StreamPlan) -> None:
    counts = [item.num_clips for item in plan.items]
    offsets = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]).astype("<i8")
    total, dim = int(offsets[-1]), plan.header.dim
    group.attrs["header"] = plan.header.to_json()
    chunks = (min(CHUNK_ROWS, total), dim) if total else None
    features = group.create_dataset("features", (total, dim), dtype=plan.dtype, chunks=chunks)
    start_seconds, end_seconds = np.zeros(total), np.zeros(total)
    checksums = []
    for item, begin, end in zip(plan.items, offsets[:-1], offsets[1:]):
        video = item.read()
        if video.features.shape != (end - begin, dim):
            raise InvalidFeatures(
                f"{video.record.video_id}: {plan.header.backbone} features of shape ({end - begin}, {dim}) expected, "
                f"got {video.features.shape}"
            )
        if end > begin:
            features[begin:end] = video.features
        start_seconds[begin:end], end_seconds[begin:end] = video.start_seconds, video.end_seconds
        checksums.append(video.sha256)
    group.create_dataset("offsets", data=offsets)
    group.create_dataset("start_seconds", data=start_seconds.astype("<f8"))
    group.create_dataset("end_seconds", data=end_seconds.astype("<f8"))
    records = [item.record for item in plan.items]
    table = group.create_group("videos")
    for name in TEXT_FIELDS:
        _write_text(table, name, [getattr(record, name) for record in records])
    for name in NUMBER_FIELDS:
        table.create_dataset(name, data=np.array([getattr(record, name) for record in records], "<f8"))
    _write_text(table, "features_sha256", checksums)


def _write_prompt_set(group: h5py.Group, text: TextFeatures) -> None:
    group.attrs["header"] = text.header.to_json()
    group.create_dataset("features", data=text.features.astype("<f4"))
    _write_text(group, "text", text.texts)
    _write_text(group, "group", text.groups)


def open_hdf5(path: Path) -> Store:
    """Open for reading. Raises `NotAStore` with one line for whatever is wrong with the file."""
    if not path.exists():
        raise NotAStore(f"no feature store at {path}")
    if path.is_dir():
        raise NotAStore(f"{path} is a folder, not an HDF5 file")
    try:
        # Published stores never change, so a reader needs no lock (and NFS would refuse it).
        file = h5py.File(path, "r", locking=False)
    except OSError as error:
        raise NotAStore(f"{path} is not an HDF5 file or is damaged: {' '.join(str(error).split())}") from error
    try:
        return _read_store(file, path)
    except (KeyError, ValueError, TypeError, OSError) as error:
        file.close()
        raise NotAStore(f"{path} is not a whole Longtake feature store: {error}") from error


def _read_store(file: h5py.File, path: Path) -> Store:
    if file.attrs.get("format") != MAGIC:
        raise NotAStore("it does not say that it is one (attribute 'format')")
    version = file.attrs.get("format_version")
    if version != FORMAT_VERSION:
        raise NotAStore(f"format version {version}; this release reads version {FORMAT_VERSION}")
    labels_group = _child(file, "labels", h5py.Group)
    score_names = tuple(json.loads(labels_group.attrs["score_names"]))
    labels = Labels(
        _read_text(labels_group, "video_id"),
        _read_text(labels_group, "split"),
        _read_text(labels_group, "category"),
        score_names,
        _read_numbers(labels_group, "scores", 2),
    )
    streams = [_read_stream(group) for group in _groups(file, "streams")]
    texts = [_read_prompt_set(name, group) for name, group in _groups(file, "text", named=True)]
    card_json = _read_text(file, "card")[0]
    created = str(file.attrs.get("created_utc", ""))
    return Store(path, str(file.attrs["dataset"]), card_json, created, labels, tuple(streams), tuple(texts), file.close)


def _child(group: h5py.Group, name: str, kind: type) -> Any:
    # An external or soft link could lead a reader out of the file.
    if group.get(name, getlink=True).__class__ is not h5py.HardLink:
        raise NotAStore(f"{group.name}/{name} is missing or a link")
    child = group[name]
    if not isinstance(child, kind):
        raise NotAStore(f"{child.name} is not a {kind.__name__.lower()}")
    return child


def _groups(file: h5py.File, name: str, named: bool = False) -> list[Any]:
    parent = _child(file, name, h5py.Group)
    found = [(child.rsplit("@", 1)[0], _child(parent, child, h5py.Group)) for child in sorted(parent)]
    return found if named else [group for _, group in found]


def _read_dataset(group: h5py.Group, name: str, ndim: int, kinds: str) -> h5py.Dataset:
    data = _child(group, name, h5py.Dataset)
    if data.ndim != ndim or data.dtype.kind not in kinds:
        raise NotAStore(f"{data.name} has type {data.dtype} and {data.ndim} axes; {ndim} axes of kind {kinds} expected")
    if data.external or data.is_virtual:
        raise NotAStore(f"{data.name} keeps its data in another file")
    if data.shape[0] > MAX_ROWS or (ndim > 1 and data.shape[1] > MAX_ROWS):
        raise NotAStore(f"{data.name} declares an impossible shape {data.shape}")
    return data


def _bounded(data: h5py.Dataset) -> h5py.Dataset:
    """Refuse a declared size that the bytes in the file cannot hold; reading would allocate it."""
    if data.size * data.dtype.itemsize > max(1 << 20, 1100 * data.id.get_storage_size()):
        raise NotAStore(f"{data.name} declares {data.shape} but stores {data.id.get_storage_size()} bytes")
    return data


def _read_text(group: h5py.Group, name: str) -> tuple[str, ...]:
    return tuple(value.decode() for value in _bounded(_read_dataset(group, name, 1, "S"))[()].tolist())


def _read_numbers(group: h5py.Group, name: str, ndim: int) -> np.ndarray:
    return np.asarray(_bounded(_read_dataset(group, name, ndim, "fiu"))[()])


def _read_integers(group: h5py.Group, name: str) -> np.ndarray:
    return np.asarray(_bounded(_read_dataset(group, name, 1, "iu"))[()], np.int64)


def _read_stream(group: h5py.Group) -> Stream:
    header = FeatureHeader.from_json(group.attrs["header"])
    features = _bounded(_read_dataset(group, "features", 2, "f"))
    offsets = _read_integers(group, "offsets")
    if features.shape[1] != header.dim:
        raise NotAStore(f"{group.name}: features are {features.shape[1]} wide, the recipe says {header.dim}")
    if not len(offsets) or offsets[0] != 0 or (np.diff(offsets) < 0).any() or offsets[-1] != features.shape[0]:
        raise NotAStore(f"{group.name}: offsets do not divide its {features.shape[0]} clips")
    table = _child(group, "videos", h5py.Group)
    columns: dict[str, Sequence[Any]] = {name: _read_text(table, name) for name in TEXT_FIELDS}
    columns |= {name: _read_numbers(table, name, 1).tolist() for name in NUMBER_FIELDS}
    checksums = _read_text(table, "features_sha256")
    num_videos = len(offsets) - 1
    if any(len(column) != num_videos for column in (*columns.values(), checksums)):
        raise NotAStore(f"{group.name}: offsets for {num_videos} videos, but the table of videos has another length")
    records = [VideoRecord(**dict(zip(columns, row))) for row in zip(*columns.values())]
    starts, ends = _read_numbers(group, "start_seconds", 1), _read_numbers(group, "end_seconds", 1)
    if starts.shape != (features.shape[0],) or ends.shape != starts.shape:
        raise NotAStore(f"{group.name}: start and end times do not match its {features.shape[0]} clips")
    return Stream(header, tuple(records), offsets, starts, ends, checksums, features)


def _read_prompt_set(name: str, group: h5py.Group) -> TextFeatures:
    header = TextHeader.from_json(group.attrs["header"])
    features = _read_numbers(group, "features", 2)
    return TextFeatures(name, header, _read_text(group, "text"), _read_text(group, "group"), features)
