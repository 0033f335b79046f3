"""Features in any folder tree or file, by a mapping that the user states: where ids, features, times and labels are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path

import numpy as np

from longtake.errors import listed
from longtake.features.errors import FeaturesError, InvalidFeatures
from longtake.features.imports.entries import SUFFIXES, Entry, entries_of, shown
from longtake.features.imports.layouts import SourceVideo
from longtake.features.imports.mapped_labels import joined, labels_found, parse_labels, read_renamed
from longtake.features.imports.mapped_tables import in_tables
from longtake.features.imports.mapping import Found, Mapped, Unique, label_text, named
from longtake.features.imports.path_pattern import FoundFile, find_files, match_text
from longtake.features.imports.row_tables import column_names, in_order
from longtake.features.imports.video_features import find_video_features
from longtake.manifests.card import find_card
from longtake.manifests.table import Manifest, find_manifest, read_manifest


def find_and_label(
    source: Path, mapped: Mapped, said: Sequence[str], dataset: str | None, manifest: Path | None, out: Path
) -> tuple[Found, Manifest]:
    """The videos of a mapping with their labels: those of `manifest`, of the label files or `COLUMN=NAME` in `said`, of the paths or, where there
    are none, of the dataset's table. Raises `FeaturesError` and `ManifestError`."""
    _ = mapped.axes  # A wrong rule is named before files are read.
    columns, files = parse_labels(said)
    card, name = (find_card(dataset) if dataset else None), dataset or out.stem
    has_table = bool(manifest or files)
    mapped = replace(mapped, labels={} if has_table else columns)
    found = find_video_features(source, mapped) if mapped.layout == "video_features" else find_mapped(source, mapped)
    if has_table and ("{split}" in mapped.ids or "{category}" in mapped.ids):
        raise FeaturesError(
            "labels are in a table and in --ids: write * for {split} and {category} there, or leave the table out"
        )
    if manifest:
        return found, read_manifest(manifest)
    if files:
        tables = [read_renamed(path, columns, name if dataset else files[0].stem, card) for path in files]
        return found, joined(tables)
    if any(found.labels.values()):
        return found, labels_found(found, name, card)
    if dataset:
        return found, find_manifest(dataset)
    raise FeaturesError(
        f"{len(found.videos)} videos, such as {next(iter(found.videos))}, have no labels: say --manifest FILE, --labels COLUMN=NAME such as "
        f"score_total=y for labels in the files, '{{split}}' in --ids, or --dataset NAME"
    )


def find_mapped(source: Path, mapped: Mapped) -> Found:
    """The videos that a mapping finds. Raises `FeaturesError` if it finds none, `InvalidFeatures` for ids that are not unique or not
    valid; files that cannot be read are in the answer."""
    if not source.exists():
        raise FeaturesError(f"there is no file or folder {source}")
    if source.suffix.lower() in (".parquet", ".arrow") and not mapped.ids:
        names = ", ".join(column_names(source)[:40])
        raise FeaturesError(f"{source} is a table: name its column of ids with --ids; there are {names}")
    if mapped.ids and "{" not in mapped.ids:
        found = in_tables(source, mapped)
    elif "{id}" in mapped.features:
        found = _in_keys(source, mapped)
    else:
        found = _one_each(source, mapped)
    if not found.videos:
        raise FeaturesError(f"{source} holds no video that the mapping finds:{listed(found.faults)}")
    return found


def _files(source: Path, ids: str) -> list[FoundFile]:
    if not source.is_dir():
        return [FoundFile(source, source.stem, {})]
    if ids:
        found = find_files(source, ids)
        if not found:
            raise FeaturesError(f"{source} holds no file {ids!r}")
        return found
    found = [one for one in find_files(source, "**/{id}") if one.path.suffix.lower() in SUFFIXES]
    if not found:
        raise FeaturesError(
            f"{source} holds no file that ends in {', '.join(SUFFIXES)}; name the files with --ids, such as '**/{{id}}.bin', or for tables "
            f"the column of ids"
        )
    return [FoundFile(one.path, one.path.stem, {}) for one in found]


def _one_each(source: Path, mapped: Mapped) -> Found:
    """A file for each video."""
    made, labels = Unique(), {}
    faults: list[str] = []
    order: list[str] = []
    if not source.is_dir():
        _chosen(source, entries_of(source), mapped.features, order)  # raises for one that has many videos
    for one in _files(source, mapped.ids):
        if not one.video_id:
            raise FeaturesError(f"--ids {mapped.ids!r} has no {{id}}")
        where = one.path.relative_to(source).as_posix() if source.is_dir() else one.path.name
        own = dict(one.labels)
        try:
            own |= _labels(entries_of(one.path), mapped.labels, where) if mapped.labels else {}
        except InvalidFeatures as error:
            faults.append(str(error))
            continue
        read = partial(_features, one.path, mapped, order)
        seconds = partial(_seconds, one, mapped) if mapped.seconds else None
        made.add(one.video_id, SourceVideo(one.path, read, seconds, where), where)
        labels[one.video_id] = own
    return Found(made.finish(mapped.ids or "**/{id}"), labels, tuple(faults))


