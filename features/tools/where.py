"""Choose rows of a listing by what their columns hold, for `features ls --where COLUMN=VALUE`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from longtake.errors import there_are
from longtake.features.errors import FeaturesError

SHORT = {
    "stage": "error_stage", "type": "error_type", "reason": "error_type", "video": "video_id", "seconds": "duration_seconds",
}  # fmt: skip
"""Names that commands give to columns of a record."""


def chosen(rows: Sequence[Mapping[str, Any]], conditions: Iterable[str]) -> list[Mapping[str, Any]]:
    """The rows for which every column that is named has one of the values given for it, so that a column named twice is an OR. Columns are the
    fields of a row, scores and groups. Numbers are compared as numbers. Raises `FeaturesError` for an unknown column."""
    wanted: dict[str, list[str]] = {}
    for condition in conditions:
        name, equals, value = condition.partition("=")
        if not equals:
            raise FeaturesError(f"--where takes COLUMN=VALUE, such as status=failed, got {condition!r}")
        wanted.setdefault(SHORT.get(name, name), []).append(value)
    tables = [(row, _columns(row)) for row in rows]
    known = dict.fromkeys(name for _, columns in tables for name in columns)
    for name in wanted if rows else ():
        if name not in known:
            raise FeaturesError(f"--where {name}=...: no video has a column {name!r}{there_are(name, known)}")
    return [
        row
        for row, columns in tables
        if all(any(_equal(columns.get(name), value) for value in values) for name, values in wanted.items())
    ]


def _columns(row: Mapping[str, Any]) -> dict[str, object]:
    """Scores and groups as columns of their own; a field of the row has precedence over one of the same name."""
    flat = {name: value for name, value in row.items() if not isinstance(value, Mapping | list | tuple)}
    return {**row["groups"], **row["scores"], **flat}


def _equal(held: object, value: str) -> bool:
    if isinstance(held, int | float):
        with suppress(ValueError):
            return held == float(value)
    # A label that a video lacks is empty.
    return ("" if held is None else str(held)) == value
