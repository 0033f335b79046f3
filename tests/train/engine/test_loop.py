"""The training loop: training videos, the chosen epoch, precision, the learning rate, and a loss that is not finite."""

import json
import math
from functools import partial
from itertools import count

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from longtake.features.store import open_store
from longtake.train.cli import main
from longtake.train.data.batches import BatchMaker
from longtake.train.data.dataset import FeatureSet, ScoreScale
from longtake.train.engine import loop
from longtake.train.engine.job import Job, Task
from longtake.train.engine.loop import fit, fit_together
from longtake.train.engine.predict import predict_stages
from longtake.train.engine.settings import TrainSettings
from longtake.train.errors import DataError, TrainError
from longtake.train.heads.base import Head, HeadOutput
from longtake.train.heads.usdl import MeanMLP, MLPSettings
from tests.calls import invoke
from tests.train.planted import planted_store


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    """Its rows are shuffled, so that confusing places with rows fails."""
    path = planted_store(tmp_path_factory.mktemp("fitting") / "s.h5", num_train=20, num_test=8, dim=8)
    with open_store(path) as store:
        data = FeatureSet.load(store)
    rows = np.random.default_rng(0).permutation(28)
    return Task(data, ScoreScale("total", 0.0, 25.0, True), rows[:20], rows[20:], 24, 25.0)


class Scripted(Head):
    """Predicts `script(epoch, row)`, and records the training videos and targets of each epoch."""

    def __init__(self, script=lambda epoch, row: 0.0):
        super().__init__(8, None)
        self.weight = nn.Parameter(torch.zeros(1))
        self.script, self.trained, self.tested = script, [], set()

    def train(self, mode=True):
        self.trained += [{}] if mode else []
        return super().train(mode)

    def forward(self, batch):
        if self.training:
            self.trained[-1].update(zip(batch.rows, batch.target01.tolist()))
            return HeadOutput(self.weight.expand(len(batch.rows)))
        self.tested.update(batch.rows)
        return HeadOutput(torch.tensor([self.script(len(self.trained), row) for row in batch.rows]))


@pytest.mark.parametrize("share, number", [(0.0, 0), (0.25, 5), (0.5, 10)])
def test_held_out_videos_are_not_trained_on(task, share, number):
    head = Scripted()
    fit(Job(task, lambda: head, TrainSettings(epochs=3, batch_size=6, validation=share), seed=0))
    held_out = head.tested - set(task.test_rows.tolist())
    assert len(head.trained) == 3 and len(held_out) == number
    for seen in head.trained:
        assert not seen.keys() & held_out and seen.keys() | held_out == set(task.train_rows.tolist())
        for row, target in seen.items():
            assert target == pytest.approx(task.data.scores["total"][row] / 25)


@pytest.mark.parametrize("share, number", [(0.02, 0), (0.05, 1)])
def test_too_few_held_out_videos_are_refused(task, share, number):
    with pytest.raises(DataError, match=f"validation={share} of 20 training videos is {number}, and fewer than 2"):
        fit(Job(task, Scripted, TrainSettings(validation=share), seed=0))


def test_divergence_after_the_last_loss_is_noticed(task):
    """The head is tested after its epoch, and its loss was taken before the last step."""
    head = Scripted(lambda epoch, row: math.inf if epoch == 2 else 0.0)
    with pytest.raises(TrainError, match="scores became inf in epoch 2 at learning rate .*--set lr="):
        fit(Job(task, lambda: head, TrainSettings(epochs=2), seed=0))


def test_held_out_videos_choose_the_epoch_and_test_videos_do_not(task):
    """Test videos are ranked best in the third epoch, videos held out in the second and, as well, in the fourth."""

    def script(epoch, row):
        right = (3,) if row in task.test_rows else (2, 4)
        return task.data.scores["total"][row] * (1 if epoch in right else -1)

    epochs = []
    settings = TrainSettings(epochs=5, batch_size=10, validation=0.25)
    fitted = fit(Job(task, lambda: Scripted(script), settings, seed=0), epochs.append)
    assert fitted.validation_selected == (2, epochs[1].test) and epochs[1].test.spearman == pytest.approx(-1)
    assert fitted.best_on_test == (3, epochs[2].test) and epochs[2].test.spearman == pytest.approx(1)


@pytest.mark.parametrize("evaluate_every, tested, best", [(1, [1, 2, 3, 4, 5], 2), (2, [2, 4, 5], 2), (3, [3, 5], 3)])
def test_the_best_epoch_is_the_first_of_those_that_rank_best(task, evaluate_every, tested, best):
    by_score = task.test_rows[np.argsort(task.data.scores["total"][task.test_rows])].tolist()
    turned = {1: 5, 2: 2, 3: 3, 4: 2, 5: 8}

    def script(epoch, row):
        """The rank, that of the lowest few turned around."""
        rank = by_score.index(row)
        return float(turned[epoch] - 1 - rank if rank < turned[epoch] else rank)

    epochs = []
    settings = TrainSettings(epochs=5, batch_size=10)
    fitted = fit(Job(task, lambda: Scripted(script), settings, seed=0, evaluate_every=evaluate_every), epochs.append)
    known = [epoch for epoch in epochs if epoch.test]
    assert [epoch.index for epoch in known] == tested and len(epochs) == 5
    first = max(known, key=lambda epoch: epoch.test.spearman)
    assert fitted.best_on_test == (first.index, first.test) and first.index == best
    assert fitted.test == epochs[-1].test and fitted.test.spearman < first.test.spearman


