"""What heads say about a video: score, spread, interval, grades, and where they looked."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from longtake.notebooks import data_frame, html_table
from longtake.train.pages.words import NOTHING
from longtake.train.runs.calibration import Bounds
from longtake.train.runs.tables import shown_error


@dataclass(frozen=True)
class Moment:
    start_seconds: float
    """nan where times are unknown."""
    end_seconds: float
    clip: int
    """Index of the clip."""
    share: float
    """Of the attention that the grades, weighed by how much each counts, give to the clips of the video."""


@dataclass(frozen=True)
class Timeline:
    """Where the heads looked, clip by clip; each value is the mean over heads."""

    start_seconds: tuple[float, ...]
    """nan where times are unknown: of imported features whose clips have no known length, stride and rate."""
    end_seconds: tuple[float, ...]
    shares: tuple[float, ...]
    """Of the attention that the grades, weighed by how much each counts, give to each clip; sums to 1. Empty for a head
    without attention."""
    by_grade: tuple[tuple[float, ...], ...]
    """The attention of each grade, worst first, over the clips; each sums to 1. Empty as above."""
    running: tuple[float, ...]
    """Score of the video up to and with each clip, in judges' units; empty unless it was asked for."""

    @property
    def times_known(self) -> bool:
        return all(map(math.isfinite, self.start_seconds))


@dataclass(frozen=True)
class Prediction:
    video_id: str
    category: str
    score: str
    predicted: float
    """Judges' units; the mean over heads. nan where the heads abstain."""
    deviation: float
    """Over heads, seeds and folds alike; nan for a single one."""
    num_heads: int
    grades: tuple[float, ...]
    """Weight of each grade from worst to best, summing to 1, the mean over heads; empty for a head without grades."""
    moments: tuple[Moment, ...]
    """The clips that were looked at most, in the order of their weight; empty for a head without attention."""
    timeline: Timeline
    random_weights: bool
    unmatched: bool = False
    """Of heads that compare: no training video matches this one by their rule, so it is compared with any."""
    bounds: Bounds | None = None
    """Where the judges' score is; None where `unbounded` says why."""
    unbounded: str = ""
    abstained: str = ""
    """Why the score is missing; empty where it is not."""
    learnt_by: int | None = None
    """How many of the heads learnt from this video, so that its score flatters them; None where that is unknown, as of a video file."""
    limits: tuple[float, float] | None = None
    """Lowest and highest score that there can be; None where no card states them."""
    judges: float | None = None
    """The judges' score in the store, if it has one."""

    @property
    def name(self) -> str:
        """Category and score."""
        return " ".join(part for part in (self.category, self.score) if part)

    def __repr__(self) -> str:
        spread = "" if math.isnan(self.deviation) else f" ± {self.deviation:.3f}"
        score = "abstained" if self.abstained else f"{self.predicted:.3f}{spread}{shown_bounds(self.bounds, 3)}"
        return f"Prediction({self.video_id!r}: {self.name} {score})"


@dataclass(frozen=True)
class Failure:
    """A video file without a score, or without the overlay or page that was asked for."""

    video: str
    message: str


class Predictions(list[Prediction]):
    """Predictions in their order, with a table for notebooks."""

    failures: tuple[Failure, ...] = ()
    """Video files that could not be scored or shown."""

    def _columns(self) -> dict[str, list[object]]:
        names = ("video_id", "category", "score", "predicted", "deviation", "num_heads", "random_weights")
        columns: dict[str, list[object]] = {name: [getattr(one, name) for one in self] for name in names}
        for end in ("low", "high"):
            columns[end] = [getattr(one.bounds, end) if one.bounds else float("nan") for one in self]
        return {**columns, "abstained": [one.abstained for one in self], "learnt_by": [one.learnt_by for one in self]}

    def _repr_html_(self) -> str:
        return html_table(self._columns())

    def to_pandas(self) -> Any:
        """One row per video and score: a pandas DataFrame. Raises `LongtakeError` if pandas is not installed."""
        return data_frame(self._columns())


def shown_score(value: float, digits: int = 2) -> str:
    """In judges' units: of nearly nothing, 0.00, where an error would have its digits."""
    return shown_error(value if abs(value) >= NOTHING else 0.0, digits)


def shown_bounds(bounds: Bounds | None, digits: int = 2) -> str:
    return f" [{shown_score(bounds.low, digits)}, {shown_score(bounds.high, digits)}]" if bounds else ""
