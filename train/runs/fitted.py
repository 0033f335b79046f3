"""Tables that fit on a terminal: no line is longer than it, and no row or word breaks.

A table that is too wide has its intervals below their figures; is turned, so that its columns go down, where it has few rows; or is cut
between columns into tables below each other, each with the names of the rows.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Sequence
from shutil import get_terminal_size
from typing import Any

from tabulate import tabulate

from longtake.errors import printable
from longtake.safe_text import in_markdown

Cell = str | tuple[str, ...]
"""Of a table: a line, or several."""
TURNED = 4
"""The most rows of a table whose columns go down: more would be hard to compare."""
NARROWEST = 16
"""Characters that words of a long cell have at least."""


def text_table(headers: Sequence[str], rows: Iterable[Iterable[object]], form: str = "simple") -> str:
    """A table in a format of tabulate, with names from untrusted files. A tuple is a cell of several lines."""
    shown: Callable[[str], Any] = in_markdown if form == "github" else printable

    def cell(value: object) -> object:
        if isinstance(value, tuple):
            return "\n".join(map(shown, value))
        return shown(value) if isinstance(value, str) else value

    cells = [[cell(one) for one in row] for row in rows]
    lines = [shown(name) if form == "github" else "\n".join(map(printable, name.split("\n"))) for name in headers]
    return tabulate(cells, lines, tablefmt=form, disable_numparse=True)


def width(text: str) -> int:
    """Of the longest line."""
    return max(map(len, text.splitlines()))


def fitted_table(
    headers: Sequence[str],
    rows: Sequence[Sequence[Cell]],
    tall: Sequence[Sequence[Cell]] | None = None,
    keys: Sequence[int] = (0,),
    limit: int | None = None,
) -> str:
    """The table in lines of at most `limit` characters, those of the terminal by default. `tall` are the same rows with cells of several
    lines; `keys` are the columns that name a row. A single column that is wider is left as it is."""
    limit = get_terminal_size().columns if limit is None else limit
    tall = rows if tall is None else tall
    for cells in (rows, tall):
        if width(made := text_table(headers, cells)) <= limit:
            return made
    if len(rows) <= TURNED:
        for cells in (rows, tall):
            if width(made := _turned(headers, cells, keys)) <= limit:
                return made
    return _cut(headers, [[_wrapped(cell, limit) for cell in row] for row in tall], keys, limit)


def _turned(headers: Sequence[str], rows: Sequence[Sequence[Cell]], keys: Sequence[int]) -> str:
    names = [" ".join(filter(None, (_line(row[key]) for key in keys))) for row in rows]
    own = [index for index in range(len(headers)) if index not in keys]
    turned = [[_line(tuple(headers[index].split("\n"))), *(row[index] for row in rows)] for index in own]
    return text_table(["", *names], turned)


def _cut(headers: Sequence[str], rows: Sequence[Sequence[Cell]], keys: Sequence[int], limit: int) -> str:
    def table(columns: Sequence[int]) -> str:
        shown = sorted([*keys, *columns])
        return text_table([headers[index] for index in shown], [[row[index] for index in shown] for row in rows])

    parts: list[list[int]] = [[]]
    for index in range(len(headers)):
        if index in keys:
            continue
        if parts[-1] and width(table([*parts[-1], index])) > limit:
            parts.append([])
        parts[-1].append(index)
    return "\n\n".join(map(table, parts))


def _wrapped(cell: Cell, limit: int) -> Cell:
    """A long text of words in lines of a third of the table."""
    most = max(limit // 3, NARROWEST)
    if isinstance(cell, tuple) or len(cell) <= most:
        return cell
    return tuple(textwrap.wrap(cell, most, break_long_words=False, break_on_hyphens=False))


def _line(cell: Cell) -> str:
    return " ".join(cell).replace("- ", "-") if isinstance(cell, tuple) else str(cell)


def fitted_lines(text: str, limit: int | None = None) -> str:
    """Sentences in lines of the terminal, the later ones indented. Words that are longer stay whole."""
    limit = get_terminal_size().columns if limit is None else limit
    return "\n".join(
        textwrap.fill(line, limit, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
        for line in text.split("\n")
    )
