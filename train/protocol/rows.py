"""The rows of a table of results. They need no torch, so that results can be read where it is not installed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from longtake.train.uncertainty import Interval

AVERAGE = "average"
"""In the place of the category of a row that is an average over the others."""


@dataclass(frozen=True)
class Row:
    """One line of the table: a category and score, over its seeds and folds."""

    category: str
    score: str
    num_train: int
    num_test: int
    spearman: float
    """nan where it is undefined in every fold and seed."""
    spearman_deviation: float
    """Over seeds; nan for a single one. Of an average, over the averages of the seeds."""
    mse: float
    relative_l2: float
    ensemble_spearman: float
    """Of the mean of all seeds' scores; nan for a single seed."""
    ensemble_mse: float
    best_on_test: float
    validation_selected: float
    """nan unless a validation share was asked for."""
    floor_spearman: float
    floor_mse: float
    control_spearman: float
    aiou_50: float
    """nan unless boundaries of stages were predicted and are known."""
    aiou_75: float
    seconds_per_epoch: float
    num_videos: int = 0
    """Different test videos of all folds; 0 in runs of older releases."""
    no_video_spearman: float = float("nan")
    """Of ridge regression on groups and length alone; nan where videos have no groups."""
    no_video_mse: float = float("nan")
    within: str = ""
    """The group inside which videos are ranked as well, such as `event`."""
    within_spearman: float = float("nan")
    """`longtake.train.metrics.within_groups` over the videos of all folds; Fisher's mean of seeds."""
    within_num_groups: int = 0
    within_num_videos: int = 0
    floor_within: float = float("nan")
    no_video_within: float = float("nan")
    intervals: Mapping[str, Interval] = field(default_factory=dict)
    """Field -> its 95% interval, over test videos or groups; without those that are not known."""

    @property
    def num_tested(self) -> int:
        return self.num_videos or self.num_test
