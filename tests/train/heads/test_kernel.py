"""The head `kernel`, against plain numpy."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from longtake.train.heads.base import Batch
from longtake.train.heads.kernel import Kernel, KernelSettings, nearness, shares

RNG = np.random.default_rng(0)


def test_kernel_is_ridge_regression_on_mean_embeddings():
    """With every clip a landmark nothing is approximated but nearness in time, and the head is the regression that plain double sums give."""
    clips = [RNG.normal(size=(length, 6)) for length in [8, 12, 8, 4, 12, 8, 4, 8]]
    target = RNG.normal(size=8)
    settings = KernelSettings(landmarks=100, penalty_min=0.3, penalty_max=0.3, penalties=1)
    head = Kernel(6, settings)
    head.fit_closed_form([padded(clips[:6], target[:6])])
    expected = ridge(gram_of(clips, 6, settings), np.arange(6), target, 0.3)
    np.testing.assert_allclose(head(padded(clips, target)).score01.numpy(), expected, atol=5e-3)


def gram_of(clips: list[np.ndarray], num_train: int, settings: KernelSettings) -> np.ndarray:
    """The whole kernel between videos, of which the first train, by plain double sums."""
    every = np.concatenate(clips[:num_train])
    clips = [(video - every.mean(0)) / every.std(0) for video in clips]
    segments, dim = settings.segments, every.shape[1]

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
    varying = np.array(varying) / np.std(varying[:num_train], axis=0)
    total = np.zeros((len(clips), len(clips)))
    for gram, weight in (
        (np.array([[entry(a, b, same_part) for b in clips] for a in clips]), 1.0),
        (np.array([[entry(a, b, near) for b in clips] for a in clips]), 1.0),
        (varying @ varying.T, settings.variation_weight),
    ):
        centred = centre(gram, np.arange(num_train))
        total += weight * centred / np.diag(centred)[:num_train].mean()
    return total


def centre(gram: np.ndarray, train: np.ndarray) -> np.ndarray:
    of_train = gram[train].mean(0)
    return gram - of_train[:, None] - of_train[None] + of_train[train].mean()


def ridge(gram: np.ndarray, train: np.ndarray, targets: np.ndarray, penalty: float) -> np.ndarray:
    """What all videos are predicted to be by those that train."""
    gram, mean = centre(gram, train)[:, train], targets[train].mean(0)
    return gram @ np.linalg.solve(gram[train] + penalty * np.eye(len(train)), targets[train] - mean) + mean


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


def test_further_scores_are_regressed_on_the_score():
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


@pytest.mark.parametrize("beside", [[1], [0, 1]], ids=["the other alone", "the score itself as well"])
def test_weights_of_further_scores_are_those_of_least_squares_on_left_out_predictions(beside):
    """Each video left out in turn, all by hand. Two equal columns have together what one has alone."""
    settings = KernelSettings(landmarks=200, penalty_min=0.3, penalty_max=0.3, penalties=1)
    rng = np.random.default_rng(1)
    quality = rng.normal(size=15)
    clips = [rng.normal(size=(8, 4)) + [value, 0, 0, 0] for value in quality]
    scores = (quality[:, None] + 0.5 * rng.normal(size=(15, 2))) * [1, 5] + [0, 40]

    def fitted(columns: list[int], target: int) -> Kernel:
        head = Kernel(4, settings)
        batch = padded(clips[:12], scores[:12, target])
        among = torch.tensor(scores[:12, columns], dtype=torch.float32) if columns else None
        head.fit_closed_form([replace(batch, scores=among)])
        return head

    gram, everyone = gram_of(clips, 12, settings), np.arange(12)
    left_out = [ridge(gram, np.delete(everyone, video), scores, 0.3)[video] for video in everyone]
    weights, *_ = np.linalg.lstsq(np.column_stack([left_out, np.ones(12)]), scores[:12, 0], rcond=None)
    assert np.abs(weights[:2] * [1, 5]).min() > 0.1, "both are needed"
    joint, alone = fitted(beside, 0), [fitted([], 0), fitted([], 1)]
    parts = np.column_stack([head.variation_weight for head in alone])
    np.testing.assert_allclose(np.linalg.lstsq(parts, joint.variation_weight, rcond=None)[0], weights[:2], rtol=0.02)
    expected = np.column_stack([ridge(gram, everyone, scores, 0.3), np.ones(15)]) @ weights
    np.testing.assert_allclose(joint(padded(clips, quality)).score01, expected, atol=5e-3)


@pytest.mark.parametrize("lengths, landmarks", [([8] * 10, 10), ([8] * 10, 33), ([6, 20, 9, 12, 30], 14)])
def test_fewer_landmarks_than_clips_are_fair_shares_of_all_videos(lengths, landmarks):
    """With two thirds of the clips the scores are nearly those of all."""
    rng = np.random.default_rng(2)
    clips = [rng.normal(size=(length, 2)) for length in lengths]
    target, number = rng.normal(size=len(lengths)), sum(lengths)

    def fitted(count: int) -> Kernel:
        head = Kernel(2, KernelSettings(landmarks=count, penalty_min=0.3, penalty_max=0.3, penalties=1))
        head.fit_closed_form([padded(clips, target)])
        return head

    head = fitted(landmarks)
    standardised = (torch.tensor(np.concatenate(clips), dtype=torch.float32) - head.centre) / head.spread
    nearest = torch.cdist(head.landmarks, standardised).min(1)
    assert nearest.values.max() < 1e-3 and len(set(nearest.indices.tolist())) == landmarks, "clips, none of them twice"
    lent = np.bincount(np.repeat(np.arange(len(lengths)), lengths)[nearest.indices], minlength=len(lengths))
    assert lent.min() >= 1 and np.abs(lent - landmarks * np.array(lengths) / number).max() <= 1
    others = padded([rng.normal(size=(9, 2)) for _ in range(20)], np.zeros(20))
    exact = fitted(number)(others).score01
    np.testing.assert_allclose(fitted(number * 2 // 3)(others).score01, exact, atol=0.05 * float(exact.std()))


@pytest.mark.parametrize("number", [1, 8])
def test_units_that_training_never_showed_move_nothing(number):
    """Units that are dead in all training videos and not quite in a tested one, as random networks have: few, or most of them."""
    dead = [np.concatenate([RNG.normal(size=(8, 5)), np.full((8, number), 0.1)], 1) for _ in range(9)]
    head = Kernel(5 + number, KernelSettings(landmarks=100))
    head.fit_closed_form([padded(dead[:8], RNG.normal(size=8))])
    before = head(padded(dead[8:], np.zeros(1))).score01
    dead[8][:, 5:] = 0.1001
    np.testing.assert_allclose(head(padded(dead[8:], np.zeros(1))).score01, before, atol=1e-2)
