"""The folder of a run: what is in it, and whose it is."""

import csv
import gc
import json
import shutil
import threading
from dataclasses import replace

import numpy as np
import pytest

from longtake.features.store import open_store
from longtake.train.cli import main
from longtake.train.engine import parallel
from longtake.train.heads import get_head
from longtake.train.metrics import fisher_mean, spearman
from longtake.train.protocol.options import Options
from longtake.train.runs.fit import default_folder, open_experiment, train_into
from longtake.train.runs.folder import BEST_ON_TEST
from tests.calls import invoke
from tests.train.planted import planted_store


def run(*arguments, status=0):
    return invoke(main, *arguments, status=status)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return planted_store(
        tmp_path_factory.mktemp("planted") / "planted.h5", categories=("A", "B"), num_train=16, num_test=8
    )


def test_what_a_run_leaves(tmp_path, store):
    out = tmp_path / "run"
    done = run(
        "heads", "--features", store, "--head", "gdlt", "--epochs", 2, "--seeds", 2, "--set", "width=16", "--out", out
    )
    assert "average" in done.output and "optimistic" in done.output
    config = json.loads((out / "config.json").read_text())
    assert config["head"] == "gdlt" and config["settings"]["A"]["head"]["width"] == 16
    with open_store(store) as opened:
        assert config["recipe_id"] == opened.stream().header.recipe_id
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["result"] == "last epoch" and len(metrics["models"]) == 4
    assert all(BEST_ON_TEST in model for model in metrics["models"])
    assert [row["category"] for row in metrics["table"]] == ["A", "B", "average"]
    with (out / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 4 * 8
    assert len(list((out / "checkpoints").glob("*.safetensors"))) == 4
    assert len(list((out / "tensorboard").glob("*/events*"))) == 4
    # The result is that of the last epoch: the same heads, loaded again, say the same.
    evaluated = json.loads(run("evaluate", "--run", out, "--features", store, "--json").output)
    by_name = {row["checkpoint"]: row for row in evaluated}
    for row in rows:
        again = by_name[f"{row['category']}-total-seed{row['seed']}"]["predicted"][row["video_id"]]
        assert again == pytest.approx(float(row["predicted"]), abs=1e-4)
    for model in metrics["models"]:
        again = by_name[f"{model['category']}-total-seed{model['seed']}"]["metrics"]
        assert again["relative_l2"] == pytest.approx(model["test"]["relative_l2"], rel=1e-4)
    # The average's deviation is that of the seeds' averages, as a reader of predictions.csv would have it.
    by_seed = []
    for seed in ("0", "1"):
        mine = [(row["category"], float(row["true"]), float(row["predicted"])) for row in rows if row["seed"] == seed]
        pairs = ([row[1:] for row in mine if row[0] == category] for category in "AB")
        by_seed.append(fisher_mean(spearman(*np.array(pair).T) for pair in pairs))
    assert metrics["table"][2]["spearman_deviation"] == pytest.approx(np.std(by_seed, ddof=1), abs=1e-6)


def test_heads_on_disk_leave_memory(tmp_path, store):
    """Fifty heads of `gslm` with their gradients are 4 GB."""
    experiment, _ = open_experiment([store], Options(head="i3d-mlp", seeds=3, overrides=(("epochs", 1),)))
    alive = []
    for result in train_into(tmp_path / "run", experiment, lambda *_: None):
        gc.collect()
        assert not [one for one in threading.enumerate() if type(one).__name__ == "_AsyncWriterThread"], "nor do logs"
        heads = {id(one) for one in gc.get_objects() if type(one) is get_head("i3d-mlp")}
        alive.append(len(heads))
        assert result.fitted.head is None and np.isfinite(result.fitted.predicted).all()
    assert len(alive) == 6 and len(list((tmp_path / "run" / "checkpoints").iterdir())) == 6
    assert max(alive) <= 2, "those in training and no others"


def test_another_run_is_not_written_over(tmp_path, store):
    call = ("heads", "--features", store, "--head", "ridge", "--no-floor", "--out", tmp_path / "r")
    run(*call)
    run(*call)
    kept = (tmp_path / "r" / "metrics.json").read_bytes()
    for other in (("--head", "kernel"), ("--set", "penalties=3"), ("--category", "A")):
        assert "holds another run" in run(*call, *other, status=2).output
    assert (tmp_path / "r" / "metrics.json").read_bytes() == kept


def test_an_interruption_keeps_what_is_done(tmp_path, store, monkeypatch):
    real, calls = parallel.fit, []

    def interrupted(*arguments, **keywords):
        if len(calls) == 1:
            raise KeyboardInterrupt
        calls.append(1)
        return real(*arguments, **keywords)

    monkeypatch.setattr(parallel, "fit", interrupted)
    out = tmp_path / "run"
    call = ["--features", store, "--head", "gdlt", "--epochs", 1, "--no-floor", "--seeds", 3, "--out", out]
    done = run("heads", *call, status=130)
    assert "1 finished models" in done.output
    metrics = json.loads((out / "metrics.json").read_text())
    assert (len(metrics["models"]), metrics["num_models"], metrics["num_done"]) == (1, 6, 1)
    mark = "UNFINISHED, 1 of 6 models"
    for words in (("compare", out), ("list", "runs", "--runs", tmp_path)):
        assert f"last epoch, {mark}" in run(*words).output
    run("report", out)
    assert f"**{mark}.**" in (out / "README.md").read_text() and mark in (out / "report.html").read_text()
    for name in ("num_models", "num_done"):
        del metrics[name]
    (out / "metrics.json").write_text(json.dumps(metrics))
    assert "UNFINISHED" not in run("compare", out).output, "older releases did not record it"
    monkeypatch.setattr(parallel, "fit", real)
    run("heads", *call, "--resume")
    assert "UNFINISHED" not in run("compare", out).output + (out / "README.md").read_text()


def test_runs_of_one_second_have_folders_of_their_own(tmp_path, store, monkeypatch):
    monkeypatch.chdir(tmp_path)
    experiment, _ = open_experiment([store], Options(head="ridge"))
    hostile = replace(experiment, dataset="../../x")
    folders = [default_folder(one) for one in (experiment, experiment, experiment, hostile)]
    assert len(set(folders)) == 4 and all(folder.is_dir() for folder in folders)
    assert {folder.resolve().parent for folder in folders} == {tmp_path / "runs"}
    shutil.rmtree(tmp_path / "runs")
    (tmp_path / "runs").symlink_to(tmp_path / "a disk that is not there")
    with pytest.raises(FileExistsError):
        default_folder(experiment)


def test_texts_of_a_store_stay_in_their_place_on_the_card(tmp_path):
    category = "A|<img src=x>"
    path = planted_store(tmp_path / "s.h5", num_train=6, num_test=4, categories=(category,), dataset="a|b\n# c")
    run("heads", "--features", path, "--head", "ridge", "--no-floor", "--out", tmp_path / "run")
    lines = (tmp_path / "run" / "README.md").read_text().splitlines()
    assert any(", torch" in line for line in lines), "what separates the versions"
    assert lines[0] == "# ridge on a\\|b # c" and not any("<img" in line for line in lines)
    (row,) = [line for line in lines if "img" in line]
    (header,) = [line for line in lines if line.startswith("| category")]
    assert "A\\|&lt;img src=x>" in row and row.replace("\\|", "").count("|") == header.count("|")
