"""The finished cells of a sweep, read. It needs no torch."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from longtake.checks import build
from longtake.train.engine.names import unit_name
from longtake.train.errors import DataError
from longtake.train.metrics import Seeds, average, deviation, join_seeds, over_rows, spearman
from longtake.train.protocol.options import are_pooled
from longtake.train.resampling import Key
from longtake.train.runs.records import Tested, number, only_known, read_run, read_values
from longtake.train.runs.scored import group_to_draw, scored_tests
from longtake.train.runs.tables import PREDICTIONS, Predicted, read_predictions
from longtake.train.uncertainty import ALL, Interval
from longtake.train.uncertainty import intervals as intervals_of

DONE = "done.json"
"""Of a cell that is finished; written last."""


@dataclass(frozen=True)
class Cell:
    head: str
    backbone: str
    category: str
    seed: int

    @property
    def folder(self) -> str:
        parts = [unit_name(self.head, self.backbone.replace("@", "-")), unit_name(self.category, "")]
        return "-".join([*filter(None, parts), f"seed{self.seed}"])


@dataclass(frozen=True)
class Done:
    """What done.json says of a finished cell."""

    cell: Cell
    random_weights: bool


@dataclass(frozen=True)
class Line:
    """A head and backbone on one category and score, over seeds."""

    head: str
    backbone: str
    category: str
    score: str
    num_seeds: int
    spearman: float
    """Fisher's mean over folds and seeds."""
    deviation: float
    """As `longtake.train.metrics.deviation` has it."""
    mse: float
    num_videos: int = 0
    """Test videos of all folds; of an average, over its rows."""
    spearman_interval: Interval | None = None
    """95%, as those of runs; None where there is none."""
    mse_interval: Interval | None = None
    intervals_over: str = "videos"
    """Or the name of a group."""


def read_sweep(out: Path) -> tuple[list[Line], bool]:
    """The lines of all cells that are done, averages over categories and scores included, and whether any weights were random."""
    return read_cells(path.parent for path in sorted(out.glob(f"*/{DONE}")))


def read_cells(folders: Iterable[Path]) -> tuple[list[Line], bool]:
    """As `read_sweep`, of the cells in these folders."""
    rows: dict[tuple[str, str], _Rows] = {}
    random_weights = False
    for folder in folders:
        done = build(Done, only_known(Done, read_values(folder / DONE)), str(folder / DONE), DataError)
        random_weights |= done.random_weights
        rows.setdefault((done.cell.head, done.cell.backbone), _Rows()).add(folder)
    return [line for name, mine in rows.items() for line in mine.lines(*name)], random_weights


@dataclass
class _Rows:
    """All cells of a head and backbone."""

    tested: dict[Key, dict[int, list[Tested]]] = field(default_factory=dict)
    """Row of the table -> seed -> a test for each fold."""
    predicted: list[Predicted] = field(default_factory=list)
    folds: int | str = 0

    def add(self, folder: Path) -> None:
        metrics, config = read_run(folder)
        self.folds = config.options.folds
        for model in metrics.models:
            if not model.control:
                seeds = self.tested.setdefault((model.category, model.score), {})
                seeds.setdefault(model.seed, []).append(model.test)
        if (folder / PREDICTIONS).exists():
            self.predicted += read_predictions(folder)

    def lines(self, head: str, backbone: str) -> Iterator[Line]:
        group = group_to_draw(self.predicted)
        pool = are_pooled(self.folds)
        tests = scored_tests(
            self.predicted, dict.fromkeys(self.tested, math.nan), lambda row: row.groups.get(group, ""), pool=pool
        )
        intervals = intervals_of(tests, ("spearman", "mse")) if tests else {}
        seeds_of: dict[Key, Seeds] = {}

        def line(key: Key, seeds: Seeds, rho: float, mse: float, tested: int) -> Line:
            found = intervals.get(key, {})
            rho_ends, mse_ends = (found[name] if found.get(name) else None for name in ("spearman", "mse"))
            category, score = key
            spread, over = deviation(seeds), group or "videos"
            return Line(head, backbone, category, score, len(seeds), rho, spread, mse, tested, rho_ends, mse_ends, over)

        rows = []
        for key, by_seed in self.tested.items():
            if pool:
                whole = [test for test in tests if test.key == key]
                seeds = {one.seed: (spearman(one.true, one.predicted), float(len(one.true))) for one in whole}
            else:
                seeds = {
                    seed: average((number(t.spearman), t.num_videos) for t in own) for seed, own in by_seed.items()
                }
            mse = float(np.mean([number(test.mse) for own in by_seed.values() for test in own]))
            tested = sum(test.num_videos for test in next(iter(by_seed.values())))
            seeds_of[key] = seeds
            rows.append(line(key, seeds, average(seeds.values())[0], mse, tested))
        yield from rows
        # An interrupted sweep may have no seed in all rows yet.
        if len(rows) > 1 and (shared := join_seeds(list(seeds_of.values()))):
            rho = over_rows(*zip(*(average(seeds.values()) for seeds in seeds_of.values())))
            mse = float(np.mean([row.mse for row in rows]))
            yield line(ALL, shared, rho, mse, sum(row.num_videos for row in rows))
