"""The head `ridge`, against plain numpy."""

import numpy as np
import pytest
import torch

from longtake.train.heads import ridge
from longtake.train.heads.base import Batch
from longtake.train.heads.ridge import Ridge, RidgeSettings, clip_statistics
from tests.train.heads.kit import make_batch, make_head

RNG = np.random.default_rng(0)


def test_ridge_survives_what_training_never_showed():
    """A value that was constant in all training videos, as dead units of a network are, moves in the test."""
    head = make_head("ridge")
    teaching = make_batch([9, 7, 5, 8, 6, 7], seed=1)
    teaching.clips[..., 0] = 0.1
    head.fit_closed_form([teaching])
    moved = make_batch([6, 9, 4])
    moved.clips[..., 0] = 0.1
    before = head(moved).score01
    moved.clips[..., 0] = 0.12
    np.testing.assert_allclose(head(moved).score01, before, atol=1e-3)


def test_clip_statistics():
    clips = RNG.normal(size=(9, 4))
    expected = np.concatenate(
        [
            clips.mean(0), clips.std(0), np.abs(np.diff(clips, axis=0)).mean(0), np.quantile(clips, 0.1, axis=0),
            np.quantile(clips, 0.9, axis=0), clips[:3].mean(0), clips[3:6].mean(0), clips[6:].mean(0),
        ]
    )  # fmt: skip
    np.testing.assert_allclose(clip_statistics(torch.tensor(clips)), expected, atol=1e-9)
    assert torch.isfinite(clip_statistics(torch.ones(1, 4))).all()


def test_ridge_and_its_choice_of_penalty():
    """Against the normal equations, and leave-one-out done by leaving one out."""

    num_videos, dim = 14, 3
    clips = torch.tensor(RNG.normal(size=(num_videos, 10, dim)), dtype=torch.float32)
    target = torch.tensor(RNG.uniform(size=num_videos), dtype=torch.float32)
    batch = Batch(clips, torch.ones(num_videos, 10, dtype=torch.bool), target, tuple(range(num_videos)))
    settings = RidgeSettings(penalty_min=1.0, penalty_max=1e4, penalties=5)
    head = Ridge(dim, settings)
    head.fit_closed_form([batch])
    inputs = np.stack([clip_statistics(c).numpy() for c in clips.double()])
    inputs = (inputs - inputs.mean(0)) / inputs.std(0)
    y = target.double().numpy()

    def solve(rows, penalty):
        x, t = inputs[rows], y[rows]
        centred = x - x.mean(0)
        weight = np.linalg.solve(centred.T @ centred + penalty * np.eye(x.shape[1]), centred.T @ (t - t.mean()))
        return weight, t.mean() - x.mean(0) @ weight

    errors = []
    for penalty in np.logspace(0, 4, 5):
        left_out = []
        for i in range(num_videos):
            weight, intercept = solve([j for j in range(num_videos) if j != i], penalty)
            left_out.append((inputs[i] @ weight + intercept - y[i]) ** 2)
        errors.append(np.mean(left_out))
    weight, intercept = solve(list(range(num_videos)), np.logspace(0, 4, 5)[int(np.argmin(errors))])
    np.testing.assert_allclose(head(batch).score01, inputs @ weight + intercept, atol=1e-4)


@pytest.mark.parametrize("penalties", [(1.0, 1e4), (1e5, 1e6)])
def test_many_videos_are_fitted_as_few_are(monkeypatch, penalties):
    """In the space of statistics, block by block: the same weights."""
    batches = [make_batch([9, 4, 7, 1, 12], seed=seed) for seed in range(20)]
    dim = batches[0].clips.shape[2]
    assert 8 * dim < 100, "more videos than statistics"
    heads = [Ridge(dim, RidgeSettings(*penalties, penalties=7)) for _ in range(2)]
    heads[0].fit_closed_form(batches)
    monkeypatch.setattr(ridge, "MOST_DUAL", 10)
    monkeypatch.setattr(ridge, "ROWS", 13)
    monkeypatch.setattr(ridge, "solve_dual", None)
    heads[1].fit_closed_form(batches)
    for name, value in heads[0].state_dict().items():
        torch.testing.assert_close(heads[1].state_dict()[name], value, rtol=1e-4, atol=1e-6)
