"""The rows of a bench's leaderboard.json, for its figure."""

from __future__ import annotations

import math
from pathlib import Path

from longtake.errors import printable, there_are
from longtake.train.errors import DataError
from longtake.train.protocol.rows import AVERAGE
from longtake.train.runs.board import BOARD, Table, read_board
from longtake.train.runs.plots.draw import Standing


def board_rows(
    folder: Path, metric: str, category: str | None, score: str | None
) -> tuple[dict[str, list[Standing]], str]:
    """Title of each table -> its rows with a figure, in their order; and what a reader must know of all. The column is that of the
    category and score, or the average, or the first. Raises `DataError` for damaged files and where nothing has a figure."""
    path = folder / BOARD
    board = read_board(folder)
    found, marks = {}, []
    for table in board.tables:
        column = _column(table, " ".join(filter(None, (category, score))), path)
        rows = []
        several = len({row.features for row in table.rows}) > 1
        for row in table.rows:
            figure = row.figures.get(column, {}).get(metric)
            if figure is None or math.isnan(figure.value):
                continue
            name = f"{row.name} ({row.features})" if several else row.name
            mark = " *" if row.marks else ""
            rows.append(Standing(printable(name) + mark, figure.value, figure.low, figure.high))
            marks += [mark for mark in row.marks if "RANDOM" in mark]
        if rows:
            about = table.note or f"{table.num_videos} videos"
            found[printable(f"{table.dataset}, {table.split}: {column}, {about}")] = rows
    if not found:
        raise DataError(
            f"{path} has no figures of {metric}: no row of the bench is finished, or the bench does not measure it"
        )
    assert all(math.isfinite(row.value) for rows in found.values() for row in rows)
    if any(row.name.endswith(" *") for rows in found.values() for row in rows):
        marks.append("*: with a remark in leaderboard.md")
    return found, ", ".join(dict.fromkeys(marks))


def _column(table: Table, asked: str, path: Path) -> str:
    if not asked:
        return AVERAGE if AVERAGE in table.columns else next(iter(table.columns), "")
    if asked not in table.columns:
        raise DataError(f"{path} has no column {asked}{there_are(asked, table.columns)}")
    return asked
