"""Results to the rows of a table: means over folds and seeds, and averages over categories, scores and datasets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from longtake.train.metrics import (
    Metrics,
    Seeds,
    Within,
    average,
    deviation,
    fisher_mean,
    join_seeds,
    measure,
    over_rows,
    spearman,
    within_groups,
)
from longtake.train.protocol.intervals import Values, average_of, draws_of, intervals_of, pooled, scored, values_of
from longtake.train.protocol.options import BASELINE, NO_VIDEO
from longtake.train.protocol.rows import AVERAGE as AVERAGE
from longtake.train.protocol.rows import Row as Row
from longtake.train.protocol.run import Result
from longtake.train.protocol.units import Unit
from longtake.train.resampling import Draws, Key, ScoredVideos, over_folds

CORRELATIONS = (
    "spearman", "ensemble_spearman", "best_on_test", "validation_selected", "floor_spearman", "control_spearman", "no_video_spearman",
    "within_spearman", "floor_within", "no_video_within",
)  # fmt: skip
"""Columns that are averaged by Fisher's z."""


WITHIN = ("within_spearman", "floor_within", "no_video_within")
"""Columns of ranks inside groups."""


@dataclass(frozen=True)
class _Seeded:
    """A row, its correlation for each seed, and its figures in all resamples."""

    row: Row
    seeds: Seeds
    values: Values
    keys: tuple[Key, ...]
    videos: frozenset[int]
    num_ranked: int
    """Videos of each of its correlations, of an average their sum."""

    def finished(self, draws: Draws | None) -> Row:
        return replace(self.row, intervals=intervals_of(draws, self.values, self.keys)) if draws else self.row


def summarise(
    results: Sequence[Result], with_intervals: bool = True, group: str = "", within: str = "", pool: bool = False
) -> list[Row]:
    """A row per category and score and, where there are several, their average; of a unified model a row per dataset as well,
    and the average over datasets.

    Correlations are averaged by Fisher's z over folds, then over seeds, then over rows; all else arithmetically. Undefined ones are left out
    of averages over folds and seeds (`undefined_note`); an average over rows of which one is undefined is undefined. Intervals are over the test
    videos, or over their `group`. Inside each group of the kind `within`, videos are ranked as well.

    With `pool`, the scores of all folds of a seed are one test, which is how leave-one-out has a correlation. The best epoch of each fold has
    none then.
    """
    draws = draws_of(results, group) if with_intervals and results else None
    rows: dict[str, list[_Seeded]] = {}
    for unit in dict.fromkeys(result.unit for result in results):
        mine = [result for result in results if result.unit == unit and not result.model.control]
        controls = [result for result in results if result.unit == unit and result.model.control]
        if mine:
            rows.setdefault(mine[0].part.dataset, []).append(_row(unit, mine, controls, draws, group, within, pool))
    table: list[_Seeded] = []
    datasets: list[_Seeded] = []
    for dataset, own in rows.items():
        whole = _average(dataset if len(rows) > 1 else AVERAGE, own) if len(own) > 1 else own[0]
        table += [*own, whole] if len(own) > 1 else own
        datasets.append(whole)
    table += [_average(AVERAGE, datasets)] if len(datasets) > 1 else []
    return [one.finished(draws) for one in table]


def _row(
    unit: Unit, results: Sequence[Result], controls: Sequence[Result], draws: Draws | None, group: str, within: str,
    pool: bool,
) -> _Seeded:  # fmt: skip
    """Of a category and score; `controls` are models that were trained on shuffled labels."""
    fitted = [result.fitted for result in results]
    means = _mean_scores(results) if len({result.model.seed for result in results}) > 1 else []
    of_fields = _tests(results, controls, means, group, within, pool)
    tests, ensembles, baselines, without_video, shuffled = (
        [one.test for one in fitted],
        [measure(r.task.scores(r.task.test_rows), p, r.task.label_range) for r, p in means],
        [result.baseline.test for result in results if result.baseline],
        [result.baselines[NO_VIDEO].test for result in results if NO_VIDEO in result.baselines],
        [result.fitted.test for result in controls],
    )
    by_seed: dict[int, list[tuple[float, float]]] = {}
    if pool:
        for whole in of_fields["spearman"]:
            by_seed.setdefault(whole.seed, []).append((spearman(whole.true, whole.predicted), len(whole.true)))
        ensembles, baselines, without_video, shuffled = (
            [measure(one.true, one.predicted, one.label_range) for one in of_fields[name]]
            for name in ("ensemble_spearman", "floor_spearman", "no_video_spearman", "control_spearman")
        )
    else:
        for result in results:
            test = result.fitted.test
            by_seed.setdefault(result.model.seed, []).append((test.spearman, test.num_videos))
    seeds = {seed: average(found) for seed, found in by_seed.items()}
    ranked = [_ranked(test) for test in of_fields["within_spearman"]]
    videos = frozenset(int(row) for result in results for row in result.task.test_rows)
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
        control_spearman=_correlation(shuffled),
        aiou_50=_mean(tests, "aiou_50"),
        aiou_75=_mean(tests, "aiou_75"),
        seconds_per_epoch=_mean(fitted, "seconds_per_epoch"),
        num_videos=len(videos),
        no_video_spearman=_correlation(without_video),
        no_video_mse=_mean(without_video, "mse"),
        within=within,
        within_num_groups=max((one.num_groups for one in ranked), default=0),
        within_num_videos=max((one.num_videos for one in ranked), default=0),
        within_spearman=_inside(of_fields["within_spearman"]),
        floor_within=_inside(of_fields["floor_within"]),
        no_video_within=_inside(of_fields["no_video_within"]),
    )
    values = values_of(draws, of_fields) if draws else {}
    return _Seeded(
        row, seeds, values, ((unit.category, unit.scale.name),), videos, len(videos) if pool else row.num_test
    )


