"""The data of one model."""

from dataclasses import replace

import numpy as np
import pytest

from longtake.features.store import open_store
from longtake.train.data.dataset import FeatureSet, ScoreScale
from longtake.train.engine.job import Task
from tests.train.planted import planted_store


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    path = planted_store(tmp_path_factory.mktemp("job") / "s.h5", num_train=6, num_test=4, with_text=False)
    with open_store(path) as store:
        data = FeatureSet.load(store)
    return Task(data, ScoreScale("total", 5.0, 25.0, True), np.arange(6), np.arange(6, 10), 8, 20.0)


def test_scores_and_targets(task):
    rows = np.array([7, 2])
    np.testing.assert_array_equal(task.scores(rows), task.data.scores["total"][rows])
    np.testing.assert_allclose(task.targets01(rows), (task.scores(rows) - 5) / 20)


def test_videos_are_cut_where_one_is_longer_than_the_window(task):
    lengths = task.data.num_clips
    assert task.is_cut and not replace(task, window=int(lengths.max())).is_cut
    shortest = np.array([lengths.argmin()])
    assert not replace(task, train_rows=shortest, test_rows=shortest, window=int(lengths.min())).is_cut
