"""Tables as people and spreadsheets save them: cells separated by commas, semicolons or tabs, or an Excel workbook."""

from __future__ import annotations

import csv
import io
import re
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import dropwhile
from pathlib import Path

from longtake.errors import ManifestError
from longtake.files import require_regular
from longtake.packages import needs
from longtake.safe_text import read_cell

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs"}
MOST_BYTES = 1 << 28
"""Of a workbook, unpacked."""
MOST_ROWS, MOST_COLUMNS = 1_000_000, 1000

DECIMAL_COMMA = re.compile(r"[+-]?[0-9]+,[0-9]+(?:e[+-]?[0-9]+)?", re.IGNORECASE)
PERHAPS_THOUSANDS = re.compile(r"[+-]?[1-9][0-9]{0,2},[0-9]{3}")
_PERHAPS_POINT_THOUSANDS = re.compile(r"[+-]?[1-9][0-9]{0,2}\.[0-9]{3}")
_POINT = re.compile(r"[+-]?(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:e[+-]?[0-9]+)?", re.IGNORECASE)


UNCLOSED = "unexpected end of data"
"""What the module csv says of a quoted cell that does not end."""
MOST_LOOKED_AT = 4096
"""Bytes at the beginning of a file: a binary file has a zero byte among them, a text has none."""


@dataclass(frozen=True)
class Sheet:
    header: list[str]
    rows: list[tuple[int, list[str]]]
    """The line in the file and its cells, without blank lines and the blanks around cells."""
    separator: str
    """A key of `SEPARATORS`; empty for a workbook."""


