"""A manifest: one row of a table per video. Reading it reports all faults of all rows together, with line numbers."""

from __future__ import annotations

import csv
import math
import re
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath, PureWindowsPath

from longtake.collector import paused_collector
from longtake.errors import ManifestError, listed, there_are
from longtake.manifests.card import FOLDERS_VARIABLE, Card, card_folders, card_path, find_card
from longtake.manifests.sheet import column_name, has_decimal_commas, read_sheet, with_point
from longtake.safe_text import csv_cell, json_cell

COLUMNS = ("video_id", "path", "split", "category", "start_seconds", "end_seconds")
SCORE_PREFIX = "score_"
GROUP_PREFIX = "group_"
"""Before the name of a group: a kind of videos that are alike, such as those of one skater, one event or one surgeon."""
_GROUP_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}", re.ASCII)
BOUNDARY = re.compile(r"boundary_([1-9][0-9]?)_seconds")
"""Column n holds the time when stage n of a performance ends and stage n + 1 begins."""
_SPLITS = {
    "train": "train",
    "training": "train",
    "test": "test",
    "testing": "test",
    "val": "val",
    "validation": "val",
    "valid": "val",
}
_UNKNOWN = {"nan", "na", "n/a", "#n/a", "null", "none", "-", "--", "?", "unknown", "missing"}
"""What programs and people write for a number that is not known."""
_CLOCK = re.compile(r"(?:([0-9]+):)?([0-9]+):([0-9]{2}(?:\.[0-9]+)?)", re.ASCII)
MOST_NUMBER = 1e12
"""Squares of larger scores exceed what training computes with."""
MAX_ID_BYTES = 180
_PLAIN_ID = re.compile(rf"[A-Za-z0-9_-]{{1,{MAX_ID_BYTES}}}", re.ASCII)
# Without `+` at its end, the expression would remember a place for each id: 100 bytes.
_PLAIN_IDS = re.compile(rf"{_PLAIN_ID.pattern}(?:\n{_PLAIN_ID.pattern})*+", re.ASCII)


@dataclass(frozen=True)
class ManifestRow:
    video_id: str
    path: str | None = None
    """Relative to the folder of videos. None: the file whose stem is the video id."""
    split: str | None = None
    category: str | None = None
    start_seconds: float | None = None
    """The routine inside the file is `[start, end)`. None: the start or end of the file."""
    end_seconds: float | None = None
    scores: dict[str, float] = field(default_factory=dict)
    boundaries: tuple[float, ...] = ()
    """Seconds of the file where one stage of the performance ends and the next begins, in order."""
    groups: dict[str, str] = field(default_factory=dict)
    """Name of a group, such as `skater`, -> which one; without those that are unknown."""


@dataclass(frozen=True)
class Manifest:
    name: str
    rows: tuple[ManifestRow, ...]
    score_names: tuple[str, ...]
    card: Card | None = None

    @property
    def num_boundaries(self) -> int:
        return max((len(row.boundaries) for row in self.rows), default=0)

    @property
    def group_names(self) -> tuple[str, ...]:
        """Of groups that some row has, in the order of the columns."""
        return tuple(dict.fromkeys(name for row in self.rows for name in row.groups))


def boundary_column(number: int) -> str:
    """The column of the boundary that ends stage `number`, counted from 1."""
    return f"boundary_{number}_seconds"


def is_group_name(text: str) -> bool:
    """Whether a group may have this name: small letters, digits and underscores, 40 at most, a letter first."""
    return bool(_GROUP_NAME.fullmatch(text))


def check_video_id(text: str) -> str:
    """The rule for video ids: valid as a file name on every system, without a path. Raises `ManifestError`."""
    # Fast path: a store is read by checking each of its ids.
    if _PLAIN_ID.fullmatch(text):
        return text
    reason = None
    if not text:
        reason = "is empty"
    elif text != text.strip() or text.startswith(".") or text.endswith("."):
        reason = "begins or ends with a blank or a dot"
    elif any(c in '/\\<>:"|?*' or unicodedata.category(c).startswith("C") for c in text):
        reason = "holds a character that file names cannot hold"
    elif len(text.encode()) > MAX_ID_BYTES:
        reason = f"is longer than {MAX_ID_BYTES} bytes"
    if reason:
        raise ManifestError(f"video_id {text[:200]!r} {reason}")
    return text


