"""The head `kernel`, against plain numpy."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from train.dataset import Batch
from train.heads.kernel import Kernel, KernelSettings, nearness, shares

RNG = np.random.default_rng(0)


def test_kernel_is_ridge_regression_on_mean_embeddings():
    """With every clip a landmark nothing is approximated but nearness in time, and the head is the regression that plain double sums give."""
    dim, segments, lengths = 6, 4, [8, 12, 8, 4, 12, 8, 4, 8]
    clips = [RNG.normal(size=(length, dim)) for length in lengths]
    target = RNG.normal(size=len(lengths))
    batch = padded(clips, target)
    settings = KernelSettings(segments=segments, landmarks=100, penalty_min=0.3, penalty_max=0.3, penalties=1)
    taught, tested = range(6), range(6, 8)
    head = Kernel(dim, settings)
    head.fit_closed_form([padded(clips[:6], target[:6])])
    every = np.concatenate(clips[:6])
    clips = [(video - every.mean(0)) / every.std(0) for video in clips]

    def entry(one, other, weigh):
        total = 0.0
        for i, a in enumerate(one):
            for j, b in enumerate(other):
                weight = weigh(i, len(one), j, len(other))
                total += weight * np.exp(-settings.bandwidth * ((a - b) ** 2).sum() / (2 * dim))
        return total

    def same_part(i, n, j, m):
        return segments / (n * m) * segments if i * segments // n == j * segments // m else 0.0

    def near(i, n, j, m):
        return np.exp(-(((i + 0.5) / n - (j + 0.5) / m) ** 2) / (2 * settings.time_width**2)) / (n * m)

    varying = [np.concatenate([np.abs(np.diff(v, axis=0)).mean(0), v.std(0)]) for v in clips]
    varying = np.array(varying) / np.std(varying[:6], axis=0)
    total = np.zeros((8, 8))
    for gram, weight in (
        (np.array([[entry(a, b, same_part) for b in clips] for a in clips]), 1.0),
        (np.array([[entry(a, b, near) for b in clips] for a in clips]), 1.0),
        (varying @ varying.T, settings.variation_weight),
    ):
        of_taught = gram[:6].mean(0)
        centred = gram - of_taught[:, None] - of_taught[None] + gram[:6, :6].mean()
        total += weight * centred / np.trace(centred[:6, :6]) * 6
    mean = target[:6].mean()
    expected = total[:, :6] @ np.linalg.solve(total[:6, :6] + 0.3 * np.eye(6), target[:6] - mean) + mean
    found = head(batch).score01.numpy()
    np.testing.assert_allclose(found[list(taught)], expected[list(taught)], atol=5e-3)
    np.testing.assert_allclose(found[list(tested)], expected[list(tested)], atol=5e-3)


def test_clips_on_a_border_count_by_their_overlap_and_few_clips_fill_all_parts():
    share = shares(3, 2).numpy()
    np.testing.assert_allclose(share, np.array([[2, 0], [1, 1], [0, 2]]) / 3)
    np.testing.assert_allclose(shares(1, 4).numpy(), np.ones((1, 4)))


def test_nearness_in_time_is_a_gaussian():
    one, other, width = nearness(9, 0.3).numpy(), nearness(5, 0.3).numpy(), 0.3
    places = [(np.arange(n) + 0.5) / n for n in (9, 5)]
    expected = np.exp(-((places[0][:, None] - places[1][None]) ** 2) / (2 * width**2))
    np.testing.assert_allclose(one @ other.T * 45, expected, atol=2e-3)


def padded(videos: list[np.ndarray], target: np.ndarray) -> Batch:
    longest = max(map(len, videos))
    clips = np.stack([np.pad(video, [(0, longest - len(video)), (0, 0)]) for video in videos])
    mask = torch.arange(longest)[None] < torch.tensor([len(video) for video in videos])[:, None]
    rows = tuple(range(len(videos)))
    return Batch(torch.tensor(clips, dtype=torch.float32), mask, torch.tensor(target, dtype=torch.float32), rows)


def test_scores_beside_are_regressed_on_the_score():
    """The prediction is linear in what each score alone would be predicted, with the weights of plain least squares on left-out predictions."""
    settings = KernelSettings(landmarks=100, penalty_min=0.3, penalty_max=0.3, penalties=1)
    clips = [RNG.normal(size=(8, 6)) for _ in range(12)]
    scores = RNG.normal(size=(12, 2)) * [1, 5] + [0, 40]
    both = replace(padded(clips, scores[:, 0]), scores=torch.tensor(scores, dtype=torch.float32))

    def predicted(beside: str, column: int) -> np.ndarray:
        head = Kernel(6, replace(settings, beside=beside))
        batch = replace(both, target01=both.target01 if not column else both.scores[:, 1])
        if not beside:
            batch = replace(batch, scores=None)
        head.fit_closed_form([batch])
        return head(both).score01.double().numpy()

    alone = np.stack([predicted("", 0), predicted("", 1)], 1)
    joint = predicted("a,b", 0)
    design = np.column_stack([alone, np.ones(12)])
    weights, *_ = np.linalg.lstsq(design, joint, rcond=None)
    np.testing.assert_allclose(design @ weights, joint, atol=1e-3)
    assert abs(weights[1]) > 1e-4


@pytest.mark.parametrize("number", [1, 8])
def test_units_that_training_never_showed_move_nothing(number):
    """Units that are dead in all training videos and not quite in a tested one, as random networks have: few, or most of them."""
    dead = [np.concatenate([RNG.normal(size=(8, 5)), np.full((8, number), 0.1)], 1) for _ in range(9)]
    head = Kernel(5 + number, KernelSettings(landmarks=100))
    head.fit_closed_form([padded(dead[:8], RNG.normal(size=8))])
    before = head(padded(dead[8:], np.zeros(1))).score01
    dead[8][:, 5:] = 0.1001
    np.testing.assert_allclose(head(padded(dead[8:], np.zeros(1))).score01, before, atol=1e-2)
