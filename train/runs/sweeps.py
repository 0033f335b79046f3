"""The finished cells of a sweep, read. It needs no torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from longtake.checks import build
from longtake.train.engine.names import unit_name
from longtake.train.errors import DataError
from longtake.train.metrics import average, deviation, join_seeds, over_rows
from longtake.train.protocol.rows import AVERAGE
from longtake.train.runs.records import Tested, number, only_known, read_metrics, read_values

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


def read_sweep(out: Path) -> tuple[list[Line], bool]:
    """The lines of all cells that are done, averages over categories and scores included, and whether any weights were random."""
    tests: dict[tuple[str, str, str, str], dict[int, list[Tested]]] = {}
    random_weights = False
    for path in sorted(out.glob(f"*/{DONE}")):
        done = build(Done, only_known(Done, read_values(path)), str(path), DataError)
        random_weights |= done.random_weights
        for model in read_metrics(path.parent).models:
            if not model.control:
                key = done.cell.head, done.cell.backbone, model.category, model.score
                tests.setdefault(key, {}).setdefault(model.seed, []).append(model.test)
    lines, seeds_of = [], {}
    for key, by_seed in tests.items():
        seeds = {seed: average((number(t.spearman), t.num_videos) for t in mine) for seed, mine in by_seed.items()}
        mse = float(np.mean([number(test.mse) for mine in by_seed.values() for test in mine]))
        tested = sum(test.num_videos for test in next(iter(by_seed.values())))
        lines.append(Line(*key, len(seeds), average(seeds.values())[0], deviation(seeds), mse, tested))
        seeds_of[key] = seeds
    for head, backbone in dict.fromkeys((line.head, line.backbone) for line in lines):
        mine = [line for line in lines if (line.head, line.backbone) == (head, backbone)]
        rows = [seeds_of[head, backbone, line.category, line.score] for line in mine]
        # An interrupted sweep may have no seed in all rows yet.
        if len(mine) > 1 and (shared := join_seeds(rows)):
            spearman = over_rows(*zip(*(average(row.values()) for row in rows)))
            mse = float(np.mean([line.mse for line in mine]))
            tested = sum(line.num_videos for line in mine)
            lines.append(Line(head, backbone, AVERAGE, "", len(shared), spearman, deviation(shared), mse, tested))
    return lines, random_weights
