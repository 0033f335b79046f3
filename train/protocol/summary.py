"""Results to the rows of a table: means over folds and seeds, and averages over categories, scores and datasets."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from longtake.train.metrics import Metrics, Seeds, average, deviation, fisher_mean, join_seeds, measure
from longtake.train.protocol.run import Result


@dataclass(frozen=True)
class Row:
    """One line of the table: a category and score, over its seeds and folds."""

    category: str
    score: str
    num_train: int
    num_test: int
    spearman: float
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


@dataclass(frozen=True)
class _Seeded:
    """A row, and its correlation for each seed."""

    row: Row
    seeds: Seeds


def summarise(results: Sequence[Result]) -> list[Row]:
    """A row per category and score and, where there are several, their average; of a unified model a row per dataset as well,
    and the average over datasets.

    Correlations are averaged by Fisher's z over folds, then over seeds, then over rows; all else arithmetically.
    """
    rows: dict[str, list[_Seeded]] = {}
    for unit in dict.fromkeys(result.unit for result in results):
        mine = [result for result in results if result.unit == unit and not result.control]
        controls = [result for result in results if result.unit == unit and result.control]
        if not mine:
            continue
        seeds = {
            seed: average((r.fitted.test.spearman, r.fitted.test.num_videos) for r in mine if r.seed == seed)
            for seed in {r.seed for r in mine}
        }
        num_test = round(np.mean([len(r.task.test_rows) for r in mine]))
        baselines = [r.baseline for r in mine if r.baseline]
        ensembles = _ensembles(mine) if len(seeds) > 1 else []
        row = Row(
            unit.category,
            unit.scale.name,
            round(np.mean([len(r.task.train_rows) for r in mine])),
            num_test,
            average(seeds.values())[0],
            deviation(seeds),
            float(np.mean([r.fitted.test.mse for r in mine])),
            float(np.mean([r.fitted.test.relative_l2 for r in mine])),
            _rank_correlation(ensembles),
            float(np.mean([metrics.mse for metrics in ensembles])) if ensembles else float("nan"),
            _rank_correlation(r.fitted.best_on_test[1] for r in mine if r.fitted.best_on_test),
            _rank_correlation(r.fitted.validation_selected[1] for r in mine if r.fitted.validation_selected),
            _rank_correlation(baselines),
            float(np.mean([b.mse for b in baselines])) if baselines else float("nan"),
            _rank_correlation(r.fitted.test for r in controls),
            float(np.mean([r.fitted.test.aiou_50 for r in mine])),
            float(np.mean([r.fitted.test.aiou_75 for r in mine])),
            float(np.mean([r.fitted.seconds_per_epoch for r in mine])),
        )
        rows.setdefault(mine[0].part.dataset, []).append(_Seeded(row, seeds))
    table: list[_Seeded] = []
    datasets: list[_Seeded] = []
    for dataset, own in rows.items():
        whole = _average(dataset if len(rows) > 1 else AVERAGE, own) if len(own) > 1 else own[0]
        table += [*own, whole] if len(own) > 1 else own
        datasets.append(whole)
    table += [_average(AVERAGE, datasets)] if len(datasets) > 1 else []
    return [one.row for one in table]


def _rank_correlation(tests: Iterable[Metrics]) -> float:
    """The average over folds, or folds and seeds."""
    tests = list(tests)
    return fisher_mean((test.spearman for test in tests), (test.num_videos for test in tests))


def _ensembles(results: Sequence[Result]) -> list[Metrics]:
    """For each fold, the test of the mean of the seeds' scores."""
    found = []
    for fold in dict.fromkeys(result.fold for result in results):
        mine = [result for result in results if result.fold == fold]
        task = mine[0].task
        predicted = np.mean([result.fitted.predicted for result in mine], axis=0)
        found.append(measure(task.data.scores[task.scale.name][task.test_rows], predicted, task.label_range))
    return found


def _average(name: str, lines: Sequence[_Seeded]) -> _Seeded:
    rows, seeds = [line.row for line in lines], join_seeds([line.seeds for line in lines])

    def fisher(field: str) -> float:
        return fisher_mean((getattr(row, field) for row in rows), (row.num_test for row in rows))

    def mean(field: str) -> float:
        return float(np.mean([getattr(row, field) for row in rows]))

    row = Row(
        name, "", sum(r.num_train for r in rows), sum(r.num_test for r in rows), fisher("spearman"), deviation(seeds),
        mean("mse"), mean("relative_l2"), fisher("ensemble_spearman"), mean("ensemble_mse"), fisher("best_on_test"), fisher("validation_selected"), fisher("floor_spearman"), mean("floor_mse"),
        fisher("control_spearman"), mean("aiou_50"), mean("aiou_75"), mean("seconds_per_epoch"),
    )  # fmt: skip
    return _Seeded(row, seeds)
