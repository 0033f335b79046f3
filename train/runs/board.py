"""The leaderboard of a bench as data: what leaderboard.json holds. It needs no torch, so that a leaderboard can be read where it is not
installed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from longtake.checks import build
from longtake.train.errors import DataError
from longtake.train.runs.compare import Line
from longtake.train.runs.records import only_known, read_values

BOARD = "leaderboard.json"
NOT_RUN = "not run"
DONE_STATE = "done"


@dataclass(frozen=True)
class Figure:
    """nan, also of its 95% interval, where it is undefined."""

    value: float = math.nan
    low: float = math.nan
    high: float = math.nan


@dataclass(frozen=True)
class Row:
    """A head on a stream of features."""

    name: str
    head: str
    features: str
    state: str
    """`DONE_STATE`, or why there are no figures."""
    reason: str = ""
    num_seeds: int = 0
    figures: dict[str, dict[str, Figure]] = field(default_factory=dict)
    """Column -> metric -> figure."""
    rank: int | None = None
    rank_low: int | None = None
    """With `rank_high`: the ranks that the test videos cannot exclude."""
    rank_high: int | None = None
    seconds_per_model: float | None = None
    parameters: int | None = None
    recipe_id: str = ""
    marks: tuple[str, ...] = ()
    """What a reader must know to compare it."""


@dataclass(frozen=True)
class Table:
    dataset: str
    split: str
    about: str
    """How videos were split."""
    labels: str
    """Hash of the labels."""
    num_videos: int
    """Tested, over all folds."""
    columns: tuple[str, ...]
    """Categories and scores, and their average last where there are several."""
    metrics: tuple[str, ...]
    rows: tuple[Row, ...]
    """The best first; those without a rank below, in the order of the file."""
    note: str = ""
    """Where there are too few test videos to rank."""
    papers: tuple[Line, ...] = ()
    """By their own rules: the official split, and the epoch that was best on the test videos."""
    leaks: tuple[str, ...] = ()
    """What training and test videos share that flatters every row, in sentences, and rows of which it is not known."""


@dataclass(frozen=True)
class Board:
    """All tables of a bench, as `read_board` has them: without the rows of papers."""

    title: str
    tables: tuple[Table, ...]
    about: str = ""


def read_board(folder: Path) -> Board:
    """The leaderboard in the folder of a bench. Raises `DataError` where there is none, or one that is damaged."""
    path = folder / BOARD
    values = read_values(path, f"{folder} holds no leaderboard: no {BOARD} in it")
    return build(Board, _defined(only_known(Board, _without_papers(values))), str(path), DataError)


def _without_papers(values: Any) -> Any:
    """Their figures have names in JSON where `Line` has pairs."""
    if not isinstance(values, Mapping) or not isinstance(values.get("tables"), list):
        return values
    tables = [
        {name: value for name, value in table.items() if name != "papers"} if isinstance(table, Mapping) else table
        for table in values["tables"]
    ]
    return {**values, "tables": tables}


_ENDS = frozenset(("value", "low", "high"))


def _defined(values: Any) -> Any:
    """Without the null that JSON has for nan in a figure."""
    if isinstance(values, list):
        return [_defined(one) for one in values]
    if not isinstance(values, Mapping):
        return values
    of_figure = values.keys() <= _ENDS
    return {name: _defined(one) for name, one in values.items() if not (of_figure and one is None)}
