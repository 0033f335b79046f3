"""What objects show in a notebook: a small table of facts, and pandas tables where pandas is installed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from longtake.errors import LongtakeError, printable
from longtake.packages import needs


def html_facts(title: str, facts: Mapping[str, object]) -> str:
    """An HTML table with one fact per row, for `_repr_html_`. Texts may come from untrusted files."""
    rows = "".join(f"<tr><th>{_shown(name)}</th><td>{_shown(value)}</td></tr>" for name, value in facts.items())
    return f"<table><caption>{_shown(title)}</caption>{rows}</table>"


def html_table(columns: Mapping[str, Sequence[object]]) -> str:
    """An HTML table of these columns, for `_repr_html_`."""
    head = "".join(f"<th>{_shown(name)}</th>" for name in columns)
    rows = ["".join(f"<td>{_shown(value)}</td>" for value in values) for values in zip(*columns.values())]
    return f"<table><tr>{head}</tr>{''.join(f'<tr>{row}</tr>' for row in rows)}</table>"


def _shown(value: object) -> str:
    return escape(printable(str(value)))


def data_frame(columns: Mapping[str, Sequence[object]]) -> Any:
    """A pandas DataFrame of these columns. Raises `LongtakeError` if pandas is not installed."""
    with needs(lambda name: LongtakeError(f"a table for pandas needs {name}: python -m pip install {name}")):
        import pandas
    return pandas.DataFrame(dict(columns))
