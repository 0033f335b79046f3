"""The errors of a run on videos that its heads did not learn from, for prediction intervals; read from its predictions.csv."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from longtake.train.conformal import Calibration, fewest
from longtake.train.errors import DataError
from longtake.train.runs.records import METRICS, read_metrics
from longtake.train.runs.tables import PREDICTIONS, read_predictions

REMEDY = "train with --folds 5 to get intervals"


@dataclass(frozen=True)
class Bounds:
    """An interval for one video's score."""

    low: float
    high: float
    level: float
    coverage: float
    """The share of the run's own test videos whose interval, by the errors on the others, holds their true score; nan where it is unknown."""


class ImpossibleScore(DataError):
    """A score further outside those that there can be than the heads err."""


class RunCalibration:
    """Of every category and score of a run. Where `wanted`, a run whose test videos are too few raises `DataError`."""

    def __init__(self, run_folder: Path, level: float, wanted: bool) -> None:
        self.level, self.wanted = level, wanted
        self._of = _read(run_folder)
        self._run = run_folder

    def bounds(
        self, dataset: str, category: str, score: str, by_fold: Mapping[str, float], limits: tuple[float, float]
    ) -> tuple[Bounds | None, str]:
        """For a video's score by the heads of each fold, the mean over seeds; or None and why there is none. `limits` are the lowest and
        highest score there can be. Raises `ImpossibleScore`."""
        named, what = (f"{dataset} {category}".strip(), score), f"{category} {score}".strip()
        found = self._of.get(named) or self._of.get((category, score))
        if found is None or set(found.folds) - by_fold.keys():
            return self._none(f"{self._run} keeps no test scores of its heads for {what}: {REMEDY}")
        if not found.enough(self.level):
            have, need = len(found.errors), fewest(self.level)
            return self._none(
                f"{have} test videos of {what} are too few for intervals of {self.level:.0%}, which need {need}: {REMEDY}, or label more videos"
            )
        low, high = found.interval(by_fold, self.level)
        if high < limits[0] or low > limits[1]:
            mean = float(np.mean(list(by_fold.values())))
            raise ImpossibleScore(
                f"scores can be from {limits[0]:g} to {limits[1]:g}, and it would be {mean:.2f}: the video is unlike those that the heads learnt from"
            )
        low, high = np.clip((low, high), *limits)
        return Bounds(float(low), float(high), self.level, found.coverage(self.level)), ""

    def _none(self, why: str) -> tuple[None, str]:
        if self.wanted:
            raise DataError(why)
        return None, why


def _read(folder: Path) -> dict[tuple[str, str], Calibration]:
    """(category, score) -> its videos. One model for all categories has the videos of all, under an empty category."""
    if not (folder / PREDICTIONS).exists() or not (folder / METRICS).exists():
        return {}
    models = read_metrics(folder).models
    of_all = {model.score for model in models if not model.category}
    found: dict[tuple[str, str], dict[tuple[str, str], list[tuple[float, float]]]] = {}
    for row in read_predictions(folder):
        if not row.control:
            key = "" if row.score in of_all else row.category, row.score
            found.setdefault(key, {}).setdefault((row.video_id, row.fold), []).append((row.true, row.predicted))
    made = {}
    for key, videos in found.items():
        true, predicted = np.array([np.mean(pairs, axis=0) for pairs in videos.values()]).T
        made[key] = Calibration(np.abs(true - predicted), [fold for _, fold in videos])
    return made