def check_video_ids(texts: tuple[str, ...]) -> tuple[str, ...]:
    """`check_video_id` of many, in one step where all are plain."""
    joined = "\n".join(texts)
    if not (_PLAIN_IDS.fullmatch(joined) and joined.count("\n") == len(texts) - 1):
        for text in texts:
            check_video_id(text)
    return texts


def composed(name: str) -> str:
    """A name with its accents composed (NFC): some file systems decompose them."""
    return unicodedata.normalize("NFC", name)


@paused_collector()
def read_manifest(path: Path, card: Card | None = None, name: str | None = None) -> Manifest:
    """Read and check a table: CSV with commas, semicolons or tabs, or an Excel workbook. Raises `ManifestError` with all faults."""
    sheet = read_sheet(path, "manifest", "video_id")
    if not any(sheet.header):
        raise ManifestError(
            f"{path} is empty: the first line (of a workbook, of its first sheet) must name the columns, such as video_id,split,category,score_total"
        )
    header = _columns(sheet.header, card)
    if sheet.header and not any(_is_known(column) for column in header):
        raise ManifestError(
            f"{path}: the first line must name the columns, such as video_id,split,category,score_total, and it is {','.join(sheet.header)[:80]!r}"
        )
    faults = _header_faults(header, card)
    if faults:
        raise ManifestError(f"{path}, line 1: " + "; ".join(faults))
    if not sheet.rows:
        raise ManifestError(f"{path} has a header but no videos")
    score_names = tuple(c.removeprefix(SCORE_PREFIX) for c in header if c.startswith(SCORE_PREFIX))
    texts = {"video_id", "path", "split", "category"}
    numbers = [n for n, column in enumerate(header) if column not in texts and not column.startswith(GROUP_PREFIX)]
    decimal_commas = has_decimal_commas(path, sheet, numbers)
    checker = RowChecker(card)
    rows = []
    for line, values in sheet.rows:
        if len(values) != len(header):
            checker.add(line, f"{len(values)} fields where the header has {len(header)}")
            continue
        row = dict(zip(header, values))
        if decimal_commas:
            row |= {header[n]: with_point(values[n]) for n in numbers}
        row["split"] = known_split(row.get("split", ""), card)
        rows.append(checker.row(line, row))
    checker.finish(str(path))
    return Manifest(name or path.stem, tuple(rows), score_names, card)


def _columns(header: list[str], card: Card | None) -> list[str]:
    """The names of columns as people write them: blanks, capitals, `score` for the only score or the total."""
    total = (
        "total" if card is None or "total" in card.scores else next(iter(card.scores)) if len(card.scores) == 1 else ""
    )
    made = []
    for cell in header:
        name = column_name(cell)
        known = name in COLUMNS or BOUNDARY.fullmatch(name) or name.startswith((SCORE_PREFIX, GROUP_PREFIX))
        if name == "score" and total:
            name, known = SCORE_PREFIX + total, True
        # The name of a score is the user's own: it keeps its capitals, unless the card has it without.
        is_own = cell.startswith(SCORE_PREFIX) and (card is None or cell.removeprefix(SCORE_PREFIX) in card.scores)
        made.append(name if known and not is_own else cell)
    return made


def known_split(text: str, card: Card | None) -> str:
    """ "Train" is train and "testing" is test, unless the card names its splits otherwise."""
    if card is not None and text in card.splits:
        return text
    name = _SPLITS.get(text.casefold(), text.casefold())
    return name if name in (card.splits if card is not None else _SPLITS.values()) else text


def _is_known(column: str) -> bool:
    return column in COLUMNS or column.startswith((SCORE_PREFIX, GROUP_PREFIX)) or bool(BOUNDARY.fullmatch(column))


