"""What is trained: the data of one model, its head, its settings and its seed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from longtake.train.data.batches import CPU
from longtake.train.data.dataset import FeatureSet, ScoreScale
from longtake.train.engine.resume import ResumePoint
from longtake.train.engine.settings import TrainSettings
from longtake.train.heads.base import Head


@dataclass(frozen=True)
class Task:
    """One model's data: training videos, test videos, and the scale of their scores."""

    data: FeatureSet
    scale: ScoreScale
    train_rows: np.ndarray
    test_rows: np.ndarray
    window: int
    """Clips per training video."""
    label_range: float
    """Highest minus lowest label, for relative L2."""
    shuffle_labels: bool = False
    """The shuffled-label control: training labels are shuffled, so any apparent skill is chance."""
    device: torch.device = CPU
    """Of the head and its batches; `data` may be there as well."""

    def scores(self, rows: np.ndarray) -> np.ndarray:
        """True scores in judges' units, `(rows,)`."""
        return self.data.scores[self.scale.name][rows]

    def targets01(self, rows: np.ndarray) -> np.ndarray:
        return self.scale.to01(self.scores(rows))

    @property
    def is_cut(self) -> bool:
        """Whether some video is longer than a window, so that training sees parts of it."""
        return bool(self.data.num_clips[np.concatenate([self.train_rows, self.test_rows])].max() > self.window)


@dataclass(frozen=True)
class Job:
    """One model to be trained. Jobs that agree in settings, head and sizes can be trained as one stack."""

    task: Task
    build_head: Callable[[], Head]
    settings: TrainSettings
    seed: int
    head_class: type[Head] | None = None
    """None where a plug-in precedes the head."""
    head_settings: object = None
    evaluate_every: int = 1
    """Epochs between tests. The last epoch is always tested."""
    resume_point: ResumePoint | None = None
    """Where training saves its state and continues from; None for training that cannot be resumed."""
