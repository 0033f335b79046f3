"""Shared layers, against plain numpy."""

import numpy as np
import torch

from longtake.train.heads.blocks.layers import DiagonalScore

RNG = np.random.default_rng(0)


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