def _tests(
    results: Sequence[Result],
    controls: Sequence[Result],
    means: Sequence[tuple[Result, np.ndarray]],
    group: str,
    within: str,
    pool: bool,
) -> dict[str, list[ScoredVideos]]:
    """Field of a row -> the tests that it averages; with `pool` one for each seed."""
    own = [scored(result, group) for result in results]
    floor, without_video = (
        [scored(result, group, result.baselines[head].predicted) for result in results if head in result.baselines]
        for head in (BASELINE, NO_VIDEO)
    )
    inside = own, floor, without_video
    # Of no seed: which one came first in a fold is chance.
    joined = [replace(scored(result, group, predicted), seed=0) for result, predicted in means]
    shuffled = [scored(result, group) for result in controls]
    ranked = {name: pooled(tests, results, within) if within and tests else [] for name, tests in zip(WITHIN, inside)}
    if pool:
        own, floor, without_video, joined, shuffled = map(over_folds, (own, floor, without_video, joined, shuffled))
    return {
        **dict.fromkeys(("spearman", "mse", "relative_l2"), own),
        **dict.fromkeys(("ensemble_spearman", "ensemble_mse"), joined),
        **dict.fromkeys(("floor_spearman", "floor_mse"), floor),
        **dict.fromkeys(("no_video_spearman", "no_video_mse"), without_video),
        "control_spearman": shuffled,
        **ranked,
    }


def _inside(tests: Sequence[ScoredVideos]) -> float:
    """Fisher's mean of the seeds."""
    ranked = [_ranked(test) for test in tests]
    return fisher_mean((one.spearman for one in ranked), (one.num_videos for one in ranked))


def _ranked(test: ScoredVideos) -> Within:
    return within_groups(test.true, test.predicted, np.array(test.inside, dtype=object))


def _mean(records: Sequence[object], name: str) -> float:
    """Of a field; nan for no records."""
    return float(np.mean([getattr(one, name) for one in records])) if records else float("nan")


def _correlation(tests: Sequence[Metrics]) -> float:
    """The average over folds, or folds and seeds."""
    return fisher_mean((test.spearman for test in tests), (test.num_videos for test in tests))


def _mean_scores(results: Sequence[Result]) -> list[tuple[Result, np.ndarray]]:
    """For each fold, a result and the mean of the seeds' scores."""
    folds: dict[int | None, list[Result]] = {}
    for result in results:
        folds.setdefault(result.model.fold, []).append(result)
    return [(mine[0], np.mean([result.fitted.predicted for result in mine], axis=0)) for mine in folds.values()]


def _average(name: str, lines: Sequence[_Seeded]) -> _Seeded:
    rows, seeds = [line.row for line in lines], join_seeds([line.seeds for line in lines])
    counts = [line.num_ranked for line in lines]
    averages: dict[str, Any] = {
        field.name: _mean(rows, field.name) for field in fields(Row)[2:] if field.type == "float"
    }
    averages |= {one: over_rows((getattr(row, one) for row in rows), counts) for one in CORRELATIONS}
    averages |= {
        one: sum(getattr(row, one) for row in rows)
        for one in ("num_train", "num_test", "within_num_groups", "within_num_videos")
    }
    averages["within"] = rows[0].within
    videos = frozenset[int]().union(*(line.videos for line in lines))
    averages["num_videos"] = len(videos)
    row = Row(name, "", **{**averages, "spearman_deviation": deviation(seeds)})
    values = average_of([line.values for line in lines], counts)
    return _Seeded(row, seeds, values, tuple(key for line in lines for key in line.keys), videos, sum(counts))
