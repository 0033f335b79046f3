"""Read a store as FORMAT.md lays it out, over any tree. The file is not trusted: everything is checked before it is used."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from longtake.checks import build, read_json, read_value, refuse
from longtake.features.columns import CHECKSUM, NUMBER_FIELDS, TEXT_FIELDS, ArrayLike, VideoTable, decode
from longtake.features.content import Storage
from longtake.features.errors import Damaged, NotAStore
from longtake.features.formats.checksums import ROOT_SUM, VideoRows, checked
from longtake.features.formats.tree import GROUP_NAMES, LATER_COLUMNS, MAGIC, NUM_BOUNDARIES, Tree, damage, one_line
from longtake.features.labels import Labels
from longtake.features.store import Store
from longtake.features.stream import Stream
from longtake.features.types import FORMAT_VERSION, FeatureHeader, TextFeatures, TextHeader
from longtake.manifests.table import GROUP_PREFIX, check_video_ids, is_group_name


@dataclass(frozen=True)
class _RootAttributes:
    dataset: str
    created_utc: str = ""
    chunk_rows: int = Storage.chunk_rows
    compression: str = Storage.compression


def read_store(path: Path | str, root: Tree, close: Callable[[], None], num_bytes: int | None) -> Store:
    """Check a tree that was just opened and make a store of it. Raises `NotAStore`, and then closes the tree. `num_bytes` are the stored
    bytes; None if the store is at a URL and consists of several objects."""

    def read_labels() -> tuple[Labels, Mapping[str, ArrayLike]]:
        with _whole(path):
            return _read_labels(labels)

    try:
        with _whole(path):
            if root.attributes.get("format") != MAGIC:
                raise NotAStore("it does not say that it is one (attribute 'format')")
            version = root.attributes.get("format_version")
            if version not in (1, FORMAT_VERSION):
                raise NotAStore(f"format version {version}; this release reads versions 1 to {FORMAT_VERSION}")
            # Version 1 has no checksums but those of the features of each video.
            root = checked(path, root) if version == FORMAT_VERSION or ROOT_SUM in root.attributes else root
            named = {name: root.attributes[name] for name in _RootAttributes.__annotations__ if name in root.attributes}
            facts = build(_RootAttributes, named, "the root's table of attributes", NotAStore)
            labels, streams, texts = root.child("labels"), root.child("streams"), root.child("text")
            return Store(
                path, facts.dataset, _text(root, "card")[0], facts.created_utc, num_bytes,
                Storage(facts.chunk_rows, facts.compression), read_labels,
                tuple(_read_stream(path, name, streams.child(name)) for name in streams.names()),
                tuple(_read_prompt_set(name, texts.child(name)) for name in texts.names()), close,
            )  # fmt: skip
    except NotAStore:
        close()
        raise


@contextmanager
def _whole(path: Path | str) -> Iterator[None]:
    """Any failure becomes `NotAStore`. What is read only after opening is read inside this as well."""
    try:
        yield
    except damage() as error:
        if isinstance(error, Damaged) and str(error).startswith(str(path)):
            raise
        raise NotAStore(f"{path} is not a whole Longtake feature store: {one_line(error)}") from error


def _text(group: Tree, name: str) -> tuple[str, ...]:
    return decode(np.asarray(group.array(name, "S", 1)[:]))


def _checked(kind: Any, value: object, group: Tree, name: str) -> Any:
    faults: list[str] = []
    made = read_value(kind, value, name, faults)
    refuse(faults, f"{group.name}, an attribute,", NotAStore)
    return made


def _text_attribute(group: Tree, name: str) -> str:
    text: str = _checked(str, group.attributes.get(name), group, name)
    return text


def _names(group: Tree, attribute: str) -> tuple[str, ...]:
    listed = read_json(_text_attribute(group, attribute), attribute, NotAStore)
    names: tuple[str, ...] = _checked(tuple[str, ...], listed, group, attribute)
    return names


def _read_labels(group: Tree) -> tuple[Labels, Mapping[str, ArrayLike]]:
    group_names = _names(group, GROUP_NAMES) if GROUP_NAMES in group.attributes else ()
    for name in group_names:
        if not is_group_name(name):
            raise NotAStore(f"{group.name} has a group named {name[:200]!r}")
    has_boundaries = NUM_BOUNDARIES in group.attributes
    group_columns = [GROUP_PREFIX + name for name in group_names]
    columns = {name: group.array(name, "S", 1) for name in ("video_id", "split", "category", *group_columns)}
    texts = {name: decode(np.asarray(column[:])) for name, column in columns.items()}
    labels = Labels(
        check_video_ids(texts["video_id"]),
        texts["split"],
        texts["category"],
        _names(group, "score_names"),
        np.asarray(group.array("scores", "fiu", 2)[:]),
        np.asarray(group.array("boundary_seconds", "f", 2)[:]) if has_boundaries else np.zeros((0, 0)),
        {name: texts[GROUP_PREFIX + name] for name in group_names},
    )
    return labels, columns


def _require_name(name: str, group: Tree, expected: str) -> None:
    """A header has no checksum except the recipe id in the name of its group."""
    if name != expected:
        raise NotAStore(f"{group.name} has the header of {expected}: one of the two is damaged")


def _read_stream(path: Path | str, name: str, group: Tree) -> Stream:
    header = FeatureHeader.from_json(_text_attribute(group, "header"), f"the header of {group.name}")
    _require_name(name, group, header.stream_name)
    features = group.array("features", "f", 2)
    offsets = np.asarray(group.array("offsets", "iu", 1)[:], np.int64)
    if features.shape[1] != header.dim:
        raise NotAStore(f"{group.name}: features are {features.shape[1]} wide, the recipe says {header.dim}")
    if not len(offsets) or offsets[0] != 0 or (np.diff(offsets) < 0).any() or offsets[-1] != features.shape[0]:
        raise NotAStore(f"{group.name}: offsets do not divide its {features.shape[0]} clips")
    table = group.child("videos")
    missing = {name for name, attribute in LATER_COLUMNS.items() if attribute not in table.attributes}
    kinds = {**dict.fromkeys((*TEXT_FIELDS, CHECKSUM), "S"), **dict.fromkeys(NUMBER_FIELDS, "fiu")}
    columns = VideoTable.unknown(missing, len(offsets) - 1)
    columns |= {name: table.array(name, kind, 1) for name, kind in kinds.items() if name not in missing}
    _require_length(group, columns.values(), len(offsets) - 1, "videos")
    starts, ends = group.array("start_seconds", "f", 1), group.array("end_seconds", "f", 1)
    _require_length(group, (starts, ends), features.shape[0], "clips")
    videos = VideoTable(columns)
    return Stream(header, videos, offsets, starts, ends, VideoRows(f"{path}: {name}", features, offsets, videos))


def _require_length(group: Tree, arrays: Iterable[ArrayLike], length: int, what: str) -> None:
    if any(array.shape[0] != length for array in arrays):
        raise NotAStore(f"{group.name} has {length} {what}, but a column of another length")


def _read_prompt_set(name: str, group: Tree) -> TextFeatures:
    header = TextHeader.from_json(_text_attribute(group, "header"), f"the header of {group.name}")
    prompt_set = name.rsplit("@", 1)[0]
    _require_name(name, group, f"{prompt_set}@{header.recipe_id}")
    features = np.asarray(group.array("features", "fiu", 2)[:])
    return TextFeatures(prompt_set, header, _text(group, "text"), _text(group, "group"), features)
