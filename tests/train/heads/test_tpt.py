"""The head `tpt`, against plain numpy."""

import numpy as np
import pytest
import torch
from scipy.special import softmax

from longtake.train.heads.tpt import TPT, ParsingLayer, TPTSettings, ranking_loss, sparsity_loss
from tests.train.heads.goldens import (
    Training,
    batch_of,
    by_rule,
    check_gradients,
    compared,
    evaluated,
    features_by_rule,
    norms,
    numbers_of,
    pair_store,
    tensors,
)
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


def test_a_margin_by_the_number_of_clips():
    """Centres that are spaced evenly over a video's own clips lack nothing at spacing 1."""
    lengths = torch.tensor([13, 7])
    looks = torch.zeros(2, 5, 13)
    for row, length in enumerate(lengths.tolist()):
        for query in range(5):
            looks[row, query, (query + 1) * (length - 1) // 6] = 1.0
    assert float(ranking_loss(looks, lengths, 0.0, 1.0)) == pytest.approx(0.0, abs=1e-6)
    assert float(ranking_loss(looks, lengths, 0.0, 1.5)) == pytest.approx(6 * 0.5 * (12 / 6 + 6 / 6) / 2)


def load(head, numbers, state):
    head.learn_groups(Training(numbers["training_scores"] / 30.0))
    head.load_state_dict(head.state_dict() | head.from_published(state))
    return head


def golden_head(numbers, **settings):
    settings = {"score_range": 30.0, "score_maximum": 30.0, "edges": "order", "place_weight": "leaves", **settings}
    made = TPTSettings(width=32, feed_forward=24, dropout=0.0, margin=3.2, **settings)
    return load(TPT(1024, made), numbers, tensors(numbers, "weight/"))


@pytest.fixture
def numbers(shared):
    return numbers_of(shared, "tpt")


@pytest.mark.parametrize("weight, which", [("leaves", ""), ("pairs", "_batch_of_one")])
def test_published_outputs_losses_and_gradients(numbers, weight, which):
    head, batch = golden_head(numbers, place_weight=weight).train(), compared(numbers, 30.0)
    edges = np.append(numbers["eval/groups"][:, 0], numbers["eval/groups"][-1, 1])
    np.testing.assert_allclose(head.differences.edges * 30, edges, atol=1e-5)
    with torch.no_grad():
        (parts, looks, _), (theirs, *_) = (head.parse(one) for one in (batch, batch.exemplar))
        logs, places = head._compare(parts, theirs, batch.target01)
    np.testing.assert_allclose(parts, numbers["eval/parts"], atol=1e-5)
    np.testing.assert_allclose(torch.cat(looks, 2).transpose(1, 2), numbers["eval/attention"], atol=1e-5)
    np.testing.assert_allclose(logs, numbers["eval/group_log_probability"], atol=1e-5)
    np.testing.assert_allclose(places, numbers["eval/place"], atol=1e-5)
    output = head(batch)
    np.testing.assert_allclose(output.score01.detach() * 30, numbers["train/output"], atol=1e-4)
    ranking, sparsity = (float(output.losses[name].detach()) for name in ("ranking", "sparsity"))
    assert ranking == pytest.approx(float(numbers["train/loss_ranking"]), abs=1e-5)
    assert sparsity == pytest.approx(0.05 * float(numbers["train/loss_sparsity"]), abs=1e-5)
    total = sum(output.losses.values())
    assert float(total.detach()) == pytest.approx(float(numbers[f"train/loss{which}"]), abs=1e-5)
    total.backward()
    check_gradients(head, norms(head, numbers, f"grad_norm{which}/"))


def test_published_numbers_at_full_size(shared):
    """Both sides of the published network: queries and exemplars in one batch, compared both ways."""
    numbers = numbers_of(shared, "tpt_full_rule")
    state = by_rule(numbers)
    state |= {name: torch.tensor(0.07) for name in state if name.endswith(".temp")}
    head = TPT(1024, TPTSettings(dropout=0.0)).train()
    head.load_state_dict(head.state_dict() | head.from_published(state))
    parsed = [head.parse(batch_of(features_by_rule(j, 3, 20, 1024), np.zeros(3))) for j in (0, 1)]
    looks = [torch.cat(sides) for sides in zip(*(looks for _, looks, _ in parsed))]
    attention = torch.cat(looks, 2).transpose(1, 2)
    np.testing.assert_allclose(attention.detach(), numbers["train/attention"], atol=1e-5)
    ranking = sum(ranking_loss(one, torch.full((6,), 20), 3.2) for one in looks)
    sparsity = sum(sparsity_loss(one) for one in looks)
    assert float(ranking.detach()) == pytest.approx(float(numbers["train/ranking"]), rel=1e-5)
    assert float(sparsity.detach()) == pytest.approx(float(numbers["train/sparsity"]), rel=1e-5)
    first, second = (parts for parts, *_ in parsed)
    pairs = torch.cat([second, first]), torch.cat([first, second])
    logs, places = head._compare(*pairs, torch.zeros(6))
    np.testing.assert_allclose(logs.detach(), numbers["train/log_prob"], atol=1e-5)
    np.testing.assert_allclose(places.detach(), numbers["train/regression"], atol=1e-5)
    loss = ranking + 0.05 * sparsity + logs.square().mean() + places.square().mean()
    assert float(loss.detach()) == pytest.approx(float(numbers["train/loss"]), rel=1e-6)
    loss.backward()
    found = tensors(numbers, "grad_norm/")
    check_gradients(head, {name: found[key] for key in found for name in head.from_published({key: state[key]})})


def test_import_and_evaluate(numbers, tmp_path):
    store = pair_store(tmp_path / "golden.h5", numbers)
    words = [word for name in ("score_range=30", "edges=order") for word in ("--set", name)]
    predicted = evaluated(tmp_path, tensors(numbers, "weight/"), "tpt", store, *words)[:6]
    found = Training(numbers["exemplar_score"]).differences(numbers["exemplar_score"])
    positive = [0, *(found[int(i / 8 * (len(found) - 1))] for i in range(1, 8)), 30]
    edges = np.array([*(-one for one in positive[:0:-1]), *positive])
    group = numbers["eval/group_log_probability"].argmax(1)
    place = numbers["eval/place"][np.arange(6), group]
    expected = numbers["exemplar_score"] + edges[group] + (edges[group + 1] - edges[group]) * place
    np.testing.assert_allclose(predicted, expected, atol=1e-4)


@pytest.mark.parametrize("width, published", [(512, 5_656_354), (1024, 16_025_890)])
def test_the_published_number_of_parameters(width, published):
    with torch.device("meta"):
        head = TPT(1024, TPTSettings(width=width, feed_forward=512))
    assert sum(one.numel() for one in head.parameters()) == published
