"""Write a store as .npy files, in the layouts that published code reads."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence, Set
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from longtake.errors import ManifestError
from longtake.features.errors import FeaturesError
from longtake.features.store import Store
from longtake.features.stream import Stream
from longtake.features.types import OK
from longtake.files import clear_dead, temporary_path
from longtake.manifests.card import Card
from longtake.manifests.table import SCORE_PREFIX, Manifest, ManifestRow, check_video_id, write_manifest

LAYOUTS = {
    "gdlt": "<video_id>.npy, each (clips, dim), float32",
    "pamfn": "<category>_<modality>_<backbone>.npy, each a dictionary {video_id: (clips, dim)}",
    "skating-mixer": "<video_id>.npy, each (clips, 1, dim), float32",
}


@dataclass(frozen=True)
class Exported:
    num_videos: int
    num_files: int
    label_files: tuple[str, ...]


def export(store: Store, stream: Stream, folder: Path, layout: str) -> Exported:
    """Write all videos of a stream that did not fail, with their labels, into a new or empty folder. Raises `FeaturesError`.

    Labels are written as a manifest, `labels.csv`, and, if the card of the dataset describes them, as the authors' files, one per split.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FeaturesError(f"{folder} exists and is not an empty folder; choose another")
    # Checked before the first file is written.
    for split in store.card.splits if store.card and store.card.labels.columns else ():
        _file_name(split)
    # Written under another name and renamed, so an export that was interrupted can be repeated.
    target = Path(os.path.realpath(folder))
    target.parent.mkdir(parents=True, exist_ok=True)
    clear_dead(target.parent, target.name)
    temporary = temporary_path(target)
    temporary.mkdir()
    try:
        write = _dictionaries if layout == "pamfn" else _one_each
        exported, num_files = write(store, stream, temporary, layout)
        done = Exported(len(exported), num_files, _write_labels(temporary, store, exported))
        os.replace(temporary, target)
        return done
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _one_each(store: Store, stream: Stream, folder: Path, layout: str) -> tuple[set[str], int]:
    exported = set()
    for record, (features, _, _) in stream.each():
        if record.status == OK:
            features = features.astype(np.float32)
            np.save(folder / f"{record.video_id}.npy", features[:, None] if layout == "skating-mixer" else features)
            exported.add(record.video_id)
    return exported, len(exported)


def _dictionaries(store: Store, stream: Stream, folder: Path, layout: str) -> tuple[set[str], int]:
    category_of = dict(zip(store.labels.video_ids, store.labels.categories))
    groups: dict[str, dict[str, np.ndarray]] = {}
    for record, (features, _, _) in stream.each():
        if record.status == OK:
            category = category_of.get(record.video_id) or store.dataset
            groups.setdefault(category, {})[record.video_id] = features.astype(np.float32)
    names = {c: _file_name(f"{c}_{stream.header.modality}_{stream.header.backbone}") for c in groups}
    for category, videos in groups.items():
        # This layout is a pickled dictionary. Writing one is harmless; `safe_pickle` reads it without executing code.
        np.save(folder / f"{names[category]}.npy", np.array(videos, dtype=object), allow_pickle=True)
    return {video_id for videos in groups.values() for video_id in videos}, len(groups)


def _write_labels(folder: Path, store: Store, exported: Set[str]) -> tuple[str, ...]:
    rows = [
        ManifestRow(name, None, row.split or None, row.category or None, None, None, row.scores, row.boundaries)
        for name, row in store.labels.rows().items()
        if name in exported
    ]
    write_manifest(folder / "labels.csv", Manifest(store.dataset, tuple(rows), store.labels.score_names))
    return ("labels.csv", *(_write_authors_files(folder, store.card, rows) if store.card else ()))


def _write_authors_files(folder: Path, card: Card, rows: Sequence[ManifestRow]) -> tuple[str, ...]:
    """Columns that the store does not keep, such as deductions, are 0; a factor that divides a score is 1. If a video lacks a score that
    the store keeps for others, no file is written: the format cannot express a missing score, and 0 is a score."""
    columns = card.labels.columns
    known = {SCORE_PREFIX + name for row in rows for name in row.scores}
    lacking = any(
        c in known and c.removeprefix(SCORE_PREFIX) not in row.scores
        for row in rows
        if row.split in card.splits
        for c in columns
    )
    if not columns or lacking or any(" " in row.video_id for row in rows):
        return ()
    written = []
    for split in card.splits:
        lines = []
        for row in (row for row in rows if row.split == split):
            by_column = {"video_id": row.video_id, **{SCORE_PREFIX + n: f"{v:.10g}" for n, v in row.scores.items()}}
            spare = dict.fromkeys(card.labels.divided_by.values(), "1")
            lines.append(" ".join(by_column.get(column, spare.get(column, "0")) for column in columns))
        if lines:
            name = f"{_file_name(split)}.txt"
            (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
            written.append(name)
    return tuple(written)


def _file_name(text: str) -> str:
    """A file name from a split or category of an untrusted store, which must not lead out of the folder. Raises `FeaturesError`."""
    try:
        return check_video_id(text)
    except ManifestError as error:
        raise FeaturesError(
            f"a split or category of the store would become the file {text[:200]!r}, which is not a plain name: rename it with "
            f"`features relabel`"
        ) from error
