"""TensorBoard is optional: with it a run has logs, without it nothing fails."""

import shutil
import sys

import pytest

from longtake.train.cli import main
from longtake.train.errors import TrainError
from longtake.train.runs import tensorboard
from longtake.train.runs.epochs import read_curves
from longtake.train.runs.page import _curves
from longtake.train.runs.tensorboard import logged_models, read_log
from tests.calls import invoke
from tests.compat.readings import FIXTURES
from tests.train.planted import planted_store


@pytest.fixture
def without(monkeypatch):
    """Importing TensorBoard fails, as where it is not installed."""
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    monkeypatch.setattr(tensorboard, "find_spec", lambda name: None)


@pytest.fixture(scope="module")
def call(tmp_path_factory):
    store = planted_store(tmp_path_factory.mktemp("tensorboard") / "s.h5", num_train=8, num_test=4, dim=8)
    return ["heads", "--features", store, "--head", "i3d-mlp", "--epochs", 2, "--set", "width=8", "--no-floor"]


def test_logs_and_epochs_csv_hold_the_same(tmp_path, call):
    invoke(main, *call, "--seeds", 2, "--out", tmp_path)
    found = read_curves(tmp_path)
    assert logged_models(tmp_path) == sorted(found) == ["A-total-seed0", "A-total-seed1"]
    for name, curves in found.items():
        logged = read_log(tmp_path, name)
        assert logged.loss == pytest.approx(curves.loss) and logged.test_spearman == pytest.approx(curves.test_spearman)


def test_a_run_and_its_page_without_tensorboard(tmp_path, call, without):
    invoke(main, *call, "--out", tmp_path)
    assert not (tmp_path / "tensorboard").exists() and len(read_curves(tmp_path)["A-total-seed0"].loss) == 2
    said = invoke(main, "report", tmp_path).output
    assert "tensorboard" not in said and "loss over epochs" in (tmp_path / "report.html").read_text()


def test_a_run_of_0_1_that_is_resumed_has_one_curve(tmp_path):
    run = shutil.copytree(FIXTURES / "runs" / "gslm", tmp_path / "run")
    name, *others = logged_models(run)
    first = read_log(run, name)
    last = max(first.loss)
    (run / "epochs.csv").write_text(
        "category,score,seed,fold,control,epoch,lr,loss,test_spearman,test_mse\n"
        f"{name.split('-')[0]},total,0,,0,{last},0.1,0.25,0.5,1.0\n"
    )
    found = _curves(run, [])
    assert found[name].loss == first.loss | {last: 0.25} and len(first.loss) > 1
    assert found[name].test_spearman == first.test_spearman | {last: 0.5} and found.keys() == {name, *others}


def test_curves_of_0_1_need_tensorboard(tmp_path, monkeypatch):
    run = shutil.copytree(FIXTURES / "runs" / "gslm", tmp_path / "run")
    assert logged_models(run) and not (run / "epochs.csv").exists()
    invoke(main, "report", run)
    assert "loss over epochs" in (run / "report.html").read_text()
    monkeypatch.setattr(tensorboard, "find_spec", lambda name: None)
    said = invoke(main, "report", run).output
    assert "holds learning curves of version 0.1" in said and "pip install 'longtake[tensorboard]'" in said
    assert "loss over epochs" not in (run / "report.html").read_text()
    with pytest.raises(TrainError, match="longtake\\[tensorboard\\]"):
        read_log(run, "any")
