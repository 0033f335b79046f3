"""The head `core`, against plain numpy."""

import numpy as np
import pytest
import torch
from scipy.special import log_softmax

from longtake.train.heads.core import RegressionTree
from tests.train.heads.kit import arrays_of, make_batch, make_head

RNG = np.random.default_rng(5)


def test_the_regression_tree():
    torch.manual_seed(0)
    tree, values = RegressionTree(7, 6, 4), RNG.normal(size=(3, 7))
    w = arrays_of(tree)
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
