"""The test videos of a run, as its predictions.csv has them, to be measured under resampling. It needs no torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import numpy as np

from longtake.train.protocol.intervals import drawn_group
from longtake.train.resampling import Key, ScoredVideos, over_folds
from longtake.train.runs.tables import Predicted


def scored_tests(
    rows: Iterable[Predicted],
    label_ranges: Mapping[Key, float],
    drawn: Callable[[Predicted], str] = lambda row: "",
    inside: Callable[[Predicted], str] = lambda row: "",
    pool: bool = False,
) -> list[ScoredVideos]:
    """A test for each category, score, seed and fold; with `pool` of the scores of all folds. Shuffled-label controls are left out.

    `label_ranges` are of the rows of the table; a video whose category is none of them counts for the row of all categories. `drawn` and `inside`
    are the fields of `ScoredVideos` for a row.
    """
    folds: dict[tuple[Key, int, str], list[Predicted]] = {}
    for row in rows:
        key = (row.category if (row.category, row.score) in label_ranges else "", row.score)
        if key in label_ranges and not row.control:
            folds.setdefault((key, row.seed, row.fold), []).append(row)
    tests = [
        ScoredVideos(
            key,
            [row.video_id for row in mine],
            np.array([row.true for row in mine]),
            np.array([row.predicted for row in mine]),
            label_ranges[key],
            seed,
            fold,
            drawn=[drawn(row) for row in mine],
            inside=[inside(row) for row in mine],
        )
        for (key, seed, fold), mine in folds.items()
    ]
    return over_folds(tests) if pool else tests


def group_to_draw(rows: Iterable[Predicted]) -> str:
    """The kind of group that is drawn at once: `drawn_group` of the test videos."""
    groups = {row.video_id: row.groups for row in rows if not row.control}
    names = dict.fromkeys(name for known in groups.values() for name in known)
    values = {name: np.array([known.get(name, "") for known in groups.values()], dtype=object) for name in names}
    return drawn_group(values, np.arange(len(groups)))