@pytest.mark.parametrize("epochs, evaluate_every", [(1, 1), (3, 3), (3, 5)])
def test_no_epoch_is_chosen_where_only_the_last_is_tested(task, epochs, evaluate_every):
    settings = TrainSettings(epochs=epochs, batch_size=10, validation=0.25)
    head = Scripted(lambda epoch, row: float(row))
    fitted = fit(Job(task, lambda: head, settings, seed=0, evaluate_every=evaluate_every))
    assert fitted.best_on_test is None and fitted.validation_selected is None


class Products(TorchDispatchMode):
    """Records the types of the factors of matrix products."""

    NAMES = torch.ops.aten.mm, torch.ops.aten.addmm, torch.ops.aten.bmm, torch.ops.aten.baddbmm

    def __init__(self):
        super().__init__()
        self.types = set()

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        if operation.overloadpacket in self.NAMES:
            self.types |= {factor.dtype for factor in args[-2:]}
        return operation(*args, **(kwargs or {}))


def trained(task, way, precision):
    build = partial(MeanMLP, 8, MLPSettings(width=16, dropout=0.0))
    settings = TrainSettings(epochs=4, batch_size=8, optimizer="adam", lr=1e-2, precision=precision)
    if way == "alone":
        return fit(Job(task, build, settings, seed=0))
    return fit_together([Job(task, build, settings, seed, MeanMLP) for seed in (0, 1)], lambda *_: None)[0]


@pytest.mark.parametrize("way", ["alone", "stacked"])
def test_products_are_computed_in_the_chosen_precision(task, way):
    """All products, forwards and backwards, in training and in tests; weights, losses and scores stay float32."""
    fitted = {}
    for precision in ("float32", "bfloat16"):
        with Products() as seen:
            fitted[precision] = trained(task, way, precision)
        assert seen.types == {getattr(torch, precision)}
    exact, rounded = fitted["float32"], fitted["bfloat16"]
    for one, other in zip(exact.head.parameters(), rounded.head.parameters()):
        assert other.dtype == torch.float32 and not torch.equal(one, other)
        torch.testing.assert_close(one, other, rtol=0, atol=0.02)
    assert 0 < np.abs(exact.predicted - rounded.predicted).max() < 0.02 * 25
    said = partial(predict_stages, BatchMaker(task.data), task.test_rows, rounded.head, task.scale, window=task.window)
    exactly, roughly = (said(settings=TrainSettings(precision=name))[0] for name in ("float32", "bfloat16"))
    differ = np.abs(exactly - rounded.predicted)
    assert (roughly == rounded.predicted).all() and 0 < differ.max() < 0.25


@pytest.mark.parametrize("way, epochs_of_the_first", [("none", 3 * 2), ("stacked", 3)])
def test_a_loss_that_is_not_finite_ends_the_run_and_keeps_finished_models(
    tmp_path, monkeypatch, way, epochs_of_the_first
):
    """Of two categories, whose windows differ, the second diverges in its first epoch."""
    store = planted_store(tmp_path / "s.h5", num_train=8, num_test=4, dim=8, categories=("A", "B"), seed=3)
    real, calls = loop.learning_rate, count()
    monkeypatch.setattr(
        loop, "learning_rate", lambda *given: math.inf if next(calls) >= epochs_of_the_first else real(*given)
    )
    call = ("heads", "--features", store, "--head", "i3d-mlp", "--epochs", 3, "--set", "width=16", "--seeds", 2)
    call += ("--evaluate-every", 3, "--batch-size", 32)
    said = invoke(main, *call, "--no-floor", "--parallel", way, "--out", tmp_path / "run", status=2).output
    assert "the loss became nan in epoch 2 at learning rate inf: lower it with --set lr" in said
    assert "bound gradients with --set clip_gradient=1" in said
    models = json.loads((tmp_path / "run" / "metrics.json").read_text())["models"]
    assert [(model["category"], model["seed"]) for model in models] == [("A", 0), ("A", 1)]
    left = sorted(path.stem for path in (tmp_path / "run" / "checkpoints").iterdir())
    assert left == ["A-total-seed0", "A-total-seed1"]


def test_the_rate_warms_up_and_follows_a_cosine():
    settings = TrainSettings(epochs=110, warmup_epochs=10, lr=0.02, final_lr_ratio=0.01)
    rates = [loop.learning_rate(settings, epoch) for epoch in range(110)]
    np.testing.assert_allclose(rates[:10], 0.02 * np.arange(1, 11) / 10)
    t = np.arange(100) / 100
    np.testing.assert_allclose(rates[10:], 0.02 * (0.01 + 0.99 * (1 + np.cos(np.pi * t)) / 2))


def test_the_rate_falls_by_steps_or_stays():
    def rates(**given):
        settings = TrainSettings(epochs=6, lr=0.02, **given)
        return [round(loop.learning_rate(settings, epoch) / 0.02, 6) for epoch in range(6)]

    assert rates(schedule="step", milestones="5, 3") == [1, 1, 1, 0.1, 0.1, 0.01]
    assert rates(schedule="step", milestones="300,350") == [1] * 6
    assert rates(schedule="step", step_epochs=2, step_factor=0.5) == [1, 1, 0.5, 0.5, 0.25, 0.25]
    assert rates(schedule="step", step_epochs=2, warmup_epochs=3) == [0.333333, 0.666667, 1, 0.1, 0.01, 0.01]
    assert rates(schedule="constant") == [1] * 6
