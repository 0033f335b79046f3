"""Losses, against plain numpy."""

import numpy as np
import pytest
import torch

from longtake.train.engine.losses import alignment, batch_hard_triplet, equation16_triplet

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


RNG = np.random.default_rng(3)


def test_triplet_of_equation_16():
    patterns = RNG.normal(size=(4, 5, 6))
    unit = patterns / np.linalg.norm(patterns, axis=-1, keepdims=True)
    sums = []
    for video in unit:
        total = 0.0
        for n in range(5):
            others = [video[n] @ video[i] for i in range(5) if i != n]
            total += max(0.0, max(others) - min(others) + 0.3)
        sums.append(total)
    assert float(equation16_triplet(torch.tensor(patterns), 0.3)) == pytest.approx(np.mean(sums), abs=1e-5)
