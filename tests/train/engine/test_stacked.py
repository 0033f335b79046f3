"""Stacked models learn what they learn alone."""

import re
from functools import partial

import numpy as np
import pytest
import torch

from longtake.features.store import open_store
from longtake.train.data.dataset import FeatureSet, ScoreScale
from longtake.train.engine import parallel
from longtake.train.engine.job import Job, Task
from longtake.train.engine.loop import fit_together
from longtake.train.engine.settings import TrainSettings
from longtake.train.errors import SettingsError
from longtake.train.heads import TABLE, get_head
from longtake.train.heads.usdl import MeanMLP, MLPSettings
from longtake.train.protocol.checks import require_trainable
from longtake.train.protocol.experiment import prepare
from longtake.train.protocol.options import Options
from longtake.train.protocol.run import run
from tests.train.planted import planted_store

SETTINGS = {
    "i3d-mlp": {"lr": 1e-3},
    "usdl": {"lr": 1e-3},
    "gdlt": {"width": 16, "lr": 1e-3, "mse_weight": 1.0, "optimizer": "sgd"},
    "action-net": {"width": 8, "attention": 8, "last": 8},
}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Two categories; no video is shorter than the 12 clips of a window."""
    path = tmp_path_factory.mktemp("stacked") / "p.h5"
    return planted_store(path, num_train=22, num_test=9, categories=("A", "B"), num_clips=(12, 20))


def trained(store, way, head, **settings):
    """Results and epochs of 16 models: two categories, seeds and folds, each with its control."""
    settings = {"epochs": 3, "batch_size": 8, "dropout": 0.0, "window": 12, **SETTINGS.get(head, {}), **settings}
    overrides = tuple(sorted(settings.items()))
    options = Options(head=head, seeds=2, folds=2, control=True, floor=False, parallel=way, overrides=overrides)
    with open_store(store) as opened:
        experiment = prepare(opened, options)
    require_trainable(experiment)
    epochs = {}
    results = {
        one.model.name: one for one in run(experiment, lambda m, epoch: epochs.update({(m.name, epoch.index): epoch}))
    }
    assert len(results) == 16 and len(epochs) == 16 * settings["epochs"]
    return results, epochs


@pytest.mark.parametrize(
    "head, settings",
    [("i3d-mlp", {}), ("usdl", {"window": 40}), ("gdlt", {}), ("i3d-mlp", {"clip_gradient": 0.01}),
     ("usdl", {"optimizer": "sgd", "lr": 0.1, "validation": 0.2, "sampling": "spread"}), ("action-net", {})],
)  # fmt: skip
def test_stacked_models_learn_what_they_learn_alone(store, head, settings):
    alone, epochs_alone = trained(store, "none", head, **settings)
    stacked, epochs = trained(store, "stacked", head, **settings)
    assert alone.keys() == stacked.keys()
    for name, one in alone.items():
        other = stacked[name]
        np.testing.assert_allclose(other.fitted.predicted, one.fitted.predicted, rtol=1e-5, atol=1e-4)
        for mine, theirs in zip(one.fitted.head.state_dict().values(), other.fitted.head.state_dict().values()):
            torch.testing.assert_close(theirs, mine, rtol=1e-4, atol=5e-5)
    for key, epoch in epochs_alone.items():
        assert epochs[key].loss == pytest.approx(epoch.loss, rel=1e-4)
        assert epochs[key].terms == pytest.approx(epoch.terms, rel=1e-4) and epochs[key].lr == epoch.lr
    # If the models were equal, the comparison would prove nothing.
    assert len({round(float(one.fitted.predicted[0]), 5) for one in stacked.values()}) == 16


def test_dropout_is_the_same_in_every_run(store):
    first, _ = trained(store, "stacked", "i3d-mlp", dropout=0.5, epochs=1)
    again, _ = trained(store, "stacked", "i3d-mlp", dropout=0.5, epochs=1)
    for name, result in first.items():
        np.testing.assert_array_equal(result.fitted.predicted, again[name].fitted.predicted)


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_two_models_of_one_seed_differ_in_their_dropout_only(store, dropout):
    with open_store(store) as opened:
        data = FeatureSet.load(opened)
    rows = [data.rows(split=split, category="A") for split in ("train", "test")]
    task = Task(data, ScoreScale("total", 0.0, 25.0, True), *rows, 12, 25.0)
    build = partial(MeanMLP, 32, MLPSettings(width=16, dropout=dropout))
    job = Job(task, build, TrainSettings(epochs=2, batch_size=8), 0, MeanMLP)
    one, other = fit_together([job, job], lambda *_: None)
    for mine, theirs in zip(one.head.parameters(), other.head.parameters()):
        assert torch.allclose(mine, theirs, rtol=0, atol=1e-6) == (dropout == 0)


def test_auto_stacks_nothing(store, monkeypatch):
    """A stack gives other numbers than training one after the other."""
    calls = []
    monkeypatch.setattr(parallel, "fit_together", lambda jobs, *rest: calls.append(len(jobs)))
    trained(store, "auto", "i3d-mlp", epochs=1)
    assert not calls


def test_videos_shorter_than_the_window_cannot_be_stacked_for_every_head(store):
    with pytest.raises(SettingsError, match="cannot be stacked") as refused:
        trained(store, "stacked", "gdlt", window=30)
    named = set(re.findall(r"[\w-]+", str(refused.value)))
    assert named & set(TABLE) == {name for name in TABLE if get_head(name).stacks}