def _header_faults(header: list[str], card: Card | None) -> list[str]:
    known_scores = [SCORE_PREFIX + score for score in card.scores] if card else None
    faults = ["the column video_id is missing"] if "video_id" not in header else []
    for column in dict.fromkeys(header):
        if header.count(column) > 1:
            faults.append(f"column {column!r} appears twice")
        is_score = column.startswith(SCORE_PREFIX) and len(column) > len(SCORE_PREFIX)
        if column in COLUMNS or (is_score and (known_scores is None or column in known_scores)):
            continue
        if column.startswith(GROUP_PREFIX):
            if not is_group_name(column.removeprefix(GROUP_PREFIX)):
                faults.append(
                    f"column {column!r}: a group is named by a letter and then up to 39 letters, digits and underscores"
                )
            continue
        if number := BOUNDARY.fullmatch(column):
            before = int(number[1]) - 1
            if before and boundary_column(before) not in header:
                faults.append(f"column {column!r} without {boundary_column(before)!r}: boundaries count from 1")
            continue
        scores = known_scores if known_scores is not None else ["score_<name>"]
        allowed = [*COLUMNS, boundary_column(1), *scores, "group_<name>"]
        faults.append(f"unknown column {column!r}{there_are(column, allowed)}")
    return faults


class RowChecker:
    """Checks rows and collects faults, so that a user can fix a table in one go."""

    def __init__(self, card: Card | None) -> None:
        self._card = card
        self._faults: list[str] = []
        self._seen: dict[str, tuple[int, str, str]] = {}

    def add(self, line: int, fault: str) -> None:
        self._faults.append(f"line {line}: {fault}")

    def finish(self, where: str) -> None:
        if self._faults:
            count = f"{len(self._faults)} fault{'s' if len(self._faults) > 1 else ''}"
            raise ManifestError(f"{where} has {count}:{listed(self._faults)}")

    def row(self, line: int, values: dict[str, str]) -> ManifestRow:
        video_id, split = values["video_id"], values.get("split") or None
        try:
            check_video_id(video_id)
        except ManifestError as error:
            self.add(line, str(error))
        self.unique(line, video_id, split or "")
        self._named(line, "split", split, self._card.splits if self._card else ())
        category = values.get("category") or None
        self._named(line, "category", category, self._card.categories if self._card else ())
        start = self._number(line, "start_seconds", values.get("start_seconds", ""))
        end = self._number(line, "end_seconds", values.get("end_seconds", ""))
        if start is not None and start < 0:
            self.add(line, f"start_seconds {start:g} is negative")
        if end is not None and end <= (start or 0.0):
            self.add(line, f"end_seconds {end:g} is not after start_seconds {start or 0:g}")
        # As tables made on Windows write it.
        path = values.get("path", "").replace("\\", "/") or None
        if path is not None and _leaves_folder(path):
            self.add(line, f"path {path!r} must be relative and stay inside the folder of videos")
        boundaries = self._boundaries(line, values, start, end)
        groups = {
            name.removeprefix(GROUP_PREFIX): value
            for name, value in values.items()
            if value and name.startswith(GROUP_PREFIX)
        }
        return ManifestRow(video_id, path, split, category, start, end, self._scores(line, values), boundaries, groups)

    def _boundaries(
        self, line: int, values: dict[str, str], start: float | None, end: float | None
    ) -> tuple[float, ...]:
        """All boundaries, or the first few, in order, inside the video's span."""
        columns = [column for column in values if column.startswith("boundary_") and BOUNDARY.fullmatch(column)]
        found: list[float] = []
        missing = ""
        last, last_name = start or 0.0, "start_seconds"
        for column in sorted(columns, key=lambda name: int(name.split("_")[1])):
            number = self._number(line, column, values[column])
            if number is None:
                missing = missing or column
                continue
            if missing:
                self.add(line, f"{column} without {missing}: boundaries are given from the first")
            if number <= last:
                self.add(line, f"{column} {number:g} is not after {last_name} {last:g}")
            if end is not None and number >= end:
                self.add(line, f"{column} {number:g} is not before end_seconds {end:g}")
            found.append(number)
            last, last_name = number, column
        return tuple(found)

    def _scores(self, line: int, values: dict[str, str]) -> dict[str, float]:
        scores = {}
        for column, text in values.items():
            if not column.startswith(SCORE_PREFIX):
                continue
            number = self._number(line, column, text)
            if number is None:
                continue
            name = column.removeprefix(SCORE_PREFIX)
            scores[name] = number
            limits = self._card.scores.get(name) if self._card else None
            if limits and not limits.minimum <= number <= limits.maximum:
                self.add(line, f"{column} {number:g} is outside {limits.minimum:g} to {limits.maximum:g}")
        return scores

    def unique(self, line: int, video_id: str, split: str) -> None:
        # Ids that some file systems treat as the same name are the same.
        folded = composed(video_id).casefold()
        if folded not in self._seen:
            self._seen[folded] = (line, video_id, split)
            return
        first, other, other_split = self._seen[folded]
        where = f"line {first}" if other == video_id else f"line {first}, as {other!r}"
        if split != other_split:
            self.add(line, f"overlapping splits: {video_id!r} is in {split!r} and, on {where}, in {other_split!r}")
        else:
            self.add(line, f"video_id {video_id!r} is already on {where}")

    def _named(self, line: int, kind: str, value: str | None, allowed: tuple[str, ...]) -> None:
        if value is None or not allowed or value in allowed:
            return
        self.add(line, f"unknown {kind} {value!r}{there_are(value, allowed)}")

    def _number(self, line: int, column: str, text: str) -> float | None:
        if not text:
            return None
        try:
            # Python reads 1_000 as 1000; some programs write the minus sign of typography.
            number = math.nan if "_" in text else float(text.replace("\u2212", "-"))
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            self.add(line, f"{column} {text!r} is not a number{_advice(text)}")
            return None
        if abs(number) > MOST_NUMBER:
            self.add(line, f"{column} {text!r} is larger than any score or time, {MOST_NUMBER:g}")
            return None
        return number


