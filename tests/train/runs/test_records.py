"""What config.json and metrics.json of a run say, checked."""

import json
import math
from dataclasses import asdict

import pytest

from longtake.train.cli import main
from longtake.train.errors import DataError
from longtake.train.runs.records import read_config, read_metrics, read_values, unfinished
from tests.calls import invoke
from tests.train.planted import planted_store

MODEL = {
    "category": "",
    "score": "total",
    "seed": 0,
    "control": False,
    "test": {"spearman": None, "mse": 1.5, "num_videos": 2},
}
METRICS = {"head": "gdlt", "dataset": "d", "random_weights": False, "table": [], "models": [MODEL]}


def run(*arguments, status=0):
    return invoke(main, *arguments, status=status)


def test_metrics_are_read_without_entries_of_later_releases(tmp_path):
    (tmp_path / "metrics.json").write_text(json.dumps({**METRICS, "later": 1}))
    found = read_metrics(tmp_path)
    assert [asdict(model) for model in found.models] == [MODEL] and found.rows == []
    assert found.unfinished == "", "older releases did not record the numbers of models"


def test_a_mark_of_unfinished_runs():
    assert unfinished(2, 3) == "UNFINISHED, 2 of 3 models" and unfinished(3, 3) == unfinished(None, None) == ""


def test_files_that_are_missing_or_cannot_be_read(tmp_path):
    with pytest.raises(DataError, match="not a finished run of `train heads`: no config.json in it"):
        read_config(tmp_path)
    with pytest.raises(DataError, match="no file at"):
        read_values(tmp_path / "none.json")
    with pytest.raises(DataError, match="cannot be read: a folder, not a file"):
        read_values(tmp_path)


def test_undefined_figures_are_null(tmp_path):
    store = planted_store(tmp_path / "s.h5", num_train=8, num_test=4, with_text=False)
    run("heads", "--features", store, "--head", "ridge", "--out", tmp_path / "run")
    values = json.loads((tmp_path / "run" / "metrics.json").read_text())
    (row,) = read_metrics(tmp_path / "run").rows
    assert values["table"][0]["ensemble_mse"] is None and math.isnan(row.ensemble_mse)
    assert row.spearman == values["table"][0]["spearman"] and row.num_test == 4
    assert read_config(tmp_path / "run").head == "ridge"


def test_a_damaged_run_is_one_message_with_all_faults(tmp_path):
    config = {
        "head": 1,
        "options": {"folds": [5], "seeds": True},
        "versions": {"torch": None},
        "later": "unknown entries are allowed",
    }
    (tmp_path / "metrics.json").write_text(
        json.dumps({**METRICS, "models": [{"category": None, "seed": 0.5}], "later": 1})
    )
    (tmp_path / "config.json").write_text(json.dumps(config))
    said = run("compare", tmp_path, status=2).output
    for fault in (
        "metrics.models[0].category must be text, got None",
        "metrics.models[0].seed must be a whole number, got 0.5",
        "config.head must be text, got 1",
        "config.options.folds must be a whole number or text, got [5]",
        "config.options.seeds must be a whole number, got True",
        "config.versions.torch must be text, got None",
        "config.features is missing",
    ):
        assert fault in said
    assert "later" not in said and said.count("error:") == 1
    (tmp_path / "config.json").write_text("[" * 100_000)
    assert "config.json is nested too deeply" in run("compare", tmp_path, status=2).output


def test_a_run_of_another_release(tmp_path):
    store = planted_store(tmp_path / "s.h5", num_train=8, num_test=4, with_text=False)
    run("heads", "--features", store, "--head", "ridge", "--out", tmp_path / "run")
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    metrics["table"][0]["kendall"] = 0.5
    (tmp_path / "run" / "metrics.json").write_text(json.dumps(metrics))
    run("report", tmp_path / "run")
    del metrics["table"][0]["spearman"]
    (tmp_path / "run" / "metrics.json").write_text(json.dumps(metrics))
    assert "metrics.table[0].spearman is missing" in run("report", tmp_path / "run", status=2).output
