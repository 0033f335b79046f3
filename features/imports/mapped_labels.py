"""Labels of imported features: in the files, in their paths, or in a table whose columns have other names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from longtake.errors import there_are
from longtake.features.errors import FeaturesError
from longtake.features.imports.mapping import Found
from longtake.manifests.card import Card
from longtake.manifests.sheet import has_decimal_commas, read_sheet, with_point
from longtake.manifests.table import (
    COLUMNS,
    GROUP_PREFIX,
    SCORE_PREFIX,
    Manifest,
    RowChecker,
    known_split,
    read_manifest,
)

KNOWN = tuple(name for name in COLUMNS if name in ("video_id", "split", "category"))


def parse_labels(said: Sequence[str]) -> tuple[dict[str, str], list[Path]]:
    """`COLUMN=NAME` as a mapping from columns of a manifest, and the others as files. Raises `FeaturesError`."""
    columns, files = {}, []
    for text in said:
        column, equals, name = text.partition("=")
        if not equals or Path(text).exists():
            files.append(Path(text))
            continue
        column = f"{SCORE_PREFIX}total" if column == "score" else column
        if column not in KNOWN and not column.startswith((SCORE_PREFIX, GROUP_PREFIX)):
            allowed = [*KNOWN, f"{SCORE_PREFIX}<name>", f"{GROUP_PREFIX}<name>"]
            raise FeaturesError(f"--labels {text}: no column {column!r} of a manifest{there_are(column, allowed)}")
        columns[column] = name
    return columns, files


def labels_found(found: Found, name: str, card: Card | None) -> Manifest:
    """The labels that the files of the features, or their paths, have. Raises `ManifestError` with all faults."""
    rows = {video_id: found.labels.get(video_id, {}) for video_id in found.videos}
    return _manifest(_numbered(rows), "the labels of the features", name, card)


def _numbered(rows: Mapping[str, Mapping[str, str]]) -> list[tuple[int, dict[str, str]]]:
    return [(number, {**row, "video_id": video_id}) for number, (video_id, row) in enumerate(rows.items(), 1)]


def read_renamed(path: Path, columns: Mapping[str, str], name: str, card: Card | None) -> Manifest:
    """A table whose columns have other names than those of a manifest: `columns` is column of a manifest -> column of the table; other columns
    are not read. Raises `ManifestError`, and `FeaturesError` for columns that are not there."""
    if not columns:
        return read_manifest(path, card, name)
    columns = {"video_id": "video_id", **columns}
    sheet = read_sheet(path, "table of labels", columns["video_id"])
    header = [cell.strip() for cell in sheet.header]
    for column, wanted in columns.items():
        if header.count(wanted) != 1:
            raise FeaturesError(
                f"{path} has {header.count(wanted) or 'no'} column {wanted!r} for {column}{there_are(wanted, header)}"
            )
    places = {column: header.index(wanted) for column, wanted in columns.items()}
    numbers = [place for column, place in places.items() if column.startswith(SCORE_PREFIX)]
    if has_decimal_commas(path, sheet, numbers):
        for _, cells in sheet.rows:
            for place in numbers:
                cells[place : place + 1] = map(with_point, cells[place : place + 1])
    rows = [
        (line, {column: cells[place].strip() if place < len(cells) else "" for column, place in places.items()})
        for line, cells in sheet.rows
    ]
    return _manifest(rows, str(path), name, card)


def joined(tables: Sequence[Manifest]) -> Manifest:
    """Tables of one dataset, such as those of train and test. Raises `ManifestError` for a video in two of them."""
    rows = [row for table in tables for row in table.rows]
    checker = RowChecker(tables[0].card)
    for number, row in enumerate(rows, 1):
        checker.unique(number, row.video_id, row.split or "")
    checker.finish("the label files together")
    names = dict.fromkeys(name for table in tables for name in table.score_names)
    return Manifest(tables[0].name, tuple(rows), tuple(names), tables[0].card)


def _manifest(rows: Sequence[tuple[int, Mapping[str, str]]], where: str, name: str, card: Card | None) -> Manifest:
    checker = RowChecker(card)
    made = tuple(checker.row(line, {**row, "split": known_split(row.get("split", ""), card)}) for line, row in rows)
    checker.finish(f"{where} (a line is a video)" if where.startswith("the labels") else where)
    scores = dict.fromkeys(
        key.removeprefix(SCORE_PREFIX) for _, row in rows for key in row if key.startswith(SCORE_PREFIX)
    )
    return Manifest(name, made, tuple(scores), card)
