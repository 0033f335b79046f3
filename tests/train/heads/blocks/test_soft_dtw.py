"""Soft-DTW against a loop over places."""

import numpy as np
import pytest
import torch

from longtake.train.heads.blocks.soft_dtw import soft_dtw


@pytest.mark.parametrize("n, m", [(4, 4), (5, 3), (1, 4), (1, 1)])
@pytest.mark.parametrize("gamma", [0.1, 2.0])
def test_against_a_loop(n, m, gamma):
    rng = np.random.default_rng(0)
    one, other = rng.normal(size=(2, n, 3)), rng.normal(size=(2, m, 3))
    expected = []
    for a, b in zip(one, other):
        table = np.full((n + 1, m + 1), np.inf)
        table[0, 0] = 0
        for i in range(n):
            for j in range(m):
                before = np.array([table[i, j + 1], table[i + 1, j], table[i, j]])
                table[i + 1, j + 1] = ((a[i] - b[j]) ** 2).sum() - gamma * np.logaddexp.reduce(-before / gamma)
        expected.append(table[n, m])
    given = [torch.tensor(values, dtype=torch.float32, requires_grad=True) for values in (one, other)]
    found = soft_dtw(*given, gamma)
    np.testing.assert_allclose(found.detach(), expected, rtol=1e-5, atol=1e-5)
    found.sum().backward()
    assert all(torch.isfinite(values.grad).all() for values in given)