def _advice(text: str) -> str:
    if text.casefold() in _UNKNOWN:
        return "; leave the cell empty if it is not known"
    if clock := _CLOCK.fullmatch(text):
        hours, minutes, seconds = (float(part or 0) for part in clock.groups())
        return f"; write seconds, such as {3600 * hours + 60 * minutes + seconds:g}"
    if re.search(r"\d[,_' ]|\..*\.", text):
        return "; write it with a decimal point and without separators of thousands"
    return ""


def _leaves_folder(path: str) -> bool:
    posix, windows = PurePosixPath(path), PureWindowsPath(path)
    return posix.is_absolute() or bool(windows.anchor) or ".." in posix.parts or ".." in windows.parts


def _cell(value: object) -> object:
    """As `csv_cell`, and blanks at the ends, which readers of tables remove, are kept as JSON; `read_cell` reads both."""
    if isinstance(value, str) and value.isprintable() and value != value.strip():
        return json_cell(value)
    return csv_cell(value)


def write_manifest(path: Path, manifest: Manifest) -> None:
    """Write the CSV. Columns that no row uses are left out."""
    columns = [c for c in COLUMNS if c == "video_id" or any(getattr(row, c) is not None for row in manifest.rows)]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        numbers = range(1, manifest.num_boundaries + 1)
        names = [GROUP_PREFIX + name for name in manifest.group_names]
        names += [*map(boundary_column, numbers), *(SCORE_PREFIX + name for name in manifest.score_names)]
        writer.writerow([*columns, *map(_cell, names)])
        for row in manifest.rows:
            values: list[object] = [getattr(row, column) for column in columns]
            values += [row.groups.get(name) for name in manifest.group_names]
            values += [row.boundaries[n - 1] if n <= len(row.boundaries) else None for n in numbers]
            values += [row.scores.get(name) for name in manifest.score_names]
            writer.writerow(["" if v is None else f"{v:.10g}" if isinstance(v, float) else _cell(v) for v in values])


def find_manifest(dataset: str) -> Manifest:
    """The table next to the dataset's card, or in a user's folder that is searched before it. Raises `UnknownDataset`, or `ManifestError` that
    says where to get the labels and where to put the table."""
    default = card_path(dataset).with_suffix(".csv")
    card = find_card(dataset)
    folders = card_folders()
    searched = folders[: folders.index(default.parent) + 1]
    for table in (folder / default.name for folder in searched):
        if table.exists():
            return read_manifest(table, card, dataset)
    raise ManifestError(
        f"{card.title} has a card but no table of videos here. {card.where_labels} The table goes to {searched[0] / default.name}"
        + ("" if len(folders) > 1 else f", or into a folder that {FOLDERS_VARIABLE} lists")
    )
