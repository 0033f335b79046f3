"""The head `tpt`, against plain numpy."""

import numpy as np
import pytest
import torch
from scipy.special import softmax

from longtake.train.heads.tpt import ParsingLayer, TPTSettings, ranking_loss, sparsity_loss
from tests.train.heads.kit import DIM, arrays_of, layer_norm

RNG = np.random.default_rng(5)


def test_a_parsing_layer():
    torch.manual_seed(1)
    layer = ParsingLayer(DIM, TPTSettings(width=8, heads=2, queries=3, feed_forward=10), attends=True).eval()
    w = arrays_of(layer)
    parts, places, clips = RNG.normal(size=(2, 3, 8)), RNG.normal(size=(3, 8)), RNG.normal(size=(2, 5, DIM))
    lengths = [5, 3]

    def linear(name, values):
        return values @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    expected, looks = [], np.zeros((2, 3, 5))
    for row, length in enumerate(lengths):
        own = clips[row, :length]
        logits = linear("query", parts[row] + places) @ linear("key", own).T / 8 / w["temperature"]
        looks[row, :, :length] = softmax(logits, -1)
        x = layer_norm(parts[row] + looks[row, :, :length] @ linear("value", own), w["norm1.weight"], w["norm1.bias"])
        x = layer_norm(x + linear("mlp.3", np.maximum(linear("mlp.0", x), 0)), w["norm2.weight"], w["norm2.bias"])
        asked, w_in, b_in = x + places, w["attention.in_proj_weight"], w["attention.in_proj_bias"]
        q, k, v = (s @ w_in[8 * i : 8 * i + 8].T + b_in[8 * i : 8 * i + 8] for i, s in enumerate((asked, asked, x)))
        heads = [softmax(q[:, h] @ k[:, h].T / 2, -1) @ v[:, h] for h in (slice(0, 4), slice(4, 8))]
        x = x + linear("attention.out_proj", np.concatenate(heads, -1))
        expected.append(layer_norm(x, w["norm3.weight"], w["norm3.bias"]))
    mask = torch.arange(5)[None] < torch.tensor(lengths)[:, None]
    with torch.no_grad():
        found = layer(*(torch.tensor(v, dtype=torch.float32) for v in (parts, places, clips)), mask)
    np.testing.assert_allclose(found[0], expected, atol=1e-5)
    np.testing.assert_allclose(found[1], looks, atol=1e-5)


def test_ranking_and_sparsity():
    looks = softmax(RNG.normal(size=(4, 5, 9)) * 2, -1)
    lengths, margin = np.array([9, 9, 7, 4]), 1.5
    looks[2, :, 7:], looks[3, :, 4:] = 0, 0
    looks /= looks.sum(-1, keepdims=True)
    ranking, sparsity = [], []
    for row in range(4):
        centres = [sum((t + 1) * looks[row, k, t] for t in range(9)) for k in range(5)]
        line = [1.0, *centres, lengths[row]]
        ranking.append(sum(max(0.0, margin - (later - former)) for former, later in zip(line, line[1:])))
        sparsity += [sum(abs(t + 1 - centres[k]) * looks[row, k, t] for t in range(9)) for k in range(5)]
    seen = torch.tensor(looks, dtype=torch.float32)
    assert float(ranking_loss(seen, torch.tensor(lengths), margin)) == pytest.approx(np.mean(ranking), abs=1e-5)
    assert float(sparsity_loss(seen)) == pytest.approx(np.mean(sparsity), abs=1e-5)
