"""The head `c3d-svr`, against scikit-learn's own predictions."""

import sys

import numpy as np
import pytest
import torch
from sklearn.svm import SVR

from longtake.train.errors import DataError, SettingsError, TrainError
from longtake.train.heads.c3d_svr import C3DSVR, SVRSettings
from longtake.train.heads.usdl import mean_of_clips
from tests.train.heads.kit import make_batch, make_head

TEACHING, TESTED = make_batch([9, 7, 5, 8, 6, 7] * 3, seed=1), make_batch([6, 9, 4])


@pytest.mark.parametrize("kernel", ["linear", "rbf"])
def test_scores_are_those_of_scikit_learn(kernel):
    head = make_head("c3d-svr", kernel=kernel, C=3.0)
    halves = [make_batch([9, 7, 5, 8, 6, 7], seed=seed) for seed in (1, 2)]
    head.fit_closed_form(halves)
    means = [mean_of_clips(batch.clips, batch.mask).double().numpy() for batch in (*halves, TESTED)]
    target = torch.cat([batch.target01 for batch in halves]).double().numpy()
    expected = SVR(kernel=kernel, C=3.0, epsilon=0.01).fit(np.concatenate(means[:2]), target).predict(means[2])
    np.testing.assert_allclose(head(TESTED).score01, expected, atol=1e-5)


def test_a_fit_that_is_too_large_says_what_to_set():
    head = make_head("c3d-svr", kernel="rbf", videos=3)
    with pytest.raises(DataError, match="room for 3: --set videos=1[0-9]"):
        head.fit_closed_form([TEACHING])


def test_without_scikit_learn(monkeypatch):
    for name in ("sklearn", "sklearn.svm"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(TrainError, match=r"pip install 'longtake\[svr\]'"):
        make_head("c3d-svr").fit_closed_form([TEACHING])


@pytest.mark.parametrize("settings", [{"kernel": "x"}, {"C": 0.0}, {"epsilon": -1.0}, {"videos": 0}])
def test_settings_that_cannot_be(settings):
    with pytest.raises(SettingsError):
        C3DSVR(4, SVRSettings(**settings))