def read_text(path: Path, what: str) -> str:
    """A text with the line ends of the file. Raises `ManifestError`; `what` names the file in its message."""
    try:
        content = require_regular(path).read_bytes()
        # Excel saves "Unicode text" as UTF-16.
        text = content.decode("utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except FileNotFoundError:
        raise ManifestError(f"no {what} at {path}") from None
    except UnicodeDecodeError as error:
        if b"\0" in content[:MOST_LOOKED_AT]:
            raise ManifestError(f"{path} is a binary file, and the {what} is text: name a CSV file") from error
        raise ManifestError(f"{path} is not text in UTF-8: save it as CSV in UTF-8 ({error})") from error
    except OSError as error:
        raise ManifestError(f"cannot read the {what} {path}: {error.strerror or error}") from error
    if "\0" in text:
        raise ManifestError(f"{path} holds zero bytes, as UTF-16 without its mark does: save it as CSV in UTF-8")
    return text


def read_sheet(path: Path, what: str, wanted: str) -> Sheet:
    """The table in a file; `wanted` is the column that every table has, by which its separator is found. Raises `ManifestError`."""
    if path.suffix.lower() in (".xlsx", ".xlsm"):
        return _sheet(path, _workbook(path, what), "", wanted)
    text = read_text(path, what)
    begin, lines = 0, list[tuple[int, list[str]]]()
    declared = re.match(r'sep=([^"\r\n])(?:\r\n|\r|\n)', text)
    if declared:  # as Excel writes it
        text, begin = text[declared.end() :], 1
    try:
        separator = declared[1] if declared else next((s for s in SEPARATORS if wanted in _names(text, s)), ",")
        reader = csv.reader(_lines(text), delimiter=separator, strict=True)
        for row in reader:
            lines.append((begin + reader.line_num, row))
    except csv.Error as error:
        if str(error) == UNCLOSED:
            line = 1 + (lines[-1][0] if lines else begin)
            raise ManifestError(
                f"{path}: a cell that begins with a quote in line {line} has no quote at its end"
            ) from error
        raise ManifestError(f"cannot read the {what} {path}: {error}") from error
    return _sheet(path, lines, separator, wanted)


def _lines(text: str) -> io.StringIO:
    # With newline="", lines end at \n, \r\n and the \r of old Macs, and ends inside quotes stay as they are.
    return io.StringIO(text, newline="")


def _names(text: str, separator: str) -> list[str]:
    rows = csv.reader(_lines(text), delimiter=separator)
    return [column_name(cell) for cell in next((row for row in rows if _is_filled(row)), [])]


def _is_filled(cells: Sequence[str]) -> bool:
    return any(map(str.strip, cells))


def column_name(cell: str) -> str:
    """ "Video ID" is video_id."""
    return re.sub(r"[\s-]+", "_", cell.strip()).lower()


def has_decimal_commas(path: Path, sheet: Sheet, columns: Sequence[int]) -> bool:
    """Whether 3,4 in columns of numbers is 3.4, decided once for the whole table. Raises `ManifestError` if some numbers have a comma and others
    a point: one of the two is then a separator of thousands, and no cell says which. So too if all that a table with semicolons has are numbers such as
    1.234, which is 1234 in the countries whose spreadsheets separate by semicolons."""
    cells = [(line, row[i]) for line, row in sheet.rows if len(row) == len(sheet.header) for i in columns]
    commas = [(line, text) for line, text in cells if DECIMAL_COMMA.fullmatch(text)]
    points = [(line, text) for line, text in cells if _POINT.fullmatch(text)]
    point = next(iter(points), None)
    if commas and point:
        (line, text), (other_line, other) = commas[0], point
        raise ManifestError(
            f"{path} mixes decimal commas and points: {text!r} in line {line} and {other!r} in line {other_line}; write all numbers "
            f"with a decimal point and without separators of thousands (in a workbook: as numbers, not as text)"
        )
    if sheet.separator == ";" and point and all(_PERHAPS_POINT_THOUSANDS.fullmatch(text) for _, text in points):
        line, text = point
        raise ManifestError(
            f"{path}: {text!r} in line {line} is {text.replace('.', '')} where spreadsheets separate columns by semicolons, and {text} elsewhere, and "
            f"no other number says which; separate the columns by commas, or write {text}0 or {text.replace('.', '')}"
        )
    # Programs separate by semicolons where the comma is the decimal mark. Elsewhere a number that cannot be thousands proves it.
    return sheet.separator == ";" or not all(PERHAPS_THOUSANDS.fullmatch(text) for _, text in commas)


def with_point(text: str) -> str:
    """3.4 for 3,4; other texts stay."""
    return text.replace(",", ".") if DECIMAL_COMMA.fullmatch(text) else text


def _sheet(path: Path, lines: Sequence[tuple[int, list[str]]], separator: str, wanted: str) -> Sheet:
    # Spreadsheets may have blank rows above the table.
    header, *rest = list(dropwhile(lambda line: not _is_filled(line[1]), lines)) or [(1, [])]
    names = [read_cell(name.strip()) for name in header[1]]
    # Blanks go first: those that `write_manifest` has escaped are the text's own.
    rows = [(number, [_text(cell.strip()) for cell in cells]) for number, cells in rest]
    rows = [(number, cells) for number, cells in rows if any(cells)]
    if _has_index(names, rows):
        names, rows = names[1:], [(number, cells[1:]) for number, cells in rows]
    # Columns of nothing at the right, which spreadsheets leave.
    while names and not names[0] and not any(cells[0] for _, cells in rows if cells):
        names, rows = names[1:], [(number, cells[1:]) for number, cells in rows]
    width = len(names)
    while width and not names[width - 1] and not any(any(cells[width - 1 :]) for _, cells in rows):
        width -= 1
    shown = ", ".join(map(repr, names[:10]))
    if wanted not in map(column_name, names) and len(names) == 1 and re.search(r"[|:]| {2}", names[0]):
        raise ManifestError(
            f"{path}: the first line is one cell, {shown[:200]}; separate columns by commas, semicolons or tabs"
        )
    rows = [
        (number, cells[:width] if len(cells) > width and not any(cells[width:]) else cells) for number, cells in rows
    ]
    if not separator:
        rows = [(number, cells + [""] * (width - len(cells))) for number, cells in rows]
    return Sheet(names[:width], rows, separator)


def _has_index(names: Sequence[str], rows: Sequence[tuple[int, list[str]]]) -> bool:
    """Whether the first column is the numbers of the rows that pandas writes, without a name."""
    numbers = [cells[0] for _, cells in rows if cells]
    is_unnamed = len(names) > 1 and names[0] in ("", "Unnamed: 0")
    return is_unnamed and bool(numbers) and len(set(numbers)) == len(numbers) and all(map(str.isdecimal, numbers))


def _text(cell: str) -> str:
    # Most cells need no look at what an apostrophe at their beginning means.
    return read_cell(cell) if cell[:1] == "'" else cell


def _workbook(path: Path, what: str) -> list[tuple[int, list[str]]]:
    """The cells of the first sheet, read without running anything. Formulas have the values that the spreadsheet saved."""
    with needs(
        lambda name: ManifestError(
            f"{path} is an Excel workbook: save it as CSV in UTF-8, or python -m pip install {name}"
        )
    ):
        from openpyxl import load_workbook
    try:
        with zipfile.ZipFile(require_regular(path)) as archive:
            if sum(info.file_size for info in archive.infolist()) > MOST_BYTES:
                raise ManifestError(f"{path} unpacks to more than {MOST_BYTES >> 20} MiB: save it as CSV in UTF-8")
            # Libraries that write formulas without computing them ask for it this way, and may save 0 for each.
            settings = [archive.read(name) for name in archive.namelist() if name.endswith("workbook.xml")]
            computed = not any(re.search(rb"fullCalcOnLoad=.(?:1|true)", text) for text in settings)
        with (
            closing(load_workbook(path, read_only=True, data_only=True, keep_links=False)) as saved,
            closing(load_workbook(path, read_only=True, data_only=False, keep_links=False)) as written,
        ):
            values, formulas = (
                book.worksheets[0].iter_rows(max_row=MOST_ROWS, max_col=MOST_COLUMNS) for book in (saved, written)
            )
            cells = list(_cells(path, values, formulas, computed))
            _require_unmerged(path, saved.worksheets[0], cells)
            return cells
    except ManifestError:
        raise
    except FileNotFoundError:
        raise ManifestError(f"no {what} at {path}") from None
    except Exception as error:  # what openpyxl raises for a damaged file is not listed anywhere
        raise ManifestError(f"cannot read the workbook {path}: {error or type(error).__name__}") from error


def _require_unmerged(path: Path, sheet: object, lines: Sequence[tuple[int, list[str]]]) -> None:
    """A merged cell has its value in the first of its rows only: the labels of the others would be missing. Above the table there may be some."""
    place = getattr(sheet, "_worksheet_path", None)  # openpyxl has no public name for it
    if place is None:
        return
    with zipfile.ZipFile(path) as archive:
        content = archive.read(place)
    header = next((number for number, cells in lines if _is_filled(cells)), 0)
    for range_ in re.findall(rb'<mergeCell [^>]*ref="([A-Z]+[0-9]+:[A-Z]+[0-9]+)"', content):
        first, last = (int(row) for row in re.findall(rb"[0-9]+", range_))
        if first > header and first != last:
            raise ManifestError(
                f"{path}: the cells {range_.decode()} are merged, so only the first of their rows has the value: unmerge them and fill each cell"
            )


def _cells(
    path: Path, values: Iterator[Sequence[object]], formulas: Iterator[Sequence[object]], computed: bool
) -> Iterator[tuple[int, list[str]]]:
    for number, (row, sources) in enumerate(zip(values, formulas, strict=True), 1):
        texts = []
        for cell, source in zip(row, sources, strict=True):
            value = getattr(cell, "value", None)
            where = f"{path}, cell {getattr(source, 'coordinate', number)}"
            # The type "str" without a value is a formula whose saved value is an empty text.
            saved = value is not None or getattr(cell, "data_type", "") == "str"
            if getattr(source, "data_type", "") == "f" and not (computed and saved):
                raise ManifestError(
                    f"{where} is a formula whose value is not saved: open the workbook in a spreadsheet and save it, "
                    f"or write the value instead of the formula"
                )
            if value is not None and not isinstance(value, str | int | float) or isinstance(value, bool):
                raise ManifestError(
                    f"{where}: {value} is a date or true or false, which Excel makes of some texts; "
                    f"format the column as text and type it again"
                )
            texts.append("" if value is None else str(value))
        yield number, texts
