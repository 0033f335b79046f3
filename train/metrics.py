"""How a result is measured and averaged: the conventions of the field's tables, each in one place."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy.stats import ConstantInputWarning, spearmanr

_ATANH_LIMIT = 1 - 1e-9


@dataclass(frozen=True)
class Metrics:
    """Of one set of videos, in judges' units."""

    spearman: float
    """Rank correlation; 0 when the predictions are all equal, since they then rank nothing."""
    mse: float
    """Mean squared error in score units."""
    relative_l2: float
    """R-l2, times 100: mean of `(|error| / (highest - lowest label))^2` (Yu et al., CoRe, ICCV 2021)."""
    num_videos: int


def measure(true: np.ndarray, predicted: np.ndarray, label_range: float) -> Metrics:
    """`true` and `predicted` are `(videos,)` in score units; `label_range` is highest minus lowest label of the data."""
    error = np.asarray(predicted, float) - np.asarray(true, float)
    relative = float(np.mean((error / label_range) ** 2) * 100) if label_range > 0 else float("nan")
    return Metrics(spearman(true, predicted), float(np.mean(error**2)), relative, len(error))


def spearman(true: np.ndarray, predicted: np.ndarray) -> float:
    if len(true) < 2:
        return float("nan")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConstantInputWarning)
        rho = float(spearmanr(true, predicted).statistic)
    return 0.0 if np.isnan(rho) else rho


def fisher_mean(correlations: Iterable[float]) -> float:
    """Average of correlations through Fisher's z: arctanh, mean, tanh. nan for an empty set.

    The published tables average this way: RG's 0.826, 0.829, 0.871, 0.866 average to 0.849.
    """
    values = np.array([value for value in correlations if not np.isnan(value)], float)
    if not len(values):
        return float("nan")
    return float(np.tanh(np.arctanh(np.clip(values, -_ATANH_LIMIT, _ATANH_LIMIT)).mean()))
