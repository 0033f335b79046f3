"""Losses, schedule, metrics and prototypes, against plain numpy."""

import numpy as np
import pytest
import torch
from scipy.stats import rankdata

from longtake.train.data.prompts import PrototypeSettings, build_prototypes, interpolate
from longtake.train.engine.loop import learning_rate
from longtake.train.engine.losses import alignment, batch_hard_triplet
from longtake.train.engine.settings import TrainSettings
from longtake.train.errors import DataError
from longtake.train.heads.base import Batch
from longtake.train.heads.blocks.layers import DiagonalScore
from longtake.train.heads.gslm import grade_of_score
from longtake.train.heads.ridge import Ridge, RidgeSettings, clip_statistics
from longtake.train.metrics import average, deviation, fisher_mean, join_seeds, measure, spearman

RNG = np.random.default_rng(0)


def test_batch_hard_triplet():
    patterns = RNG.normal(size=(5, 3, 7))
    flat = patterns.reshape(15, 7)
    unit = flat / np.linalg.norm(flat, axis=1, keepdims=True)
    distance = 1 - unit @ unit.T
    losses = []
    for anchor in range(15):
        positives = [distance[anchor, j] for j in range(15) if j % 3 == anchor % 3 and j != anchor]
        negatives = [distance[anchor, j] for j in range(15) if j % 3 != anchor % 3]
        losses.append(max(0.0, max(positives) - min(negatives) + 1.0))
    assert float(batch_hard_triplet(torch.tensor(patterns), 1.0)) == pytest.approx(np.mean(losses), abs=1e-5)


def test_alignment_with_label_smoothing():
    logits = RNG.normal(size=(4, 6, 6))
    log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    target = 0.9 * np.eye(6) + 0.1 / 6
    assert float(alignment(torch.tensor(logits), 0.1)) == pytest.approx(-(target * log_p).sum(-1).mean(), abs=1e-5)


def test_diagonal_score():
    module = DiagonalScore(7, 4)
    patterns = RNG.normal(size=(3, 4, 7)).astype(np.float32)
    weight, bias = module.linear.weight.detach().numpy(), module.linear.bias.detach().numpy()
    logits = np.array([[weight[i] @ patterns[b, i] + bias[i] for i in range(4)] for b in range(3)])
    share = 1 / (1 + np.exp(-logits))
    share /= share.sum(1, keepdims=True)
    score, weights = module(torch.tensor(patterns))
    np.testing.assert_allclose(weights.detach(), share, atol=1e-5)
    np.testing.assert_allclose(score.detach(), share @ np.array([0, 1 / 3, 2 / 3, 1]), atol=1e-5)


def test_schedule():
    settings = TrainSettings(epochs=110, warmup_epochs=10, lr=0.02, final_lr_ratio=0.01)
    rates = [learning_rate(settings, epoch) for epoch in range(110)]
    np.testing.assert_allclose(rates[:10], 0.02 * np.arange(1, 11) / 10)
    t = np.arange(100) / 100
    np.testing.assert_allclose(rates[10:], 0.02 * (0.01 + 0.99 * (1 + np.cos(np.pi * t)) / 2))


def test_fisher_mean_is_that_of_the_published_tables():
    correlations = [0.826, 0.829, 0.871, 0.866]
    assert round(fisher_mean(correlations), 3) == 0.849
    assert round(float(np.mean(correlations)), 3) == 0.848
    assert np.isnan(fisher_mean([]))


