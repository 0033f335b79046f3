"""Tables for narrow windows: each cell knows the name of its column, so that on a phone a row is shown as a list."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from html.parser import HTMLParser

from markupsafe import Markup, escape

WIDE = 6
"""Tables of more columns are shown as lists on paper too."""
NUMBER = re.compile(r"[-+]?\d")


class _Reader(HTMLParser):
    """Headers and cells of one table."""

    def __init__(self) -> None:
        super().__init__()
        self.headers: list[str] = []
        self.rows: list[list[str]] = []
        self._cells: list[str] | None = None

    def handle_starttag(self, tag: str, attributes: object) -> None:
        if tag == "tr":
            self.rows.append([])
        elif tag in ("th", "td"):
            self._cells = self.headers if tag == "th" else self.rows[-1]
            self._cells.append("")

    def handle_endtag(self, tag: str) -> None:
        if tag in ("th", "td"):
            self._cells = None

    def handle_data(self, data: str) -> None:
        if self._cells is not None:
            self._cells[-1] += data


def labelled(table: str) -> Markup:
    """A table of tabulate's format `html`, whose first row has the names of the columns."""
    reader = _Reader()
    reader.feed(table)
    reader.close()
    return html_table([*map(str.strip, reader.headers)], [[*map(str.strip, row)] for row in reader.rows if row])


def html_table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> Markup:
    """Texts are escaped. The first column names the row."""
    head = "".join(f"<th{_kind(name)}>{escape(name)}</th>" for name in headers)
    body = "\n".join(
        "<tr>"
        + "".join(
            f'<td data-label="{escape(name)}"{_kind(cell)}>{escape(cell)}</td>' for name, cell in zip(headers, row)
        )
        + "</tr>"
        for row in rows
    )
    wide = " wide" if len(headers) > WIDE else ""
    return Markup(f'<table class="cards{wide}"><thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table>')


def _kind(cell: str) -> str:
    return ' class="number"' if NUMBER.match(cell) else ""
