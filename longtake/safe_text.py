"""Text from untrusted files, made harmless where it is shown: on a terminal, in CSV, in Markdown and on HTML pages.

Ids, categories, names of scores and classes, titles and messages of libraries come from files of other people. In them, control characters
move the cursor and hide text, cells that begin with `=` run as formulas in a spreadsheet, and links lead elsewhere. Values in memory,
in stores and in JSON stay as they are; the functions below are for the way out.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Sequence

from longtake.errors import printable

_FORMULA = re.compile(r"[=+\-@]")
"""The beginning of a cell that a spreadsheet would run. Tabs and carriage returns are control characters."""
_SPLIT_FORMULA = re.compile(r";[\s'\"]*[=+\-@]")
"""The beginning of a formula in a spreadsheet that splits at semicolons, as those do where the comma is the decimal mark."""
_QUOTED = re.compile(r"'+[\"=+\-@]")
"""The beginning of a cell that `csv_cell` has changed."""
_MARKDOWN = re.compile(r"[\\`\[\]|@]|(?<=[A-Za-z]):(?=//)|(?<=www)\.", re.IGNORECASE)


def printable_lines(text: str) -> str:
    """As `printable`, with the ends of lines and tabs kept: for whole messages."""
    return "\n".join("\t".join(map(printable, line.split("\t"))) for line in text.split("\n"))


def in_page(value: object) -> object:
    """For `finalize` of a template of an HTML page with autoescape; other values than text stay, and so does text that is marked as safe."""
    return type(value)(printable_lines(value)) if isinstance(value, str) else value


class Whole(str):
    """Text of our own in a template of Markdown: `in_markdown` leaves it unchanged."""


def in_markdown(value: object) -> object:
    """For `finalize` of a template of Markdown: one line, in its cell of a table, and without links, images and HTML."""
    if isinstance(value, Whole) or not isinstance(value, str):
        return value
    line = printable(" ".join(value.split()))
    return _MARKDOWN.sub(r"\\\g<0>", line).replace("<", "&lt;")


def csv_cell(value: object) -> object:
    """A value as a cell of a CSV file; `read_cell` is the inverse.

    Text that begins with one of `= + - @`, tab or carriage return gets an apostrophe before it, unless it is a number. Text with control
    characters, or with a semicolon before one of these signs, becomes an apostrophe and the text as JSON, without semicolons. Text that could be
    taken for one of these gets a further apostrophe.
    """
    if not isinstance(value, str):
        return value
    if not value.isprintable() or _SPLIT_FORMULA.search(value):
        return json_cell(value)
    return f"'{value}" if _QUOTED.match(value) or (_FORMULA.match(value) and not _is_number(value)) else value


def json_cell(text: str) -> str:
    """An apostrophe and the text as JSON, of plain characters and without semicolons: for text that a spreadsheet would change or run."""
    return "'" + json.dumps(text).replace("\x7f", "\\u007f").replace(";", "\\u003b")


def read_cell(cell: str) -> str:
    """The text of a cell that `csv_cell` made. Cells without an apostrophe at their beginning are returned as they are."""
    if cell.startswith("'\""):
        try:
            text = json.loads(cell[1:])
        except (ValueError, RecursionError):
            return cell
        return text if isinstance(text, str) else cell
    return cell[1:] if _QUOTED.match(cell) else cell


def csv_text(columns: Sequence[str] | None, rows: Iterable[Sequence[object]]) -> str:
    """Lines of a CSV file, with every cell through `csv_cell`: the names of the columns, if any, then the rows."""
    text = io.StringIO()
    csv.writer(text).writerows([*map(csv_cell, row)] for row in (*([columns] if columns else []), *rows))
    return text.getvalue()


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
