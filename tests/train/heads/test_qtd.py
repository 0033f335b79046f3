"""The head `qtd`, against the numbers of the published module."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from longtake.train.errors import SettingsError
from longtake.train.heads import qtd
from longtake.train.heads.qtd import QTD, QTDSettings, attention_loss
from tests.train.heads.goldens import (
    batch_of,
    check_gradients,
    evaluated,
    golden_store,
    load,
    numbers_of,
    tensors,
    weights_and_clips,
)
from tests.train.heads.kit import make_batch, make_head

NAMES = ["qtd", "qtd_nq9", "qtd_query_noise", "qtd_full_rule"]


def published(shared, name, **settings):
    numbers = numbers_of(shared, name)
    state, clips, whole = weights_and_clips(numbers, 3, 68, 1024)
    found = QTD.settings_in(QTD.from_published(state))
    head = load(QTD(clips.shape[2], QTDSettings(**{"dropout": 0.0, **found, **settings})), state)
    return numbers, head, batch_of(clips, numbers["target"])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("defects", [False, True])
def test_published_numbers(shared, name, defects, monkeypatch):
    drawn = name == "qtd_query_noise"
    if drawn and not defects:
        pytest.skip("drawing queries is the defect")
    numbers, head, batch = published(shared, name, published_defects=defects, query_std=2.0 if drawn else 1.0)
    if drawn:
        monkeypatch.setattr(qtd.torch, "randn", lambda *shape, **kinds: torch.from_numpy(numbers["query_noise"]) / 2)
    for mode in ("eval", "train"):
        head.train(mode == "train")
        queries, seen = head.decode(batch)
        scores, weights = head.read(queries)
        found = {"decoded": queries, "score": scores[..., None], "weight": weights[..., None]}
        for part, values in found.items():
            if f"{mode}/{part}" in numbers:
                np.testing.assert_allclose(values.detach(), numbers[f"{mode}/{part}"], atol=1e-5, rtol=1e-5)
        if f"{mode}/self0" in numbers:
            expected = numbers[f"{mode}/self0"].transpose(1, 0, 2)
            np.testing.assert_allclose(seen[0][0].detach().expand(expected.shape), expected, atol=1e-5)
            np.testing.assert_allclose(seen[1][1].detach(), numbers[f"{mode}/cross1"].transpose(1, 0, 2), atol=1e-5)
        output = head(batch)
        np.testing.assert_allclose(output.score01.detach(), numbers[f"{mode}/output"], atol=1e-5)
        # Where queries are the same for all videos, so are their similarities.
        own = sum(attention_loss(among.expand(found.shape), found) for among, found in seen)
        assert float(own.detach()) == pytest.approx(float(numbers[f"{mode}/kld"]), abs=1e-5)
    loss = F.mse_loss(output.score01, batch.target01) + output.losses["attention"]
    assert float(loss.detach()) == pytest.approx(float(numbers["train/loss"]), rel=1e-5, abs=1e-5)
    loss.backward()
    check_gradients(head, head.from_published(tensors(numbers, "grad_norm/")))


@pytest.mark.parametrize("queries, expected", [(68, 22_388_738), (136, 22_458_370), (48, 22_368_258)])
def test_sizes(queries, expected):
    assert sum(value.numel() for value in QTD(1024, QTDSettings(queries=queries)).parameters()) == expected


def test_import_and_evaluate(shared, tmp_path):
    """Published checkpoints keep the parts in dictionaries of their own."""
    numbers = numbers_of(shared, "qtd_nq9")
    store = golden_store(tmp_path / "g.h5", {"clips": numbers["clips"]}, {"total": numbers["target"]})
    found = evaluated(tmp_path, tensors(numbers, "weight/"), "qtd", store, parts=True)
    np.testing.assert_allclose(found / numbers["target"].max(), numbers["eval/output"], atol=1e-5)


def test_queries_are_drawn_where_the_defects_are_asked_for():
    batch = make_batch([6, 9, 4])
    for defects in (False, True):
        head = make_head("qtd", query_std=2.0, queries=5, published_defects=defects).eval()
        with torch.no_grad():
            assert torch.equal(head(batch).score01, head(batch).score01) != defects
    assert float(make_head("qtd", query_std=5.0).queries.detach().std()) == pytest.approx(5, rel=0.1)


@pytest.mark.parametrize("places", qtd.PLACES)
def test_places_in_time(places):
    """Memory with places tells clips apart by their order; without them it does not."""
    batch = make_batch([9, 9, 9])
    turned = batch_of(batch.clips.flip(1).numpy(), np.zeros(3))
    head = make_head("qtd", places=places, queries=5).eval()
    with torch.no_grad():
        same = torch.allclose(head(batch).score01, head(turned).score01, atol=1e-6)
        assert same != places.endswith("memory")
        defect = make_head("qtd", places=places, queries=5, published_defects=True).eval()
        alone = batch_of(batch.clips[1:2].numpy(), np.zeros(1))
        independent = torch.allclose(defect(batch).score01[1:2], defect(alone).score01, atol=1e-6)
        assert independent != places.endswith("memory")
        assert defect.batch_needs.alone


def test_the_kl_is_weighed_in_the_units_of_the_layers():
    batch = make_batch([9, 9, 9])
    terms = [
        float(make_head("qtd", queries=5, **settings).train()(batch).losses["attention"].detach())
        for settings in ({}, {"judges_units": True, "score_maximum": 102.0, "unit": 17.0})
    ]
    assert terms[0] == pytest.approx(36 * terms[1], rel=1e-5)


def test_noise_on_scores_is_of_training_only():
    batch = make_batch([9, 9, 9])
    head = make_head("qtd", queries=5, score_noise=0.5)
    assert not torch.equal(head.train()(batch).score01, head(batch).score01)
    assert torch.equal(head.eval()(batch).score01, head(batch).score01)


@pytest.mark.parametrize("dim, settings", [(10, {}), (7, {"heads": 1}), (8, {"places": "somewhere"})])
def test_settings_that_cannot_be(dim, settings):
    with pytest.raises(SettingsError):
        QTD(dim, QTDSettings(**settings))
