"""The head `core`, against plain numpy."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.special import log_softmax

from longtake.train.heads.core import CoRe, CoReSettings, RegressionTree
from longtake.train.heads.usdl import mean_of_clips
from tests.train.heads.goldens import (
    Training,
    check_gradients,
    compared,
    evaluated,
    norms,
    numbers_of,
    pair_store,
    tensors,
)
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


@pytest.fixture
def numbers(shared):
    return numbers_of(shared, "core")


def golden_head(numbers, **settings):
    settings = {"score_range": 30.0, "score_maximum": 30.0, "edges": "order", "place_weight": "leaves", **settings}
    head = CoRe(48, CoReSettings(width=16, depth=4, **settings))
    head.learn_groups(Training(numbers["training_scores"] / 30.0))
    head.load_state_dict(head.state_dict() | head.from_published(tensors(numbers, "weight/")))
    return head


def test_published_groups_and_places(numbers):
    differences = golden_head(numbers).differences
    edges = np.append(numbers["eval/groups"][:, 0], numbers["eval/groups"][-1, 1])
    np.testing.assert_allclose(differences.edges * 30, edges, atol=1e-5)
    group, place = differences.encode(torch.from_numpy(numbers["query_score"] - numbers["exemplar_score"]) / 30)
    assert group.tolist() == numbers["eval/group_label"].tolist()
    np.testing.assert_allclose(place, numbers["eval/place_label"][np.arange(6), group], atol=1e-4)


@pytest.mark.parametrize("weight, which", [("leaves", ""), ("pairs", "_batch_of_one")])
def test_published_outputs_loss_and_gradients(numbers, weight, which):
    head, batch = golden_head(numbers, place_weight=weight).train(), compared(numbers, 30.0)
    values = torch.cat([batch.clips[:, 0], batch.exemplar.clips[:, 0], batch.exemplar.target01[:, None]], 1)
    logs, places = head.tree(values)
    np.testing.assert_allclose(logs.detach(), numbers["eval/leaf_log_probability"], atol=1e-5)
    np.testing.assert_allclose(places.detach(), numbers["eval/leaf_place"], atol=1e-5)
    output = head(batch)
    np.testing.assert_allclose(output.score01.detach() * 30, numbers["train/output"], atol=1e-4)
    assert float(output.losses["comparison"].detach()) == pytest.approx(float(numbers[f"train/loss{which}"]), abs=1e-5)
    output.losses["comparison"].backward()
    check_gradients(head, norms(head, numbers, f"grad_norm{which}/"))


def test_import_and_evaluate(numbers, tmp_path):
    """Exemplars and edges come from the store's training videos, here one for each query."""
    words = [word for name in ("score_range=30", "edges=order") for word in ("--set", name)]
    store = pair_store(tmp_path / "golden.h5", numbers)
    predicted = evaluated(tmp_path, tensors(numbers, "weight/"), "core", store, *words)[:6]
    found = Training(numbers["exemplar_score"]).differences(numbers["exemplar_score"])
    positive = [0, *(found[int(i / 4 * (len(found) - 1))] for i in (1, 2, 3)), 30]
    edges = np.array([*(-one for one in positive[:0:-1]), *positive])
    leaf = numbers["eval/leaf_log_probability"].argmax(1)
    place = numbers["eval/leaf_place"][np.arange(6), leaf]
    expected = numbers["exemplar_score"] + edges[leaf] + (edges[leaf + 1] - edges[leaf]) * place
    np.testing.assert_allclose(predicted, expected, atol=1e-4)


def test_the_published_number_of_parameters():
    assert sum(one.numel() for one in CoRe(1024, CoReSettings()).parameters()) == 2_510_382


def test_features_are_means_over_clips():
    batch = make_batch([6, 9, 4])
    alone = batch.clips[2, :4].mean(0)
    torch.testing.assert_close(mean_of_clips(batch.clips, batch.mask)[2], alone)
