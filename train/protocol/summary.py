"""Results to the rows of a table: means over folds and seeds, and averages over categories, scores and datasets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from longtake.train.metrics import Metrics, Seeds, average, deviation, fisher_mean, join_seeds, measure, over_rows
from longtake.train.protocol.run import Result
from longtake.train.protocol.units import Unit


@dataclass(frozen=True)
class Row:
    """One line of the table: a category and score, over its seeds and folds."""

    category: str
    score: str
    num_train: int
    num_test: int
    spearman: float
    """nan where it is undefined in every fold and seed."""
    spearman_deviation: float
    """Over seeds; nan for a single one. Of an average, over the averages of the seeds."""
    mse: float
    relative_l2: float
    ensemble_spearman: float
    """Of the mean of all seeds' scores; nan for a single seed."""
    ensemble_mse: float
    best_on_test: float
    validation_selected: float
    """nan unless a validation share was asked for."""
    floor_spearman: float
    floor_mse: float
    control_spearman: float
    aiou_50: float
    """nan unless boundaries of stages were predicted and are known."""
    aiou_75: float
    seconds_per_epoch: float


AVERAGE = "average"
CORRELATIONS = (
    "spearman", "ensemble_spearman", "best_on_test", "validation_selected", "floor_spearman", "control_spearman",
)  # fmt: skip
"""Columns that are averaged by Fisher's z."""


@dataclass(frozen=True)
class _Seeded:
    """A row, and its correlation for each seed."""

    row: Row
    seeds: Seeds


def summarise(results: Sequence[Result]) -> list[Row]:
    """A row per category and score and, where there are several, their average; of a unified model a row per dataset as well,
    and the average over datasets.

    Correlations are averaged by Fisher's z over folds, then over seeds, then over rows; all else arithmetically. Undefined ones are left out
    of averages over folds and seeds (`undefined_note`); an average over rows of which one is undefined is undefined.
    """
    rows: dict[str, list[_Seeded]] = {}
    for unit in dict.fromkeys(result.unit for result in results):
        mine = [result for result in results if result.unit == unit and not result.model.control]
        controls = [result.fitted.test for result in results if result.unit == unit and result.model.control]
        if mine:
            rows.setdefault(mine[0].part.dataset, []).append(_row(unit, mine, controls))
    table: list[_Seeded] = []
    datasets: list[_Seeded] = []
    for dataset, own in rows.items():
        whole = _average(dataset if len(rows) > 1 else AVERAGE, own) if len(own) > 1 else own[0]
        table += [*own, whole] if len(own) > 1 else own
        datasets.append(whole)
    table += [_average(AVERAGE, datasets)] if len(datasets) > 1 else []
    return [one.row for one in table]


def _row(unit: Unit, results: Sequence[Result], controls: Sequence[Metrics]) -> _Seeded:
    """Of a category and score; `controls` are tests of models that were trained on shuffled labels."""
    fitted = [result.fitted for result in results]
    by_seed: dict[int, list[Metrics]] = {}
    for result in results:
        by_seed.setdefault(result.model.seed, []).append(result.fitted.test)
    seeds = {seed: average((t.spearman, t.num_videos) for t in tests) for seed, tests in by_seed.items()}
    tests = [one.test for one in fitted]
    baselines = [result.baseline.test for result in results if result.baseline]
    ensembles = _ensembles(results) if len(seeds) > 1 else []
    row = Row(
        unit.category,
        unit.scale.name,
        num_train=round(np.mean([len(result.task.train_rows) for result in results])),
        num_test=round(np.mean([len(result.task.test_rows) for result in results])),
        spearman=average(seeds.values())[0],
        spearman_deviation=deviation(seeds),
        mse=_mean(tests, "mse"),
        relative_l2=_mean(tests, "relative_l2"),
        ensemble_spearman=_correlation(ensembles),
        ensemble_mse=_mean(ensembles, "mse"),
        best_on_test=_correlation([one.best_on_test[1] for one in fitted if one.best_on_test]),
        validation_selected=_correlation([one.validation_selected[1] for one in fitted if one.validation_selected]),
        floor_spearman=_correlation(baselines),
        floor_mse=_mean(baselines, "mse"),
        control_spearman=_correlation(controls),
        aiou_50=_mean(tests, "aiou_50"),
        aiou_75=_mean(tests, "aiou_75"),
        seconds_per_epoch=_mean(fitted, "seconds_per_epoch"),
    )
    return _Seeded(row, seeds)


def _mean(records: Sequence[object], name: str) -> float:
    """Of a field; nan for no records."""
    return float(np.mean([getattr(one, name) for one in records])) if records else float("nan")


def _correlation(tests: Sequence[Metrics]) -> float:
    """The average over folds, or folds and seeds."""
    return fisher_mean((test.spearman for test in tests), (test.num_videos for test in tests))


def _ensembles(results: Sequence[Result]) -> list[Metrics]:
    """For each fold, the test of the mean of the seeds' scores."""
    folds: dict[int | None, list[Result]] = {}
    for result in results:
        folds.setdefault(result.model.fold, []).append(result)
    return [
        measure(
            mine[0].task.scores(mine[0].task.test_rows),
            np.mean([r.fitted.predicted for r in mine], axis=0),
            mine[0].task.label_range,
        )
        for mine in folds.values()
    ]


def _average(name: str, lines: Sequence[_Seeded]) -> _Seeded:
    rows, seeds = [line.row for line in lines], join_seeds([line.seeds for line in lines])
    counts = [row.num_test for row in rows]
    averages: dict[str, Any] = {field.name: _mean(rows, field.name) for field in fields(Row)[2:]}
    averages |= {one: over_rows((getattr(row, one) for row in rows), counts) for one in CORRELATIONS}
    averages |= {one: sum(getattr(row, one) for row in rows) for one in ("num_train", "num_test")}
    return _Seeded(Row(name, "", **{**averages, "spearman_deviation": deviation(seeds)}), seeds)