def test_one_perfect_ranking_of_few_videos_does_not_decide():
    folds, six = [0.943, 0.943, 1.0, 1.0, 0.9], [6] * 5
    assert round(fisher_mean(folds), 3) == 1.0
    half_a_swap = 1 - 6 / (6**3 - 6)
    expected = np.tanh(np.mean(np.arctanh([0.943, 0.943, half_a_swap, half_a_swap, 0.9])))
    assert fisher_mean(folds, six) == pytest.approx(expected)
    assert fisher_mean([-rho for rho in folds], six) == pytest.approx(-expected)
    # The next ranking to a perfect one lies on the other side of it.
    assert spearman(np.arange(6), np.array([1, 0, 2, 3, 4, 5])) < half_a_swap < 1
    assert fisher_mean([1.0], [6]) == fisher_mean([1.0, 1.0, np.nan], [6, 6, 6]) == 1.0
    assert fisher_mean([0.5, 1.0], [2, 2]) < 1
    assert np.isnan(spearman(np.arange(3), np.array([1, np.nan, 2]))) and np.isnan(fisher_mean([np.nan], [3]))
    assert fisher_mean([0.826, 0.829, 0.871], [50] * 3) == pytest.approx(fisher_mean([0.826, 0.829, 0.871]))


def test_what_stands_after_the_plus_minus_of_an_average():
    """Two rows whose seeds are lucky in turn deviate, and their average does not."""
    rows = [{0: (0.5, 20.0), 1: (0.7, 20.0)}, {1: (0.5, 30.0), 0: (0.7, 30.0), 2: (0.9, 30.0)}]
    assert deviation(rows[0]) == pytest.approx(np.std([0.5, 0.7], ddof=1))
    joined = join_seeds(rows)
    assert joined.keys() == {0, 1} and joined[0] == (pytest.approx(fisher_mean([0.5, 0.7])), 25.0)
    assert deviation(joined) == pytest.approx(0) and np.isnan(deviation({0: (0.5, 20.0)}))
    assert average([(0.5, 20), (0.7, 40)]) == (pytest.approx(fisher_mean([0.5, 0.7])), 30.0)


def test_metrics():
    true, predicted = RNG.normal(size=30) * 5, RNG.normal(size=30) * 5
    a, b = rankdata(true) - 15.5, rankdata(predicted) - 15.5
    found = measure(true, predicted, label_range=20.0)
    assert found.spearman == pytest.approx((a @ b) / np.sqrt((a @ a) * (b @ b)), abs=1e-9)
    assert found.mse == pytest.approx(np.mean((true - predicted) ** 2))
    assert found.relative_l2 == pytest.approx(100 * np.mean((np.abs(true - predicted) / 20) ** 2))
    assert spearman(true, np.ones(30)) == 0.0, "predictions that are all equal rank nothing"


def test_groups_of_scores():
    groups = grade_of_score(4, 101).tolist()
    assert [groups.index(g) for g in range(4)] == [0, 25, 50, 75] and groups[100] == 3


def test_interpolated_scores():
    grades = RNG.normal(size=(6, 16)).astype(np.float32)
    scores = interpolate(grades, 21)
    for grade in range(6):
        np.testing.assert_allclose(scores[4 * grade], grades[grade], atol=1e-5)
    middle = (grades[0] + grades[1]) / 2
    expected = middle / np.linalg.norm(middle) * (np.linalg.norm(grades[0]) + np.linalg.norm(grades[1])) / 2
    np.testing.assert_allclose(scores[2], expected, atol=1e-5)


def test_every_nth_score_text():
    from tests.train.planted import SCORES, planted_texts

    text = planted_texts(np.random.default_rng(0))
    chosen = build_prototypes(text, PrototypeSettings(scores=6), ("grades", "scores"))
    np.testing.assert_array_equal(chosen.texts["scores"], text.features[0:SCORES:2])


def test_some_grades_of_many():
    from tests.train.planted import SCORES, planted_texts

    text = planted_texts(np.random.default_rng(0))
    for count, expected in ((2, [0, 3]), (3, [0, 2, 3]), (4, [0, 1, 2, 3]), (0, [0, 1, 2, 3])):
        chosen = build_prototypes(text, PrototypeSettings(grades=count), ("grades",))
        np.testing.assert_array_equal(chosen.texts["grades"], text.features[SCORES:][expected])
    with pytest.raises(DataError, match="has 4 texts in 'grades', not 6"):
        build_prototypes(text, PrototypeSettings(grades=6), ("grades",))


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
