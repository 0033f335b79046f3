"""Results -> 95% intervals of the figures of a table's rows, and of their averages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from longtake.train.resampling import Draws, ScoredVideos, average, over_folds
from longtake.train.uncertainty import FEWEST, Interval, spread

if TYPE_CHECKING:  # It needs torch, and intervals are computed where that is not installed.
    from longtake.train.protocol.run import Result

FIGURE_OF: Mapping[str, str] = {
    "spearman": "spearman",
    "mse": "mse",
    "relative_l2": "relative_l2",
    "ensemble_spearman": "spearman",
    "ensemble_mse": "mse",
    "floor_spearman": "spearman",
    "floor_mse": "mse",
    "control_spearman": "spearman",
    "no_video_spearman": "spearman",
    "no_video_mse": "mse",
    "within_spearman": "within_group",
    "floor_within": "within_group",
    "no_video_within": "within_group",
}
"""Field of a row -> the figure that it is."""
Values = Mapping[str, np.ndarray]
"""Field of a row -> its value under all weights of the draws."""


def drawn_group(groups: Mapping[str, np.ndarray], rows: np.ndarray) -> str:
    """The kind of group that is drawn at once, of these test videos: the coarsest, which gives the widest intervals; empty for none.

    A kind has `FEWEST` groups or more, and fewer than there are videos. A video of no group counts as one.
    """
    numbers = {}
    for name, values in groups.items():
        known = [value for value in values[rows] if value]
        numbers[name] = len(set(known)) + len(rows) - len(known)
    usable = {name: number for name, number in numbers.items() if FEWEST <= number < len(rows)}
    return min(usable, key=lambda name: usable[name], default="")


def scored(result: Result, group: str, predicted: np.ndarray | None = None) -> ScoredVideos:
    """A result's test, or the same videos with other scores, by the mean of seeds or the baseline."""
    task, rows = result.task, result.task.test_rows
    names = task.data.groups[group][rows].tolist() if group else ()
    return ScoredVideos(
        (result.unit.category, result.unit.scale.name),
        [task.data.video_ids[row] for row in rows],
        task.scores(rows),
        result.fitted.predicted if predicted is None else predicted,
        task.label_range,
        result.model.seed,
        "" if result.model.fold is None else str(result.model.fold),
        names,
    )


def pooled(tests: Sequence[ScoredVideos], results: Sequence[Result], inside: str) -> list[ScoredVideos]:
    """One test for each seed, of the videos of all folds, to be ranked inside a group: few of one event are in one fold. `results` are those of
    the tests."""
    pairs = zip(tests, results, strict=True)
    return over_folds(
        [replace(test, inside=r.task.data.groups[inside][r.task.test_rows].tolist()) for test, r in pairs]
    )


def draws_of(results: Sequence[Result], group: str) -> Draws:
    """One set of draws for all that a table has."""
    return Draws.of([scored(result, group) for result in results])


def values_of(draws: Draws, tests: Mapping[str, Sequence[ScoredVideos]]) -> Values:
    """Of one row: the tests that each of its fields is made of."""
    found = {}
    for field, mine in tests.items():
        if mine and draws.num_units[mine[0].key] >= FEWEST:
            (found[field],) = draws.values(mine, FIGURE_OF[field]).values()
    return found


def average_of(rows: Sequence[Values], num_videos: Sequence[int]) -> Values:
    """Of the average over rows; a field that one of them lacks has none."""
    shared = [field for field in rows[0] if all(field in row for row in rows)]
    return {field: average([row[field] for row in rows], FIGURE_OF[field], num_videos) for field in shared}


def intervals_of(draws: Draws, values: Values, keys: Sequence[tuple[str, str]]) -> dict[str, Interval]:
    """Of a row, or an average over the rows `keys`; those that there are."""
    found = {field: spread(of_field, draws, FIGURE_OF[field], keys).interval for field, of_field in values.items()}
    return {field: interval for field, interval in found.items() if interval}
