"""Predictions of a head for rows of a data set, and their metrics."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from longtake.train.data.batches import BatchMaker
from longtake.train.data.dataset import ScoreScale
from longtake.train.engine.losses import autocast
from longtake.train.engine.settings import TrainSettings
from longtake.train.heads.base import Head
from longtake.train.metrics import Metrics, aiou, boundary_iou


@torch.no_grad()
def predict_stages(
    maker: BatchMaker, rows: np.ndarray, head: Head, scale: ScoreScale, settings: TrainSettings, window: int
) -> tuple[np.ndarray, np.ndarray | None]:
    """Scores in judges' units, float64 `(rows,)`; of a head that predicts boundaries of stages, these too, float64 `(rows, boundaries)` seconds.
    The head is in evaluation mode, so no score depends on its batch."""
    head.eval()
    place = {row: index for index, row in enumerate(rows.tolist())}
    scores01 = np.zeros(len(rows))
    boundaries: np.ndarray | None = None
    batches = maker.test(
        rows, np.zeros(len(rows)), window=window, test_window=settings.test_window, batch_size=settings.batch_size
    )
    for batch in batches:
        with autocast(batch.clips.device, settings):
            output = head(batch)
        here = [place[row] for row in batch.rows]
        scores01[here] = output.score01.double().cpu().numpy()
        if output.boundaries is not None:
            boundaries = np.zeros((len(rows), output.boundaries.shape[1])) if boundaries is None else boundaries
            boundaries[here] = output.boundaries.double().cpu().numpy()
    return scale.to_units(scores01), boundaries


def with_stages(test: Metrics, maker: BatchMaker, rows: np.ndarray, predicted: np.ndarray | None) -> Metrics:
    """The metrics with those of the boundaries of stages, where a head predicts boundaries and the labels have them."""
    true = maker.boundaries(rows)
    if predicted is None or true is None:
        return test
    ious = boundary_iou(true, predicted, maker.data.clips.spans[rows, 1])
    return replace(test, aiou_50=aiou(ious, 0.5), aiou_75=aiou(ious, 0.75))
