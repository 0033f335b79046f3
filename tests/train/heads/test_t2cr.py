"""The head `t2cr`, against the published modules' numbers."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from longtake.train.errors import DataError
from longtake.train.heads.base import SecondStream
from longtake.train.heads.t2cr import T2CR, T2CRSettings
from tests.train.heads.goldens import batch_of, check_gradients, evaluated, golden_store, load, numbers_of, tensors

UNUSED = 8_212
SIZES = {"rows": 10, "thin": 8, "second": True, "classes": 58, "class_score": "class", "judges_units": True}


def one_side(numbers, rows, target, classes):
    """Of the published file: videos of these rows, their thin view as a second stream, their class as a score."""
    thin = torch.from_numpy(numbers["thin"][rows])
    mask = torch.ones(thin.shape[:2], dtype=torch.bool)
    number = torch.from_numpy(numbers[classes].argmax(1).astype(np.float32))[:, None]
    stream = SecondStream(thin, mask, torch.zeros(*mask.shape, 2))
    return batch_of(numbers["full"][rows], numbers[target], second_stream=stream, scores=number)


@pytest.fixture
def published(shared):
    numbers = numbers_of(shared, "t2cr")
    state = tensors(numbers, "weight/")
    settings = {**T2CR.settings_in(T2CR.from_published(state)), "second": True, "class_score": "class"}
    assert settings.items() >= SIZES.items()
    head = T2CR(1024, T2CRSettings(**settings), audio_dim=1024)
    state |= {"qualities.unit": torch.ones(())}
    batch = one_side(numbers, slice(0, 3), "target", "class1")
    others = one_side(numbers, slice(3, 6), "exemplar_target", "class2")
    return numbers, load(head, state), replace(batch, exemplar=others, voters=torch.arange(3)[:, None])


def test_published_outputs(published):
    numbers, head, batch = published
    with torch.no_grad():
        found = head.eval()(batch)
        np.testing.assert_allclose(found.score01, numbers["eval/output"], atol=1e-5)
        full, thin = head.views(batch)
        logits = head.view(full), head.view(head.view.lift(thin))
        np.testing.assert_allclose(logits[0], numbers["eval/logits1"], atol=1e-5)
        np.testing.assert_allclose(logits[1], numbers["eval/logits3"], atol=1e-5)
        np.testing.assert_allclose(head.regressor(logits[0])[:, None], numbers["eval/direct"], atol=1e-5)
        np.testing.assert_allclose(head.view.score(logits[0]).mean(1), numbers["eval/score1"], atol=1e-5)
        itself = head.regressor(head.comparison(*map(head.comparison.mix, head.comparison.views(*logits))))
        np.testing.assert_allclose(itself[:, None], numbers["eval/self1"], atol=1e-5)


def test_published_losses_and_gradients(published):
    numbers, head, batch = published
    found = head.train()(batch)
    np.testing.assert_allclose(found.score01.detach(), numbers["train/output"], atol=1e-5)
    parts = {"views": (1, 2), "comparison": (3, 4, 5, 7), "classes": (6,)}
    for name, terms in parts.items():
        expected = sum(float(numbers[f"train/loss{term}"]) for term in terms)
        assert float(found.losses[name].detach()) == pytest.approx(expected, rel=1e-6, abs=1e-5)
    loss = sum(found.losses.values())
    assert float(loss.detach()) == pytest.approx(float(numbers["train/loss"]), rel=1e-6)
    loss.backward()
    check_gradients(head, head.from_published(tensors(numbers, "grad_norm/")))


def test_the_published_number_of_parameters():
    head = T2CR(1024, T2CRSettings(rows=10, thin=8, classes=58))
    assert sum(parameter.numel() for parameter in head.parameters()) == 618_784 - UNUSED


def test_losses_are_in_points_in_either_unit(published):
    """Of a head in judges' units and one on the scale 0 to 1 whose last layers are smaller by the range."""
    _, head, batch = published
    s = replace(head.settings, score_minimum=0.0, score_maximum=40.0)
    batch = replace(
        batch, target01=batch.target01 / 40, exemplar=replace(batch.exemplar, target01=batch.exemplar.target01 / 40)
    )
    units, shares = (T2CR(1024, one, audio_dim=1024).train() for one in (s, replace(s, judges_units=False)))
    state = dict(head.state_dict())
    units.load_state_dict(state)
    last = {name: value / 40 for name, value in state.items() if name.startswith(("regressor.layer3", "view.score"))}
    shares.load_state_dict({**state, **last})
    found = [one(batch) for one in (units, shares)]
    torch.testing.assert_close(found[0].score01, found[1].score01)
    for name, loss in found[0].losses.items():
        torch.testing.assert_close(loss, found[1].losses[name])


def test_the_thin_view_is_every_second_clip():
    head = T2CR(12, T2CRSettings(rows=6, thin=3))
    batch = batch_of(np.random.default_rng(0).normal(size=(2, 6, 12)), [0.1, 0.5])
    full, thin = head.views(batch)
    assert torch.equal(full, batch.clips) and torch.equal(thin, batch.clips[:, ::2])


def test_soft_dtw_adds_a_loss(published):
    _, head, batch = published
    losses = []
    for weight in (0.0, 1.0):
        head.settings = replace(head.settings, dtw_weight=weight)
        losses.append(head.train()(batch).losses)
    assert "alignment" not in losses[0] and torch.isfinite(losses[1]["alignment"])


def test_a_thin_view_of_another_width_or_of_nothing_is_refused():
    with pytest.raises(DataError, match="as wide as the clips, 12, got 10"):
        T2CR(12, T2CRSettings(second=True), audio_dim=10)
    batch = batch_of(np.zeros((1, 4, 12)), [0.5])
    with pytest.raises(DataError, match="name it with --second"):
        T2CR(12, T2CRSettings(second=True), audio_dim=12).views(batch)


def test_published_code_adds_zeros_and_cuts():
    head = T2CR(12, T2CRSettings(rows=6, thin=3, stretch=False))
    clips = torch.randn(1, 9, 12)
    assert torch.equal(head.views(batch_of(clips, [0.5]))[0], clips[:, 1:7])
    assert torch.equal(head.views(batch_of(clips[:, :4], [0.5]))[0], F.pad(clips[:, :4], (0, 0, 0, 2)))


def test_import_and_evaluate(shared, tmp_path):
    """Every query has its exemplar alone in its category, for training; the thin view is a second stream over the same time."""
    numbers = numbers_of(shared, "t2cr")
    streams = {"video": list(numbers["full"]), "thin": list(numbers["thin"])}
    edges = np.linspace(0, 10, 9)
    store = golden_store(
        tmp_path / "golden.h5", streams, {"total": np.concatenate([numbers["target"], numbers["exemplar_target"]])},
        {"thin": np.stack([edges[:-1], edges[1:]], 1)}, ("test",) * 3 + ("train",) * 3, tuple("abcabc"),
    )  # fmt: skip
    words = ("--backbone", "video", "--audio", "thin", "--set", "second=true")
    predicted = evaluated(tmp_path, tensors(numbers, "weight/"), "t2cr", store, *words)
    np.testing.assert_allclose(predicted[:3], numbers["eval/output"], atol=1e-5)
