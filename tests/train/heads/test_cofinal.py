"""The head `cofinal`, against the numbers of the published module."""

import numpy as np
import pytest
import torch

from longtake.train.engine.losses import batch_hard_triplet, total_loss
from longtake.train.engine.settings import TrainSettings
from longtake.train.errors import SettingsError
from longtake.train.heads.cofinal import CoFInAl, CoFInAlSettings, tight_frame
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

NAMES = ["cofinal", "cofinal_norevert", "cofinal_full_rule"]
LOSSES = TrainSettings(mse_weight=0.0, triplet_weight=1.0, ce_weight=0.0)


def published(shared, name, **settings):
    numbers = numbers_of(shared, name)
    state, clips, whole = weights_and_clips(numbers, 5, 17, 1024)
    found = CoFInAl.settings_in(CoFInAl.from_published(state))
    known = {"heads": 1 if whole else 4, "values": 3 if name == "cofinal_norevert" else 2, "dropout": 0.0}
    head = load(CoFInAl(clips.shape[2], CoFInAlSettings(**{**found, **known, **settings})), state)
    return numbers, head, batch_of(clips, numbers["target"])


@pytest.mark.parametrize("name", NAMES)
def test_published_numbers(shared, name):
    numbers, head, batch = published(shared, name, published_defects=True)
    before = {key: value.clone() for key, value in head.state_dict().items()}
    for mode in ("eval", "train"):
        head.load_state_dict(before)
        head.train(mode == "train")
        patterns = head.patterns(batch)
        np.testing.assert_allclose(patterns.detach(), numbers[f"{mode}/embed"], atol=1e-5)
        np.testing.assert_allclose(head.fine(patterns).detach(), numbers[f"{mode}/dec"], atol=1e-5)
        coarse = head.coarse(patterns)[0]
        np.testing.assert_allclose(coarse.detach(), numbers[f"{mode}/int"], atol=1e-5)
        np.testing.assert_allclose(head.digits(batch.target01)[0], numbers[f"{mode}/label_int"], atol=1e-6)
        reverted = head.reverted(patterns)[0] if head.settings.reverted else None
        if reverted is not None:
            np.testing.assert_allclose(reverted.detach(), numbers[f"{mode}/int_revert"], atol=1e-5)
        head.load_state_dict(before)
        output = head(batch)
        np.testing.assert_allclose(output.score01.detach(), numbers[f"{mode}/output"], atol=1e-5)
        own = head.losses(batch.target01, coarse, reverted, head.fine(patterns))
        assert float(sum(own.values()).detach()) == pytest.approx(float(numbers[f"{mode}/mse_plus_l1"]), abs=1e-5)
        triplet = batch_hard_triplet(patterns, 1.0)
        assert float(triplet.detach()) == pytest.approx(float(numbers[f"{mode}/triplet"]), abs=1e-5)
    loss, _ = total_loss(output, batch.target01, LOSSES)
    assert float(loss.detach()) == pytest.approx(float(numbers["train/loss"]), abs=1e-5)
    loss.backward()
    check_gradients(head, head.from_published(tensors(numbers, "grad_norm/")))


@pytest.mark.parametrize("name", NAMES)
def test_imported_weights_score_each_video_alone(shared, name):
    numbers, head, batch = published(shared, name)
    assert head.settings.fine == "alone"
    score01 = head.eval()(batch).score01.detach()
    np.testing.assert_allclose(score01, numbers["eval/output_single"], atol=1e-5)


def test_across_a_batch_of_one_is_alone(shared):
    _, head, batch = published(shared, "cofinal", fine="batch")
    patterns = head.eval().patterns(batch)
    alone = published(shared, "cofinal")[1].eval()
    assert not torch.allclose(head.fine(patterns), alone.fine(patterns), atol=1e-4)
    torch.testing.assert_close(head.fine(patterns[:1]), alone.fine(patterns[:1]))


@pytest.mark.parametrize("defects", [False, True])
def test_import_and_evaluate(shared, tmp_path, defects):
    numbers = numbers_of(shared, "cofinal")
    store = golden_store(tmp_path / "g.h5", {"clips": numbers["clips"]}, {"total": numbers["target"]})
    words = ("--set", "heads=4", "--set", f"published_defects={str(defects).lower()}")
    found = evaluated(tmp_path, tensors(numbers, "weight/"), "cofinal", store, *words)
    np.testing.assert_allclose(found / numbers["target"].max(), numbers["eval/output_single"], atol=1e-5)


@pytest.mark.parametrize(
    "settings, expected",
    [({}, 3_715_692), ({"reverted": False}, 3_714_664), ({"width": 448, "heads": 7}, 10_064_748)],
)
def test_sizes(settings, expected):
    assert sum(value.numel() for value in CoFInAl(1024, CoFInAlSettings(**settings)).parameters()) == expected


def test_digits_of_every_score():
    scores = np.arange(0, 25.0001, 0.005)
    head = CoFInAl(4, CoFInAlSettings(width=8))
    number, which = head.digits(torch.tensor(scores / 25, dtype=torch.float32))
    expected = np.round(scores / 25 * 1e4).astype(int)
    np.testing.assert_allclose(number, expected // 100 / 100, atol=1e-6)
    np.testing.assert_array_equal(which, expected % 100)
    defect = CoFInAl(4, CoFInAlSettings(width=8, published_defects=True))
    wrong = (defect.digits(torch.tensor(scores / 25, dtype=torch.float32))[1] != which).sum()
    assert 0 < wrong < 500
    skating = CoFInAlSettings(width=8, judges_units=True, score_maximum=45.0, unit=25.0)
    number, which = CoFInAl(4, skating).digits(torch.tensor([30.01 / 45]))
    assert float(number) == pytest.approx(1.20) and int(which) == 4


def test_the_frame():
    products = tight_frame(100).T @ tight_frame(100)
    expected = torch.full((100, 100), -1 / 99).fill_diagonal_(1.0)
    torch.testing.assert_close(products, expected, atol=1e-6, rtol=0)


def test_all_patterns_apart():
    torch.manual_seed(0)
    batch = batch_of(np.random.default_rng(0).normal(size=(3, 5, 6)), np.full(3, 0.5))
    head = CoFInAl(6, CoFInAlSettings(width=8, align=2)).train()
    (patterns,) = head(batch).patterns
    assert patterns.shape == (1, 12, 8)
    assert head.eval()(batch).patterns[0].shape == (3, 4, 8)


@pytest.mark.parametrize("settings", [{"values": 4}, {"align": 3}, {"grades": 3}, {"fine": "x"}, {"width": 6}])
def test_settings_that_cannot_be(settings):
    with pytest.raises(SettingsError):
        CoFInAlSettings(**settings)
