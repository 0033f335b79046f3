"""How a result is measured and averaged: the conventions of the field's tables, each in one place."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import ConstantInputWarning, spearmanr

_ATANH_LIMIT = 1 - 1e-9


@dataclass(frozen=True)
class Metrics:
    """Of one set of videos, in judges' units."""

    spearman: float
    """Rank correlation; nan where it is undefined: for fewer than two videos, equal labels, equal predictions, and those not finite."""
    mse: float
    """Mean squared error in score units."""
    relative_l2: float
    """R-l2, times 100: mean of `(|error| / (highest - lowest label))^2` (Yu et al., CoRe, ICCV 2021; MVLA, equation 11)."""
    num_videos: int
    aiou_50: float = float("nan")
    """Share of videos whose boundaries of stages overlap the true ones by half or more; nan where none are predicted or known."""
    aiou_75: float = float("nan")
    """By three quarters or more."""


def boundary_iou(true: np.ndarray, predicted: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Intersection over union of `(videos, boundaries)` seconds with the true ones, `(videos,)`; nan where a true one is missing.

    MVLA's text makes "a set of 1D bounding boxes" of boundaries; here they are the stretches from each boundary to the next, which for
    the two boundaries of a dive is what the published code of TSA measures: its flight. A single boundary's reaches to the video's
    end, `(videos,)` seconds. Intersections and unions are summed over the stretches of a video.
    """
    if true.shape[1] == 1:
        true, predicted = (np.concatenate([values, ends[:, None]], 1) for values in (true, predicted))
    begin = np.maximum(true[:, :-1], predicted[:, :-1])
    common = np.clip(np.minimum(true[:, 1:], predicted[:, 1:]) - begin, 0, None)
    union = np.diff(true, axis=1) + np.diff(predicted, axis=1) - common
    return common.sum(1) / np.maximum(union.sum(1), 1e-12)


def aiou(ious: np.ndarray, threshold: float) -> float:
    """MVLA, equation 12, over the videos whose overlap is known; nan when there is none."""
    known = ious[~np.isnan(ious)]
    return float(np.mean(known >= threshold)) if len(known) else float("nan")


def measure(true: np.ndarray, predicted: np.ndarray, label_range: float) -> Metrics:
    """`true` and `predicted` are `(videos,)` in score units; `label_range` is highest minus lowest label of the data."""
    error = np.asarray(predicted, float) - np.asarray(true, float)
    relative = float(np.mean((error / label_range) ** 2) * 100) if label_range > 0 else float("nan")
    return Metrics(spearman(true, predicted), float(np.mean(error**2)), relative, len(error))


def spearman(true: np.ndarray, predicted: np.ndarray) -> float:
    """nan where it is undefined, as `Metrics` has it."""
    if len(true) < 2 or not np.isfinite(predicted).all():
        return float("nan")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConstantInputWarning)
        return float(spearmanr(true, predicted).statistic)


SMALLEST_GROUP = 5
"""Videos of the smallest group that counts in `within_groups`."""


@dataclass(frozen=True)
class Within:
    """How videos of one group, such as one event, are ranked among each other."""

    spearman: float
    """Mean over groups, weighted by their sizes; nan where there are none."""
    num_groups: int
    num_videos: int


def within_groups(true: np.ndarray, predicted: np.ndarray, groups: np.ndarray) -> Within:
    """Of `(videos,)` each. Groups of `SMALLEST_GROUP` and more, in which the correlation is defined; videos of no group (empty text) do not
    count. It cannot be raised by knowing which group a video is of."""
    found = []
    for name in sorted({name for name in groups if name}):
        here = groups == name
        value = spearman(true[here], predicted[here]) if here.sum() >= SMALLEST_GROUP else float("nan")
        if not np.isnan(value):
            found.append((value, int(here.sum())))
    if not found:
        return Within(float("nan"), 0, 0)
    values, sizes = np.array(found).T
    return Within(float(np.average(values, weights=sizes)), len(found), int(sizes.sum()))


def over_rows(correlations: Iterable[float], num_videos: Iterable[float]) -> float:
    """`fisher_mean` over the rows of a table; nan where one is undefined, since an average over some of the rows would be of other videos."""
    values = list(correlations)
    return float("nan") if np.isnan(values).any() else fisher_mean(values, num_videos)


def fisher_mean(correlations: Iterable[float], num_videos: Iterable[float] | None = None) -> float:
    """Average of correlations through Fisher's z: arctanh, mean, tanh. Undefined ones are left out; nan where none is left.

    The published tables average this way: RG's 0.826, 0.829, 0.871, 0.866 average to 0.849. The z of a perfect ranking is infinite, so that
    one fold of six videos would make every average 1. With `num_videos`, the number of videos of each correlation, a perfect one counts as
    half a swap of two neighbours short of it: 1 - 6 / (n^3 - n).
    """
    values = np.array(list(correlations), float)
    counts = np.full(len(values), np.inf) if num_videos is None else np.array(list(num_videos), float)
    values, counts = values[~np.isnan(values)], counts[~np.isnan(values)]
    if not len(values):
        return float("nan")
    if (values == values[0]).all():
        return float(values[0])
    limits = np.minimum(1 - 6 / (counts * (counts**2 - 1)), _ATANH_LIMIT)
    perfect = np.abs(values) >= _ATANH_LIMIT
    return float(np.tanh(np.arctanh(np.where(perfect, np.sign(values) * limits, values)).mean()))


Seeds = Mapping[int, tuple[float, float]]
"""Seed -> its rank correlation, and of how many videos."""


def average(tests: Iterable[tuple[float, float]]) -> tuple[float, float]:
    """Rank correlations, each with its number of videos -> their Fisher mean and their mean number."""
    correlations, counts = zip(*tests)
    return fisher_mean(correlations, counts), float(np.mean(counts))


def join_seeds(rows: Sequence[Seeds]) -> Seeds:
    """The average over the rows of a table, seed by seed; of the seeds that have a defined correlation in all rows."""
    shared = [seed for seed in rows[0] if all(seed in row and not np.isnan(row[seed][0]) for row in rows)]
    return {seed: average(row[seed] for row in rows) for seed in shared}


def deviation(seeds: Seeds) -> float:
    """The number after ± in a table; nan for a single seed. Of an average over rows it is the deviation of the seeds' averages, as
    `join_seeds` has them, not the average of the rows' deviations."""
    correlations = [correlation for correlation, _ in seeds.values() if not np.isnan(correlation)]
    return float(np.std(correlations, ddof=1)) if len(correlations) > 1 else float("nan")
