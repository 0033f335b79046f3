"""Which way models are trained, and training in processes."""

import json
import os
from dataclasses import replace
from functools import partial
from itertools import count
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from longtake.features.store import open_store
from longtake.train.cli import main
from longtake.train.data.dataset import FeatureSet, ScoreScale
from longtake.train.engine import parallel
from longtake.train.engine.job import Job, Task
from longtake.train.engine.loop import fit
from longtake.train.engine.parallel import train_all
from longtake.train.engine.settings import TrainSettings
from longtake.train.errors import SettingsError, TrainError
from longtake.train.heads import get_head
from tests.calls import group_ends, invoke, started, wait_until
from tests.train.planted import planted_store


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Two categories; no video is shorter than the 12 clips of a window."""
    path = tmp_path_factory.mktemp("parallel") / "p.h5"
    return planted_store(path, num_train=22, num_test=9, categories=("A", "B"), num_clips=(12, 20))


@pytest.fixture(scope="module")
def job_of(store):
    """Makes a job of a head that learns from so many videos for so many epochs."""
    with open_store(store) as opened:
        data = FeatureSet.load(opened)
    train, test = (data.rows(split=split, category="A") for split in ("train", "test"))
    task = Task(data, ScoreScale("total", 0.0, 25.0, True), train, test, 12, 25.0)

    def make(head="i3d-mlp", epochs=2, videos=22, seed=0, **settings):
        kind = get_head(head)
        chosen = kind.Settings(**settings)
        training = TrainSettings(epochs=epochs, batch_size=8)
        build = partial(kind, 32, chosen)
        return Job(replace(task, train_rows=train[:videos]), build, training, seed, kind, chosen)

    return make


def test_models_in_a_process_learn_what_they_learn_alone(job_of, monkeypatch):
    """One process trains all, the longest job first: by epochs and videos, and of equal ones the first."""
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    few, short, long = (
        job_of(epochs=epochs, videos=videos, width=16, dropout=0.3) for videos, epochs in ((11, 4), (22, 2), (22, 3))
    )
    jobs = [few, short, long, replace(short, seed=1), job_of("gdlt", 2, width=16, dropout=0.3), job_of("ridge", 1)]
    epochs = []
    done = dict(train_all(jobs, "processes", lambda index, epoch: epochs.append((index, epoch))))
    assert sorted(done) == [0, 1, 2, 3, 4, 5]
    assert list(dict.fromkeys(index for index, _ in epochs)) == [2, 0, 1, 3, 4], "a head in closed form has no epochs"
    for index, job in enumerate(jobs):
        alone = []
        fitted = fit(job, alone.append)
        np.testing.assert_allclose(done[index].predicted, fitted.predicted, rtol=1e-4, atol=1e-3)
        for mine, theirs in zip(fitted.head.state_dict().values(), done[index].head.state_dict().values()):
            torch.testing.assert_close(theirs, mine, rtol=1e-3, atol=1e-4)
        reported = [epoch for which, epoch in epochs if which == index]
        assert [epoch.loss for epoch in reported] == pytest.approx([epoch.loss for epoch in alone], rel=1e-4)


@pytest.mark.parametrize("seconds, here, in_processes", [(9.9, 4, []), (10.1, 1, [1, 2, 3])])
def test_auto_takes_processes_when_much_is_left(job_of, monkeypatch, seconds, here, in_processes):
    """By the time that the first model took: processes begin to pay at 30 seconds for the other three."""
    taken = []
    monkeypatch.setattr(parallel, "_in_processes", lambda jobs, indices, *_: taken.extend(indices) or iter(()))
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    monkeypatch.setattr(parallel, "processors", lambda: [0, 1])
    clock = count()
    monkeypatch.setattr(parallel, "time", SimpleNamespace(perf_counter=lambda: next(clock) * seconds))
    jobs = [job_of("gdlt", 1, seed=seed, width=16) for seed in range(4)]
    assert len(list(train_all(jobs, "auto", lambda *_: None))) == here and taken == in_processes


@pytest.mark.parametrize(
    "way, head, words", [("stacked", "gslm", "cannot be stacked"), ("fast", "gdlt", "--parallel takes one of")]
)
def test_a_way_that_does_not_work_is_refused(store, tmp_path, way, head, words):
    call = ("heads", "--features", store, "--head", head, "--parallel", way, "--epochs", 1, "--set", "scores=11")
    assert words in invoke(main, *call, "--out", tmp_path / "run", status=2).output
    assert not (tmp_path / "run").exists()


def test_a_script_that_would_start_again_trains_without_processes(job_of, monkeypatch):
    """It would wait for ever."""
    jobs = [job_of(seed=seed) for seed in range(3)]
    monkeypatch.setattr(parallel, "starts_again", lambda: True)
    with pytest.raises(SettingsError, match="put what it calls under"):
        parallel.require_way(jobs, "processes")
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    monkeypatch.setattr(parallel, "processors", lambda: [0, 1])
    monkeypatch.setattr(parallel, "WORTH_SECONDS", 0.0)
    monkeypatch.setattr(parallel, "_in_processes", lambda *_: pytest.fail("processes were started"))
    assert [index for index, _ in train_all(jobs, "auto", lambda *_: None)] == [0, 1, 2]


def test_a_process_that_dies_is_one_message(job_of, monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    monkeypatch.setattr(parallel, "_train", _dies)
    with pytest.raises(TrainError, match="a training process died"):
        list(train_all([job_of(), job_of(seed=1)], "processes", lambda *_: None))


def _dies(index):
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


def test_auto_gives_the_bits_of_one_after_the_other(job_of, monkeypatch):
    """In processes with as many threads as here, since numbers depend on it. Where all processors are in use, it starts none."""
    monkeypatch.setattr(parallel, "WORTH_SECONDS", 0.0)
    monkeypatch.setattr(parallel, "processors", lambda: [0, 1])
    jobs = [job_of(head, 2, seed=seed, width=16, dropout=0.3) for head in ("gdlt", "i3d-mlp") for seed in range(2)]
    before, started = torch.get_num_threads(), []
    real = parallel._in_processes
    monkeypatch.setattr(parallel, "_in_processes", lambda *given: started.append(given[2:4]) or real(*given))
    try:
        torch.set_num_threads(2)
        assert len(list(train_all(jobs[2:], "auto", lambda *_: None))) == 2 and not started
        torch.set_num_threads(1)
        done = dict(train_all(jobs, "auto", lambda *_: None))
        assert started == [(2, 1)]
        for index, job in enumerate(jobs):
            assert (fit(job).predicted == done[index].predicted).all()
    finally:
        torch.set_num_threads(before)


def test_ways_that_give_other_numbers_say_so(monkeypatch, store, tmp_path):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    assert "differ by rounding" in parallel.how_numbers_differ("processes")
    assert parallel.how_numbers_differ("auto") is parallel.how_numbers_differ("none") is None
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    assert parallel.how_numbers_differ("processes") is None


def test_the_command_stacks_and_leaves_the_same_folder(store, tmp_path):
    tables = {}
    for way in ("none", "stacked"):
        call = ("heads", "--features", store, "--head", "i3d-mlp", "--seeds", 2, "--epochs", 2, "--set", "dropout=0")
        said = invoke(main, *call, "--parallel", way, "--out", tmp_path / way).output
        assert ("warning: --parallel stacked: numbers differ" in said) == (way == "stacked")
        tables[way] = json.loads((tmp_path / way / "metrics.json").read_text())["table"]
        rows = [row.split(",") for row in (tmp_path / way / "epochs.csv").read_text().splitlines()[1:]]
        assert len(rows) == 4 * 2 and len({tuple(row[:5]) for row in rows}) == 4
        assert len(list((tmp_path / way / "checkpoints").iterdir())) == 4
    for one, other in zip(tables["none"], tables["stacked"]):
        assert one["category"] == other["category"] and one["mse"] == pytest.approx(other["mse"], rel=1e-4)
