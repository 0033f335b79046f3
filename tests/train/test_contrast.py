"""CoRe's and TPT's equations against plain numpy."""

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, softmax

from longtake.train.errors import SettingsError
from longtake.train.heads.blocks.contrast import ContrastSettings, Differences, Pairs
from longtake.train.heads.core import RegressionTree
from longtake.train.heads.tpt import ParsingLayer, TPTSettings, ranking_loss, sparsity_loss
from tests.train.test_heads import DIM, make_batch, make_head

RNG = np.random.default_rng(5)


def weights_of(module):
    return {name: value.detach().numpy().astype(float) for name, value in module.state_dict().items()}


def encoded_by_hand(edges, difference):
    """The group that holds the difference, and where in it."""
    for group, (left, right) in enumerate(zip(edges[:-1], edges[1:])):
        inside = left <= difference < right if difference >= 0 else left < difference <= right
        if inside:
            return group, (difference - left) / (right - left)
    last = 0 if difference < 0 else len(edges) - 2
    return last, (difference - edges[last]) / (edges[last + 1] - edges[last])


class Compared:
    """Training videos that may all be compared, without further scores."""

    def __init__(self, targets01):
        self.targets01, self.scores = targets01, np.zeros((len(targets01), 0), np.float32)

    def differences(self, values):
        return np.sort([abs(a - b) for i, a in enumerate(values) for b in values[:i]])


def test_groups_hold_as_many_training_pairs():
    targets = RNG.uniform(size=40) ** 2
    module = Differences(ContrastSettings(), 16)
    module.learn_groups(Compared(targets))
    edges = module.edges.double().numpy()
    np.testing.assert_allclose(edges, -edges[::-1])
    assert edges[8] == 0 and edges[-1] == 1
    found = np.sort([abs(a - b) for i, a in enumerate(targets) for b in targets[:i]])
    np.testing.assert_allclose(edges[9:-1], [np.quantile(found, share / 8) for share in range(1, 8)], atol=1e-6)
    counts = np.histogram(found, edges[8:])[0]
    assert counts.max() - counts.min() <= 2
    differences = np.array([*RNG.uniform(-1, 1, 50), 0.0, *edges[9:12], *-edges[9:12], 1.0, -1.0, 1.2])
    differences = torch.tensor(differences, dtype=torch.float32)
    group, place = module.encode(differences)
    expected = [encoded_by_hand(module.edges.double().numpy(), value) for value in differences.double().numpy()]
    np.testing.assert_array_equal(group, [one for one, _ in expected])
    np.testing.assert_allclose(place, [one for _, one in expected], atol=1e-5)
    places = torch.zeros(len(group), 16).scatter(1, group[:, None], place[:, None])
    np.testing.assert_allclose(module.decode(group, places), differences, atol=1e-5)


def test_differences_with_ties():
    """Ratings that are whole numbers: many pairs of no difference at all, and groups without width, to which no pair belongs."""
    module = Differences(ContrastSettings(), 16)
    module.learn_groups(Compared(np.repeat([0.2, 0.4], 10)))
    group, place = module.encode(torch.tensor([0.0, 0.2, -0.2, 0.1]))
    assert torch.isfinite(place).all()
    places = torch.zeros(4, 16).scatter(1, group[:, None], place[:, None])
    np.testing.assert_allclose(module.decode(group, places), [0.0, 0.2, -0.2, 0.1], atol=1e-6)
    with pytest.raises(SettingsError, match="an even number of groups, got 5"):
        Differences(ContrastSettings(), 5)


def test_the_loss_of_comparisons():
    module = Differences(ContrastSettings(), 4)
    logits, places, differences = RNG.normal(size=(6, 4)), RNG.normal(size=(6, 4)), RNG.uniform(-1, 1, 6)
    terms = []
    for row, difference in enumerate(differences):
        group, place = encoded_by_hand(np.linspace(-1, 1, 5), difference)
        terms.append(-log_softmax(logits[row])[group] + (places[row, group] - place) ** 2)
    found = module.loss(*(torch.tensor(v, dtype=torch.float32) for v in (log_softmax(logits, -1), places, differences)))
    assert float(found) == pytest.approx(np.mean(terms), abs=1e-5)


