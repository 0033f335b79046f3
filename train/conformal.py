"""Prediction intervals: between which scores the judges' score of a new video is, in so many of 100 cases.

The errors on videos that the heads did not learn from say how far off a score may be. They are those of the run's test videos (split conformal
prediction: Papadopoulos et al., ECML 2002; Lei et al., JASA 2018) or, with folds, of all videos, each by the heads that had not seen it (CV+:
Barber, Candes, Ramdas and Tibshirani, Annals of Statistics 2021, section 3). Both hold for videos of the same kind: of the same judges, and
without folds by group also of the same athletes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

LEVEL = 0.9


@dataclass(frozen=True, eq=False)
class Calibration:
    """Videos that were scored by heads that did not learn from them."""

    errors: np.ndarray
    """Absolute, in judges' units, `(videos,)`."""
    folds: Sequence[str]
    """Of each video; empty texts where there are no folds."""

    def enough(self, level: float) -> bool:
        """With fewer videos, an interval of this level would have no end."""
        return fewest(level) <= len(self.errors)

    def interval(self, by_fold: Mapping[str, float], level: float) -> tuple[float, float]:
        """Of a new video, from its score by the heads of each fold; the only entry is under the empty text where there are no folds."""
        centres = np.array([by_fold[fold] for fold in self.folds])
        place = _place(len(self.errors), level)
        low = -np.sort(self.errors - centres)[place]
        return float(low), float(np.sort(centres + self.errors)[place])

    def coverage(self, level: float) -> float:
        """Of the videos' own intervals: the share that holds their true score, each by the errors of the other folds, or of the other videos
        where there are no folds. nan where these are too few."""
        held, folds = np.zeros(len(self.errors), bool), np.array(self.folds)
        apart = folds if len(set(self.folds)) > 1 else np.arange(len(folds))
        for one in np.unique(apart):
            others = np.sort(self.errors[apart != one])
            if fewest(level) > len(others):
                return float("nan")
            held[apart == one] = self.errors[apart == one] <= others[_place(len(others), level)]
        return float(held.mean())


def fewest(level: float) -> int:
    """The smallest number of videos that gives an interval of this level."""
    return math.ceil(round(level / (1 - level), 9))


def _place(number: int, level: float) -> int:
    """Of the error, counted from 0 and in rising order, that ends the interval."""
    return math.ceil(round(level * (number + 1), 9)) - 1