def _features(path: Path, mapped: Mapped, order: list[str]) -> object:
    entries = entries_of(path)
    return named(path.name, partial(_pooled, _chosen(path, entries, mapped.features, order), mapped))


def _pooled(entry: Entry, mapped: Mapped) -> object:
    value = entry.read()
    if not isinstance(value, np.ndarray):
        raise InvalidFeatures(f"{entry.kind}; an array is expected")
    return mapped.pooled(value)


def _chosen(path: Path, entries: Mapping[str, Entry], name: str, order: list[str] | None = None) -> Entry:
    """`order` is filled with the names of columns by the first file that has several, and the others follow it."""
    if name and name not in entries and any(mark in name for mark in "*?"):
        return _columns(path, entries, name, [] if order is None else order)
    if name:
        if name not in entries:
            raise InvalidFeatures(f"{path.name} holds no {name!r}; it holds {shown(entries)}")
        return entries[name]
    arrays = [one for one in entries.values() if one.shape is not None]
    if len(arrays) == 1:
        return arrays[0]
    likely = [one for one in arrays if one.may_be_features]
    if len(likely) == 1:
        return likely[0]
    raise InvalidFeatures(
        f"{path.name} holds {shown(entries)}: name the features with --features NAME, columns such as 'f*', or '{{id}}' if the names are those of videos"
    )


def _columns(path: Path, entries: Mapping[str, Entry], pattern: str, order: list[str]) -> Entry:
    """Columns of a table whose names fit a pattern, as one array `(rows, columns)`."""
    own = [key for key in entries if fnmatchcase(key, pattern)]
    order[:] = in_order(path, own, order)
    chosen = [entries[key] for key in order]
    shapes = {one.shape for one in chosen}
    if len(shapes) != 1 or any(shape is None or len(shape) != 1 for shape in shapes):
        raise InvalidFeatures(f"{path.name} has no columns {pattern!r} of one length; it holds {shown(entries)}")

    def read() -> object:
        columns = [np.asarray(one.read()) for one in chosen]
        if wrong := [column.dtype for column in columns if column.dtype.kind not in "fiu"]:
            raise InvalidFeatures(f"{path.name}: a column {pattern!r} is {wrong[0]}, not numbers")
        return np.stack(columns, 1).astype(np.float64)

    return Entry((*(chosen[0].shape or ()), len(chosen)), f"{len(chosen)} columns", read)


def _seconds(one: FoundFile, mapped: Mapped, num_clips: int) -> np.ndarray:
    if "{id}" in mapped.seconds:
        path = one.path.parent / mapped.seconds.replace("{id}", one.video_id)
        entry = _chosen(path, entries_of(path), "")
    else:
        path, entry = one.path, _chosen(one.path, entries_of(one.path), mapped.seconds)
    made = named(path.name, lambda: mapped.spans(entry.read(), num_clips, mapped.seconds))
    assert isinstance(made, np.ndarray)
    return made


def _labels(entries: Mapping[str, Entry], wanted: Mapping[str, str], where: str) -> dict[str, str]:
    found = {}
    for column, name in wanted.items():
        if name not in entries:
            raise InvalidFeatures(f"{where} holds no {name!r} for {column}; it holds {shown(entries)}")
        value = entries[name].read()
        if isinstance(value, np.ndarray):
            if value.size != 1:
                raise InvalidFeatures(f"{where}: {name} is {entries[name].kind}; one value expected for {column}")
            value = value.reshape(-1)[0].item()
        found[column] = label_text(value)
    return found


def _in_keys(source: Path, mapped: Mapped) -> Found:
    """Files of many videos: the id is part of a name inside, such as `{id}` or `{id}/features`."""
    made, labels, faults = Unique(), {}, []
    files = [FoundFile(source, "", {})] if not source.is_dir() else _files(source, mapped.ids)
    for one in files:
        try:
            entries = entries_of(one.path)
        except InvalidFeatures as error:
            faults.append(str(error))
            continue
        fitting = {name: video_id for name in entries if (video_id := match_text(mapped.features, name))}
        if not fitting:
            faults.append(f"{one.path.name} holds no {mapped.features!r}; it holds {shown(entries)}")
        for name, video_id in fitting.items():
            where = f"{name} in {one.path.name}"
            read = partial(named, where, partial(_pooled, entries[name], mapped))
            seconds = partial(_seconds_of_key, one.path, video_id, mapped) if mapped.seconds else None
            wanted = {column: key.replace("{id}", video_id) for column, key in mapped.labels.items()}
            try:
                own = {**one.labels, **_labels(entries, wanted, where)}
            except InvalidFeatures as error:
                faults.append(str(error))
                continue
            made.add(video_id, SourceVideo(one.path, read, seconds, where), where)
            labels[video_id] = own
    return Found(made.finish(mapped.ids or mapped.features), labels, tuple(faults))


def _seconds_of_key(path: Path, video_id: str, mapped: Mapped, num_clips: int) -> np.ndarray:
    name = mapped.seconds.replace("{id}", video_id)
    return mapped.spans(_chosen(path, entries_of(path), name).read(), num_clips, name)
