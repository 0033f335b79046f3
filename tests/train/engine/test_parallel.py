"""Models trained at once learn what they learn one by one."""

import json
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from longtake.features.store import open_store
from longtake.train.cli import main
from longtake.train.data.dataset import FeatureSet, ScoreScale
from longtake.train.engine import parallel
from longtake.train.engine.job import Job, Task
from longtake.train.engine.loop import fit_together
from longtake.train.engine.settings import TrainSettings
from longtake.train.errors import SettingsError, TrainError
from longtake.train.heads.usdl import MeanMLP, MLPSettings
from longtake.train.protocol.checks import require_trainable
from longtake.train.protocol.experiment import prepare
from longtake.train.protocol.options import Options
from longtake.train.protocol.run import run
from tests.calls import group_ends, started, wait_until
from tests.train.planted import planted_store

LONG = {
    "i3d-mlp": {"lr": 1e-3},
    "usdl": {"lr": 1e-3},
    "gdlt": {"width": 16, "lr": 1e-3, "mse_weight": 1.0, "optimizer": "sgd"},
}


@pytest.fixture
def store(tmp_path):
    """Two categories; no video is shorter than the 12 clips of a window."""
    return planted_store(tmp_path / "p.h5", num_train=22, num_test=9, categories=("A", "B"), num_clips=(12, 20))


def trained(store, way, head, **settings):
    settings = {"epochs": 3, "batch_size": 8, "dropout": 0.0, "window": 12, **LONG.get(head, {}), **settings}
    told = []
    with open_store(store) as opened:
        options = Options(
            head=head,
            seeds=2,
            folds=2,
            control=True,
            floor=False,
            parallel=way,
            overrides=tuple(sorted(settings.items())),
        )
        experiment = prepare(opened, options)
    require_trainable(experiment)
    results = list(
        run(
            experiment,
            lambda model, epoch: told.append((model.unit.category, model.seed, model.fold, model.control, epoch)),
        )
    )
    return {(r.unit.category, r.seed, r.fold, r.control): r for r in results}, told


@pytest.mark.parametrize(
    "head, settings",
    [("i3d-mlp", {}), ("usdl", {}), ("usdl", {"window": 40}), ("gdlt", {}), ("i3d-mlp", {"clip_gradient": 0.01}),
     ("i3d-mlp", {"optimizer": "sgd", "validation": 0.2, "sampling": "spread"})],
)  # fmt: skip
def test_stacked_models_learn_what_they_learn_alone(store, head, settings):
    alone, told_alone = trained(store, "none", head, **settings)
    stacked, told = trained(store, "stacked", head, **settings)
    assert alone.keys() == stacked.keys() and len(alone) == 16
    for key, one in alone.items():
        other = stacked[key]
        np.testing.assert_allclose(other.fitted.predicted, one.fitted.predicted, rtol=1e-5, atol=1e-4)
        for mine, theirs in zip(one.fitted.head.state_dict().values(), other.fitted.head.state_dict().values()):
            torch.testing.assert_close(theirs, mine, rtol=1e-4, atol=1e-5)
    assert len(told) == len(told_alone) == 16 * 3
    losses = {(*key, epoch.index): epoch.loss for *key, epoch in told}
    for *key, epoch in told_alone:
        assert losses[*key, epoch.index] == pytest.approx(epoch.loss, rel=1e-4)
    # Models differ from one another, or equality would say nothing.
    assert len({round(float(r.fitted.predicted[0]), 5) for r in stacked.values()}) == 16


def test_dropout_of_stacked_models_is_each_ones_own(store):
    first, _ = trained(store, "stacked", "i3d-mlp", dropout=0.5)
    again, _ = trained(store, "stacked", "i3d-mlp", dropout=0.5)
    for key, result in first.items():
        np.testing.assert_array_equal(result.fitted.predicted, again[key].fitted.predicted)


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_nothing_but_dropout_tells_two_models_of_one_seed_apart(store, dropout):
    """Each draws for itself which values it drops."""
    with open_store(store) as opened:
        data = FeatureSet.load(opened)
    rows = [data.rows(split=split, category="A") for split in ("train", "test")]
    task = Task(data, ScoreScale("total", 0.0, 25.0, True), *rows, 12, 25.0)
    build = partial(MeanMLP, 32, MLPSettings(width=16, dropout=dropout))
    job = Job(task, build, TrainSettings(epochs=2, batch_size=8), 0, MeanMLP, None)
    one, other = fit_together([job, job], lambda *_: None)
    for mine, theirs in zip(one.head.parameters(), other.head.parameters()):
        assert torch.allclose(mine, theirs, rtol=0, atol=1e-6) == (dropout == 0)


