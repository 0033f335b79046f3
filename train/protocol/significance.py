"""Is one run better than another, or is it chance? Paired tests over the videos that both have scored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata, wilcoxon

from longtake.train.errors import DataError
from longtake.train.metrics import fisher_mean

RESAMPLES = 2000
Group = tuple[str, str, str]
"""Category of the models, score and fold: videos that were tested by the same models."""
Predictions = Mapping[Group, Mapping[str, tuple[float, float]]]
"""Group -> video -> (true, predicted), the mean over seeds."""
ROUNDING = 1e-4
"""Of scores in a run's table."""


@dataclass(frozen=True)
class Difference:
    """A run minus the run it is compared with, each by the mean of its seeds' scores."""

    run: str
    against: str
    num_videos: int
    spearman: float
    """Difference of the Fisher means over categories, scores and folds; nan, as its interval and p are, where a correlation is undefined."""
    spearman_low: float
    """95% interval of resampled videos."""
    spearman_high: float
    spearman_p: float
    """Two-sided, from the same resamples; no smaller than one over their number."""
    mse_ratio: float
    """Mean squared error over the other's, the mean over groups."""
    error_p: float
    """Wilcoxon's signed-rank test of the videos' squared errors, two-sided."""


def difference(run: str, against: str, ours: Predictions, theirs: Predictions) -> Difference:
    """Of two runs that were tested on the same videos of the same groups. Raises `DataError` for others."""
    if {g: set(v) for g, v in ours.items()} != {g: set(v) for g, v in theirs.items()}:
        raise DataError(f"{run} and {against} were not tested on the same videos, scores and folds")
    others = [
        name
        for group, videos in ours.items()
        for name in videos
        if abs(videos[name][0] - theirs[group][name][0]) > ROUNDING
    ]
    if others:
        shown = ", ".join(sorted(others)[:3])
        raise DataError(f"{run} and {against} were tested on other true scores of {len(others)} videos ({shown})")
    tables = []
    for group, videos in ours.items():
        names = sorted(videos)
        true = np.array([videos[name][0] for name in names])
        predicted = np.array([[of[group][name][1] for name in names] for of in (ours, theirs)])
        tables.append((true, predicted))
    errors = [((predicted - true) ** 2) / max(true.var(), 1e-12) for true, predicted in tables]
    found = np.array([[_spearman(true, p) for p in predicted] for true, predicted in tables])
    counts = [len(true) for true, _ in tables]
    rng = np.random.default_rng(0)
    resampled = np.empty(RESAMPLES)
    for index in range(RESAMPLES):
        drawn = []
        for true, predicted in tables:
            chosen = rng.integers(0, len(true), len(true))
            drawn.append([_spearman(true[chosen], p[chosen]) for p in predicted])
        resampled[index] = _difference(np.array(drawn), counts)
    spearman = float("nan") if np.isnan(found).any() else _difference(found, counts)
    # Draws of equal values have no correlation.
    defined = resampled[np.isfinite(resampled)] if np.isfinite(spearman) else np.full(1, np.nan)
    low, high = np.quantile(defined, [0.025, 0.975])
    p = 2 * min(float(np.mean(defined <= 0)), float(np.mean(defined >= 0))) if np.isfinite(spearman) else float("nan")
    ours_all, theirs_all = (np.concatenate([error[side] for error in errors]) for side in (0, 1))
    same = np.allclose(ours_all, theirs_all)
    return Difference(
        run, against, len(ours_all), spearman, float(low), float(high),
        float(np.clip(p, 1 / RESAMPLES, 1.0)),
        float(np.mean([error[0].mean() / max(error[1].mean(), 1e-12) for error in errors])),
        1.0 if same else float(wilcoxon(ours_all, theirs_all).pvalue),
    )  # fmt: skip


def _spearman(true: np.ndarray, predicted: np.ndarray) -> float:
    """Pearson's correlation of ranks, ties shared; nan where either is constant."""
    a, b = rankdata(true), rankdata(predicted)
    a, b = a - a.mean(), b - b.mean()
    scale = np.sqrt((a @ a) * (b @ b))
    return float(a @ b / scale) if scale else float("nan")


def _difference(table: np.ndarray, num_videos: Sequence[int]) -> float:
    """`(groups, 2)` correlations, and of how many videos those of a group are -> ours minus theirs, over the groups where both are
    defined; nan where none is."""
    defined = ~np.isnan(table).any(axis=1)
    table, num_videos = table[defined], np.asarray(num_videos)[defined]
    return fisher_mean(table[:, 0], num_videos) - fisher_mean(table[:, 1], num_videos)
