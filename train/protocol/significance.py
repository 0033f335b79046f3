"""Is one run better than another, or is it chance? Paired tests over the videos that both have scored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import wilcoxon

from longtake.train.errors import DataError
from longtake.train.resampling import Draws, ScoredVideos
from longtake.train.uncertainty import ALL, Spread, chance, require_same_videos, spreads

RESAMPLES = 2000
Group = tuple[str, str, str]
"""Category of the models, score and fold: videos that were tested by the same models."""
Predictions = Mapping[Group, Mapping[str, tuple[float, float]]]
"""Group -> video -> (true, predicted), the mean over seeds."""


@dataclass(frozen=True)
class Difference:
    """A run minus the run it is compared with, each by the mean of its seeds' scores."""

    run: str
    against: str
    num_videos: int
    spearman: float
    """Difference of the Fisher means over folds, categories and scores; nan, as its interval and p are, where a correlation is undefined."""
    spearman_low: float
    """95% interval over the videos, or their groups."""
    spearman_high: float
    spearman_p: float
    """Two-sided, from the same resamples; no smaller than one over their number. nan, as the interval is, for too few videos or groups."""
    mse_ratio: float
    """Mean squared error over the other's, the mean over groups."""
    error_p: float
    """Wilcoxon's signed-rank test of the videos' squared errors, two-sided."""


@dataclass(frozen=True, eq=False)
class Prepared:
    """A run with its resamples: what a comparison with any other run on the same videos needs of it."""

    tests: Sequence[ScoredVideos]
    whole: Spread
    """Fisher's mean of the rank correlations over folds, categories and scores."""
    errors: Sequence[np.ndarray]
    """Of each test, squared errors over the variance of the true scores."""


def prepared(predictions: Predictions, drawn: Mapping[str, str] | None = None) -> Prepared:
    """`drawn` are groups of videos that are drawn at once, by video. Runs on the same videos have the same resamples. Raises
    `DataError` where there are no predictions."""
    tests = _tests(predictions, drawn or {})
    if not tests:
        raise DataError("a run to be compared has no test videos")
    found = spreads(tests, "spearman", Draws.of(tests, RESAMPLES))
    errors = [((test.predicted - test.true) ** 2) / max(test.true.var(), 1e-12) for test in tests]
    return Prepared(tests, found[ALL] if ALL in found else next(iter(found.values())), errors)


def difference(run: str, against: str, ours: Prepared, theirs: Prepared) -> Difference:
    """Of two runs that were tested on the same videos of the same groups, prepared with the same drawn ones. Raises `DataError` for runs that were
    tested on others."""
    require_same_videos({against: theirs.tests, run: ours.tests})
    gap = ours.whole.minus(theirs.whole)
    ours_all, theirs_all = np.concatenate(ours.errors), np.concatenate(theirs.errors)
    same = np.allclose(ours_all, theirs_all)
    return Difference(
        run, against, len(ours_all), gap.point, gap.interval.low, gap.interval.high, chance(gap),
        float(np.mean([one.mean() / max(two.mean(), 1e-12) for one, two in zip(ours.errors, theirs.errors)])),
        1.0 if same else float(wilcoxon(ours_all, theirs_all).pvalue),
    )  # fmt: skip


def _tests(predictions: Predictions, drawn: Mapping[str, str]) -> list[ScoredVideos]:
    """In the order of groups and videos, the same for both runs."""
    tests = []
    for category, score, fold in sorted(predictions):
        videos = predictions[category, score, fold]
        names = sorted(videos)
        true, predicted = np.array([videos[name] for name in names]).T
        groups = [drawn.get(name, "") for name in names]
        tests.append(ScoredVideos((category, score), names, true, predicted, drawn=groups, fold=fold))
    return tests