def test_the_regression_tree():
    torch.manual_seed(0)
    tree, values = RegressionTree(7, 6, 4), RNG.normal(size=(3, 7))
    w = weights_of(tree)
    logs, leaves = np.zeros((3, 8)), np.zeros((3, 8))
    for row in range(3):
        nodes = [(np.maximum(w["root.weight"] @ values[row] + w["root.bias"], 0), 0.0)]
        for level in range(3):
            below = []
            for index, (state, reached) in enumerate(nodes):
                chances = log_softmax(state @ w[f"choices.{level}.weight"][index] + w[f"choices.{level}.bias"][index])
                wide = np.maximum(state @ w[f"descents.{level}.weight"][index] + w[f"descents.{level}.bias"][index], 0)
                below += [(wide[:6], reached + chances[0]), (wide[6:], reached + chances[1])]
            nodes = below
        for leaf, (state, reached) in enumerate(nodes):
            logs[row, leaf] = reached
            leaves[row, leaf] = (state @ w["leaves.weight"][leaf] + w["leaves.bias"][leaf])[0]
    with torch.no_grad():
        found = tree(torch.tensor(values, dtype=torch.float32))
    np.testing.assert_allclose(found[0], logs, atol=1e-5)
    np.testing.assert_allclose(found[1], leaves, atol=1e-5)
    np.testing.assert_allclose(np.exp(logs).sum(1), 1)


@pytest.mark.parametrize("divide", ["", "difficulty"])
def test_a_score_is_the_mean_over_exemplars_of_theirs_and_the_difference(divide):
    head, batch = make_head("core", divide=divide).eval(), make_batch([6, 9, 4])
    known, theirs = np.array([2.0, 3.0, 1.5]), np.array([1.0, 2.5, 4.0])
    from dataclasses import replace

    batch = replace(
        batch, scores=torch.tensor(known[:, None], dtype=torch.float32),
        exemplar=replace(batch.exemplar, scores=torch.tensor(theirs[:, None], dtype=torch.float32)),
    )  # fmt: skip
    if divide:
        head.differences.qualities.unit.fill_(2.2)

    def mean(one, row):
        return one.clips[row, : int(one.mask[row].sum())].double().numpy().mean(0)

    edges, scores = head.differences.edges.double().numpy(), []
    for row, places in enumerate(batch.voters.tolist()):
        votes = []
        for place in (p for p in places if p >= 0):
            quality = float(batch.exemplar.target01[place]) * (2.2 / theirs[place] if divide else 1)
            pair = np.concatenate([mean(batch, row), mean(batch.exemplar, place), [quality]])
            with torch.no_grad():
                logs, inside = head.tree(torch.tensor(pair[None], dtype=torch.float32))
            leaf = int(logs[0].argmax())
            votes.append(quality + edges[leaf] + (edges[leaf + 1] - edges[leaf]) * float(inside[0, leaf]))
        scores.append(np.mean(votes) * (known[row] / 2.2 if divide else 1))
    with torch.no_grad():
        np.testing.assert_allclose(head(batch).score01, scores, atol=1e-5)


def test_pairs():
    pairs = Pairs.of(make_batch([6, 9, 4]))
    assert pairs.query.tolist() == [0, 1, 1, 2, 2] and pairs.exemplar.tolist() == [0, 1, 2, 2, 0]
    np.testing.assert_allclose(pairs.votes, [[1, 0, 0, 0, 0], [0, 0.5, 0.5, 0, 0], [0, 0, 0, 0.5, 0.5]])


def layer_norm(values, weight, bias):
    centred = values - values.mean(-1, keepdims=True)
    return centred / np.sqrt(values.var(-1, keepdims=True) + 1e-5) * weight + bias


def test_a_parsing_layer():
    torch.manual_seed(1)
    layer = ParsingLayer(DIM, TPTSettings(width=8, heads=2, queries=3, feed_forward=10), attends=True).eval()
    w = weights_of(layer)
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
