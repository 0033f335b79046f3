"""Tables as people and spreadsheets save them: cells separated by commas, semicolons or tabs, or an Excel workbook."""

from __future__ import annotations

import csv
import io
import re
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from longtake.errors import ManifestError
from longtake.files import require_regular
from longtake.safe_text import read_cell

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs"}
MOST_BYTES = 1 << 28
"""Of a workbook, unpacked."""
MOST_ROWS, MOST_COLUMNS = 1_000_000, 1000


@dataclass(frozen=True)
class Sheet:
    header: list[str]
    rows: list[tuple[int, list[str]]]
    """The line in the file and its cells, without blank lines; no cell has blanks around it."""
    separator: str
    """A key of `SEPARATORS`; empty for a workbook."""


def read_text(path: Path, what: str) -> str:
    """A text with the line ends of the file. Raises `ManifestError`; `what` names the file in its message."""
    try:
        content = require_regular(path).read_bytes()
        # Excel saves "Unicode text" as UTF-16.
        return content.decode("utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except FileNotFoundError:
        raise ManifestError(f"no {what} at {path}") from None
    except UnicodeDecodeError as error:
        raise ManifestError(f"{path} is not text in UTF-8: save it as CSV in UTF-8 ({error})") from error
    except OSError as error:
        raise ManifestError(f"cannot read the {what} {path}: {error.strerror or error}") from error


def read_sheet(path: Path, what: str, wanted: str) -> Sheet:
    """The table in a file; `wanted` is the column that every table has, by which its separator is found. Raises `ManifestError`."""
    if path.suffix.lower() in (".xlsx", ".xlsm"):
        return _sheet(path, _workbook(path, what), "", wanted)
    text = read_text(path, what)
    begin = 0
    declared = re.match(r"sep=(.)\r?\n", text)
    if declared:  # as Excel writes it
        text, begin = text[declared.end() :], 1
    first = text.partition("\n")[0]
    separator = declared[1] if declared else next((s for s in SEPARATORS if wanted in _names(first, s)), ",")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    try:
        lines = [(begin + reader.line_num, [*map(read_cell, row)]) for row in reader]
    except csv.Error as error:
        raise ManifestError(f"cannot read the {what} {path}: {error}") from error
    return _sheet(path, lines, separator, wanted)


def _names(line: str, separator: str) -> list[str]:
    return [column_name(cell) for cell in next(csv.reader([line], delimiter=separator), [])]


def column_name(cell: str) -> str:
    """ "Video ID" is video_id."""
    return re.sub(r"[\s-]+", "_", cell.strip()).lower()


def _sheet(path: Path, lines: Sequence[tuple[int, list[str]]], separator: str, wanted: str) -> Sheet:
    header, *rest = lines or [(1, [])]
    names = [name.strip() for name in header[1]]
    rows = [(number, [cell.strip() for cell in cells]) for number, cells in rest]
    rows = [(number, cells) for number, cells in rows if any(cells)]
    # Columns of nothing at the right, which spreadsheets leave.
    width = len(names)
    while width and not names[width - 1] and not any(any(cells[width - 1 :]) for _, cells in rows):
        width -= 1
    shown = ", ".join(map(repr, names[:10]))
    if wanted not in map(column_name, names) and len(names) == 1 and re.search(r"[|:]| {2}", names[0]):
        raise ManifestError(
            f"{path}: the first line is one cell, {shown[:200]}; separate columns by commas, semicolons or tabs"
        )
    cut = [(number, cells[:width] if not any(cells[width:]) else cells) for number, cells in rows]
    padded = [(number, cells + [""] * (0 if separator else width - len(cells))) for number, cells in cut]
    return Sheet(names[:width], padded, separator)


def _workbook(path: Path, what: str) -> list[tuple[int, list[str]]]:
    """The cells of the first sheet, read without running anything. Formulas have the values that the spreadsheet saved."""
    try:
        from openpyxl import load_workbook
    except ImportError as error:
        raise ManifestError(
            f"{path} is an Excel workbook: save it as CSV in UTF-8, or python -m pip install openpyxl"
        ) from error
    try:
        with zipfile.ZipFile(require_regular(path)) as archive:
            if sum(info.file_size for info in archive.infolist()) > MOST_BYTES:
                raise ManifestError(f"{path} unpacks to more than {MOST_BYTES >> 20} MiB: save it as CSV in UTF-8")
        book = load_workbook(path, read_only=True, data_only=True, keep_links=False)
        try:
            return list(_cells(path, book.worksheets[0].iter_rows(max_row=MOST_ROWS, max_col=MOST_COLUMNS)))
        finally:
            book.close()
    except ManifestError:
        raise
    except FileNotFoundError:
        raise ManifestError(f"no {what} at {path}") from None
    except Exception as error:  # what openpyxl raises for a damaged file is not listed anywhere
        raise ManifestError(f"cannot read the workbook {path}: {error or type(error).__name__}") from error


def _cells(path: Path, rows: Iterator[Sequence[object]]) -> Iterator[tuple[int, list[str]]]:
    for number, row in enumerate(rows, 1):
        texts = []
        for cell in row:
            value = getattr(cell, "value", None)
            if value is not None and not isinstance(value, str | int | float) or isinstance(value, bool):
                raise ManifestError(
                    f"{path}, cell {getattr(cell, 'coordinate', number)}: {value} is a date or true or false, which Excel makes of some texts; "
                    f"format the column as text and type it again"
                )
            texts.append("" if value is None else str(value))
        yield number, texts