@pytest.mark.parametrize("head", ["gdlt", "ridge"])
def test_models_in_processes_learn_what_they_learn_alone(store, head, monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    settings = {"dropout": 0.3} if head == "gdlt" else {}
    alone, told_alone = _trained_plainly(store, "none", head, **settings)
    beside, told = _trained_plainly(store, "processes", head, **settings)
    assert alone.keys() == beside.keys() and len(told) == len(told_alone)
    for key, one in alone.items():
        np.testing.assert_allclose(beside[key].fitted.predicted, one.fitted.predicted, rtol=1e-4, atol=1e-3)
        for mine, theirs in zip(one.fitted.head.state_dict().values(), beside[key].fitted.head.state_dict().values()):
            torch.testing.assert_close(theirs, mine, rtol=1e-3, atol=1e-4)


def _trained_plainly(store, way, head, **settings):
    told = []
    overrides = {"epochs": 2, "batch_size": 8, "window": 12, **settings}
    with open_store(store) as opened:
        options = Options(head=head, seeds=2, floor=False, parallel=way, overrides=tuple(sorted(overrides.items())))
        experiment = prepare(opened, options)
    results = list(run(experiment, lambda *facts: told.append(facts)))
    return {(r.unit.category, r.seed): r for r in results}, told


def test_the_longest_training_goes_to_a_process_first(store):
    """By epochs and videos; of equal ones the first."""
    with open_store(store) as opened:
        data = FeatureSet.load(opened)
    train, test = (data.rows(split=split, category="A") for split in ("train", "test"))
    task = Task(data, ScoreScale("total", 0.0, 25.0, True), train, test, 12, 25.0)
    build = partial(MeanMLP, 32, MLPSettings(width=16))
    short, long, few = ((train, 2), (train, 3), (train[: len(train) // 2], 4))
    jobs = [
        Job(replace(task, train_rows=rows), build, TrainSettings(epochs=epochs, batch_size=8), 0, MeanMLP, None)
        for rows, epochs in (few, short, long, short)
    ]
    told = []
    done = parallel._in_processes(jobs, range(4), 1, lambda index, epoch: told.append(index))
    assert sorted(index for index, _ in done) == [0, 1, 2, 3]
    assert list(dict.fromkeys(told)) == [2, 0, 1, 3]


def test_auto_takes_processes_when_much_is_left(store, monkeypatch):
    """By the time that the first model took; of short ones all are trained here."""
    taken = []

    def instead(jobs, indices, *_):
        taken.extend(indices)
        return iter(())

    monkeypatch.setattr(parallel, "_in_processes", instead)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    assert len(_trained_plainly(store, "auto", "gdlt")[0]) == 4 and not taken
    monkeypatch.setattr(parallel, "WORTH_SECONDS", 0.0)
    assert len(_trained_plainly(store, "auto", "gdlt")[0]) == 1 and taken == [1, 2, 3]


def test_auto_stacks_heads_of_means(store, monkeypatch):
    calls = []
    real = parallel.fit_together
    monkeypatch.setattr(parallel, "fit_together", lambda jobs, *rest: calls.append(len(jobs)) or real(jobs, *rest))
    trained(store, "auto", "usdl")
    assert calls == [16]
    trained(store, "auto", "gdlt")
    assert calls == [16]


def test_what_cannot_be(store):
    for way, head, words in (("stacked", "gslm", "cannot be stacked"), ("fast", "gdlt", "--parallel takes one of")):
        call = [
            "heads",
            "--features",
            str(store),
            "--head",
            head,
            "--parallel",
            way,
            "--epochs",
            "1",
            "--set",
            "scores=11",
        ]
        done = CliRunner().invoke(main, [*call, "--out", str(store.parent / "run")])
        assert done.exit_code == 2 and words in done.output and "Traceback" not in done.output
        assert not (store.parent / "run").exists()
    with pytest.raises(SettingsError, match="cannot be stacked"):
        trained(store, "stacked", "gdlt", window=30)


def test_a_process_that_dies_is_one_message(store, monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    with open_store(store) as opened:
        experiment = prepare(opened, Options(head="i3d-mlp", seeds=2, floor=False, parallel="processes"))
    monkeypatch.setattr("longtake.train.engine.parallel._train", _dies)
    with pytest.raises(TrainError, match="a training process died"):
        list(run(experiment, lambda *_: None))


def _dies(index):
    import os

    os._exit(1)


def test_processes_end_with_the_one_that_started_them(store, tmp_path):
    call = (
        "heads",
        "--features",
        store,
        "--head",
        "gdlt",
        "--epochs",
        1_000_000,
        "--no-floor",
        "--parallel",
        "processes",
    )
    with started("longtake.train.cli", *call, "--out", tmp_path / "run") as training:
        log = tmp_path / "run" / "epochs.csv"
        wait_until(lambda: log.exists() and len(log.read_text().splitlines()) > 1)
        training.kill()
        assert group_ends(training)


def test_the_command_stacks_and_leaves_the_same_folder(store, tmp_path):
    tables = {}
    for way in ("none", "auto"):
        call = ["heads", "--features", store, "--head", "i3d-mlp", "--seeds", 2, "--epochs", 2, "--set", "dropout=0"]
        done = CliRunner().invoke(main, [str(part) for part in (*call, "--parallel", way, "--out", tmp_path / way)])
        assert done.exit_code == 0, done.output
        tables[way] = json.loads((tmp_path / way / "metrics.json").read_text())["table"]
        rows = [row.split(",") for row in (tmp_path / way / "epochs.csv").read_text().splitlines()[1:]]
        assert len(rows) == 4 * 2 and len({tuple(row[:5]) for row in rows}) == 4
        assert len(list((tmp_path / way / "checkpoints").iterdir())) == 4
    for one, other in zip(tables["none"], tables["auto"]):
        assert one["category"] == other["category"] and one["mse"] == pytest.approx(other["mse"], rel=1e-4)
