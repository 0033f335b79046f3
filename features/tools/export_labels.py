"""Write the labels of a store for published code: the authors' label files, and the files that a layout of features brings."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Mapping, Sequence, Set
from pathlib import Path

from longtake.errors import ManifestError
from longtake.features.errors import FeaturesError
from longtake.features.store import Store
from longtake.manifests.author_labels import published_file
from longtake.manifests.card import Card
from longtake.manifests.table import SCORE_PREFIX, Manifest, ManifestRow, check_video_id, write_manifest

UNKNOWN = "nan"
"""In a column of the authors' label files whose value is not known. Their loaders read it as a number, and 0 would be a deduction of 0."""


def write_labels(folder: Path, store: Store, exported: Set[str], layout: str) -> tuple[str, ...]:
    """Write the labels of the exported videos as a manifest, `labels.csv`, as the authors' files, one per split, if the card of the dataset
    describes them, and as the files of the layout. Returns their names. Raises `FeaturesError`."""
    rows = [
        ManifestRow(
            name, None, row.split or None, row.category or None, None, None, row.scores, row.boundaries, row.groups
        )
        for name, row in store.labels.rows().items()
        if name in exported
    ]
    write_manifest(folder / "labels.csv", Manifest(store.dataset, tuple(rows), store.labels.score_names))
    names = ["labels.csv", *(_write_authors_files(folder, store.card, rows) if store.card else ())]
    if layout in _OF_LAYOUT:
        names += _OF_LAYOUT[layout](folder, {row.video_id: row for row in rows})
    return tuple(names)


def _write_authors_files(folder: Path, card: Card, rows: Sequence[ManifestRow]) -> tuple[str, ...]:
    """Columns that the store does not keep, such as deductions, are those of the authors where they ship with the card, else `UNKNOWN`; a
    factor that divides a score is 1. If a video lacks a score that the store keeps for others, no file is written: the format cannot
    express a missing score, and 0 is a score."""
    labels, published = card.labels, published_file(card.name)
    known = {SCORE_PREFIX + name for row in rows for name in row.scores}
    lacking = any(
        c in known and c.removeprefix(SCORE_PREFIX) not in row.scores
        for row in rows
        if row.split in card.splits
        for c in labels.columns
    )
    if not labels.columns or lacking or any(" " in row.video_id for row in rows):
        return ()
    spare = dict.fromkeys(labels.divided_by.values(), "1")
    separator = "\t" if "\t" in published.header else " "
    written = []
    for split in card.splits:
        lines = []
        for row in (row for row in rows if row.split == split):
            scores = {SCORE_PREFIX + name: f"{value:.10g}" for name, value in row.scores.items()}
            by_column = {**spare, **published.facts.get(row.video_id, {}), **scores, "video_id": row.video_id}
            lines.append(separator.join(by_column.get(column, UNKNOWN) for column in labels.columns))
        if lines:
            name = f"{file_name(split)}.txt"
            text = "\n".join([*filter(None, [published.header]), *lines]) + "\n"
            (folder / name).write_text(text, encoding="utf-8")
            written.append(name)
    return tuple(written)


def _write_finefs(folder: Path, rows: Mapping[str, ManifestRow]) -> tuple[str, ...]:
    """A file for each video with the two totals that published loaders read, and the numbers of each split, which those loaders draw on
    their own and `features labels` takes. Scores are named by programme in the store."""
    (folder / "labels").mkdir()
    for name, row in rows.items():
        totals = {
            published: next((value for score, value in row.scores.items() if score.endswith(ending)), None)
            for published, ending in _FINEFS_TOTALS.items()
        }
        (folder / "labels" / f"{name}.json").write_text(json.dumps(totals) + "\n", encoding="utf-8")
    splits = {split: [name for name, row in rows.items() if row.split == split] for split in ("train", "test")}
    lists = {f"{split}_split.txt": numbers for split, numbers in splits.items() if numbers}
    for file, numbers in lists.items():
        (folder / file).write_text("\n".join(numbers) + "\n", encoding="utf-8")
    return ("labels", *lists)


_FINEFS_TOTALS = {"total_element_score": "tes", "total_program_component_score(factored)": "pcs"}


def _write_logo(folder: Path, rows: Mapping[str, ManifestRow]) -> tuple[str, ...]:
    """(competition, number) -> (event, score), and the keys of each split. Labels of frames, which the published files have too, are not in
    the store and not written."""
    keys = {}
    for name in rows:
        competition, _, number = name.rpartition("_")
        if not competition or not number.isdecimal():
            raise FeaturesError(f"layout logo takes ids <competition>_<number>, got {name!r}")
        keys[name] = competition, int(number)
    annotations = {
        keys[name]: (row.category or "", next(iter(row.scores.values()), float(UNKNOWN))) for name, row in rows.items()
    }
    splits = {split: [keys[name] for name, row in rows.items() if row.split == split] for split in ("train", "test")}
    files = {"anno_dict.pkl": annotations, **{f"{split}_split3.pkl": found for split, found in splits.items()}}
    for file_name, content in files.items():
        (folder / file_name).write_bytes(pickle.dumps(content, protocol=3))
    return tuple(files)


_OF_LAYOUT: dict[str, Callable[[Path, Mapping[str, ManifestRow]], tuple[str, ...]]] = {
    "finefs": _write_finefs,
    "logo": _write_logo,
}


def file_name(text: str) -> str:
    """A file name from a split or category of an untrusted store, which must not lead out of the folder. Raises `FeaturesError`."""
    try:
        return check_video_id(text)
    except ManifestError as error:
        raise FeaturesError(
            f"a split or category of the store would become the file {text[:200]!r}, which is not a plain name: rename it with "
            f"`features relabel`"
        ) from error
