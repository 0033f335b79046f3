"""Records of a model's training: after an epoch, between two epochs, and at the end."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from longtake.train.data.exemplars import ExemplarPool
from longtake.train.heads.base import Head
from longtake.train.metrics import Metrics

ChosenEpoch = tuple[int, Metrics]
"""An epoch, counted from 1, and the metrics of the test videos after it."""


@dataclass(frozen=True)
class Epoch:
    """One finished epoch, for progress and logs."""

    index: int
    """Counted from 1."""
    loss: float
    """Mean over batches."""
    terms: dict[str, float]
    """Terms of the loss before weighting, means over batches."""
    lr: float
    test: Metrics | None
    """None for an epoch after which the head is not tested."""


@dataclass(frozen=True)
class TrainingState:
    """How far training has come, between two epochs."""

    epochs: int = 0
    best: ChosenEpoch | None = None
    selected: ChosenEpoch | None = None
    best_validation: float = -math.inf
    training_seconds: float = 0.0


@dataclass(frozen=True)
class Fitted:
    """A trained head and its predictions for the test videos."""

    head: Head | None
    """None where it is on disk."""
    predicted: np.ndarray
    """float64, `(test videos,)`, in judges' units, by the head as it is after the last epoch."""
    test: Metrics
    best_on_test: ChosenEpoch | None
    """What the published code would report: chosen with the test labels, hence optimistic. None for a head without epochs,
    where only the last epoch was tested, and where no epoch has a defined correlation."""
    validation_selected: ChosenEpoch | None
    """The epoch that videos held out of training chose; None without such videos."""
    seconds_per_epoch: float
    exemplars: ExemplarPool | None = None
    """Of a head that compares: the training videos that it compares with when it is used again."""
