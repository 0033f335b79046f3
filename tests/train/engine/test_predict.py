"""Predictions of a head for rows of a data set."""

import numpy as np
import pytest
import torch

from longtake.features.store import open_store
from longtake.train.data.batches import BatchMaker
from longtake.train.data.dataset import FeatureSet, ScoreScale
from longtake.train.engine.predict import predict_stages, with_stages
from longtake.train.engine.settings import TrainSettings
from longtake.train.heads.base import Head, HeadOutput
from longtake.train.metrics import Metrics
from tests.train.planted import planted_store

SCALE = ScoreScale("total", 10.0, 30.0, True)


class NamesRows(Head):
    """Scores each video by its row, and its one boundary as well."""

    def forward(self, batch):
        assert not self.training and not torch.is_grad_enabled()
        rows = torch.tensor(batch.rows, dtype=torch.float32)
        return HeadOutput(rows / 100, boundaries=rows[:, None])


@pytest.fixture(scope="module")
def maker(tmp_path_factory):
    path = planted_store(tmp_path_factory.mktemp("predict") / "s.h5", num_train=9, num_test=3, with_text=False)
    with open_store(path) as store:
        return BatchMaker(FeatureSet.load(store))


def test_scores_are_in_judges_units_and_in_the_order_of_the_rows(maker):
    rows = np.random.default_rng(0).permutation(12)[:7]
    settings = TrainSettings(batch_size=3)
    scores, boundaries = predict_stages(maker, rows, NamesRows(32, None), SCALE, settings, 8)
    np.testing.assert_allclose(scores, 10 + 20 * rows / 100, rtol=1e-6)
    np.testing.assert_array_equal(boundaries, rows[:, None])


def test_metrics_of_stages_need_labels_of_stages(maker):
    test = Metrics(0.5, 2.0, 3.0, 2)
    assert with_stages(test, maker, np.array([0, 1]), np.zeros((2, 1))) is test
    assert with_stages(test, maker, np.array([0, 1]), None) is test
