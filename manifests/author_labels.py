"""Read the label files of a dataset's authors: columns separated by blanks, with or without a header, as the card describes."""

from __future__ import annotations

import csv
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from longtake.errors import ManifestError
from longtake.manifests.card import FOLDER, Card, dataset_names
from longtake.manifests.sheet import read_text
from longtake.manifests.table import SCORE_PREFIX, Manifest, ManifestRow, RowChecker, read_manifest


def read_labels(files: Sequence[Path], card: Card) -> Manifest:
    """Label files of one dataset: one per split (`train.txt`, `test.txt`), or manifest CSVs. Their content decides which they are.

    A first line of which no score is a number is a header; otherwise it is a video (several published loaders drop it).
    Raises `ManifestError` with all faults.
    """
    rows: list[ManifestRow] = []
    names: tuple[str, ...] = ()
    for path in files:
        lines = _lines(path)
        is_csv = "video_id" in lines[0][1].split(",")
        manifest = read_manifest(path, card, card.name) if is_csv else _read_blank_separated(path, lines, card)
        rows += manifest.rows
        names = tuple(dict.fromkeys((*names, *manifest.score_names)))
    checker = RowChecker(card)
    for number, row in enumerate(rows, 1):
        checker.unique(number, row.video_id, row.split or "")
    checker.finish("the label files together")
    return Manifest(card.name, tuple(rows), names, card)


@dataclass(frozen=True)
class PublishedFile:
    """What the authors' label files of a dataset have beyond the columns of its card and the scores of its table."""

    header: str = ""
    """The first line, which published loaders skip; empty where the files have none, and loaders take every line."""
    facts: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Video id -> column -> text, such as deductions."""


def published_file(dataset: str) -> PublishedFile:
    """From `label_files/`, where the dataset has files there. Raises `ManifestError` for those that cannot be read."""
    card, table = (FOLDER / "label_files" / f"{dataset}{suffix}" for suffix in (".toml", ".csv"))
    header, facts = "", {}
    if dataset in dataset_names():  # Not a path of an untrusted store.
        if card.exists():
            header = tomllib.loads(card.read_text(encoding="utf-8"))["header"]
        if table.exists():
            names, *rows = csv.reader(read_text(table, "table of facts").splitlines())
            facts = {row[0]: dict(zip(names, row)) for row in rows}
    return PublishedFile(header, facts)


def _lines(path: Path) -> list[tuple[int, str]]:
    text = read_text(path, "label file")
    lines = [(number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    if not lines:
        raise ManifestError(f"the label file {path} is empty")
    return lines


def _read_blank_separated(path: Path, lines: list[tuple[int, str]], card: Card) -> Manifest:
    columns = card.labels.columns
    not_csv = (
        f"{path} is not a manifest CSV: its first line must name the columns, separated by commas, video_id among them, but is "
        f"{lines[0][1][:100]!r}"
    )
    if not columns:
        raise ManifestError(f"{not_csv}. The card of {card.name} describes no other label files")
    split = next((name for name in card.splits if path.stem.lower().startswith(name)), None)
    if split is None:
        raise ManifestError(
            f"{not_csv}. If it is a label file of the authors, its name should begin with its split: {', '.join(card.splits)}"
        )
    if _is_header(lines[0][1].split(), columns):
        lines = lines[1:]
    checker = RowChecker(card)
    rows = []
    for number, line in lines:
        values = line.split()
        if len(values) != len(columns):
            checker.add(number, f"{len(values)} columns; {len(columns)} expected: {', '.join(columns)}")
            continue
        by_column = dict(zip(columns, values))
        wanted = {
            name: _divided(value, by_column.get(card.labels.divided_by.get(name.removeprefix(SCORE_PREFIX), "")))
            for name, value in by_column.items()
            if name == "video_id" or name.startswith(SCORE_PREFIX)
        }
        rows.append(checker.row(number, {**wanted, "split": split, "category": _category(wanted["video_id"], card)}))
    checker.finish(str(path))
    names = tuple(c.removeprefix(SCORE_PREFIX) for c in columns if c.startswith(SCORE_PREFIX))
    return Manifest(card.name, tuple(rows), names, card)


def _divided(value: str, divisor: str | None) -> str:
    """Text that is not a number is left for the checker to report."""
    try:
        return value if divisor is None else repr(float(value) / float(divisor))
    except (ValueError, ZeroDivisionError):
        return f"{value} / {divisor}"


def _is_header(values: list[str], columns: tuple[str, ...]) -> bool:
    """Whether no score is a number. A line where one of several is none has a fault."""
    scores = [value for name, value in zip(columns, values) if name.startswith(SCORE_PREFIX)]
    return not any(map(_is_number, scores))


def _is_number(text: str) -> bool:
    try:
        float(text.replace(",", "."))
    except ValueError:
        return False
    return True


def _category(video_id: str, card: Card) -> str:
    if card.labels.category == "before first _":
        return video_id.partition("_")[0]
    return card.labels.category
