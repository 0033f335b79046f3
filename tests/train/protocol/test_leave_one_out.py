"""`--folds leave-one-out`: a correlation is over the scores of all folds, since one video has none."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest

from longtake.train.cli import main
from longtake.train.errors import SettingsError
from longtake.train.metrics import fisher_mean, spearman
from longtake.train.protocol.options import LEAVE_ONE_OUT, Options
from longtake.train.runs.pairs import compare_pair
from longtake.train.runs.sweeps import read_sweep
from tests.calls import invoke
from tests.train.planted import planted_store


def run(*arguments, status=0):
    return invoke(main, *arguments, status=status)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return planted_store(
        tmp_path_factory.mktemp("planted") / "s.h5", num_train=9, num_test=2, categories=("A", "B"), with_text=False
    )


@pytest.fixture(scope="module")
def made(store, tmp_path_factory):
    """Folder and output of a run with two seeds."""
    out = tmp_path_factory.mktemp("loo") / "run"
    call = ("heads", "--features", store, "--head", "i3d-mlp", "--epochs", 2, "--seeds", 2, "--set", "width=8")
    return out, run(*call, "--folds", "leave-one-out", "--out", out).output


def predictions(folder):
    with (folder / "predictions.csv").open() as file:
        return list(csv.DictReader(file))


def pooled(rows, category, seed):
    mine = [row for row in rows if (row["category"], row["seed"]) == (category, str(seed))]
    mine.sort(key=lambda row: row["video_id"])  # Models end in any order.
    return np.array([[float(row["true"]), float(row["predicted"])] for row in mine]).T


def test_figures_are_over_all_folds_of_a_seed(made):
    folder, said = made
    rows = predictions(folder)
    assert len(rows) == 2 * 9 * 2 and len({row["fold"] for row in rows}) == 9
    table = json.loads((folder / "metrics.json").read_text())["table"]
    for row in table[:2]:
        tests = [pooled(rows, row["category"], seed) for seed in (0, 1)]
        assert row["spearman"] == pytest.approx(fisher_mean(spearman(*test) for test in tests), abs=1e-6)
        assert row["mse"] == pytest.approx(np.mean([np.mean((a - b) ** 2) for a, b in tests]), rel=1e-4)
        mean = (tests[0][1] + tests[1][1]) / 2
        assert row["ensemble_spearman"] == pytest.approx(spearman(tests[0][0], mean), abs=1e-6)
        assert -1 <= row["floor_spearman"] <= 1 and row["floor_mse"] > 0 and row["num_videos"] == 9
        assert row["intervals"]["spearman"]["low"] <= row["spearman"] <= row["intervals"]["spearman"]["high"]
        assert row["best_on_test"] is None and row["validation_selected"] is None, "one video has no best epoch"
    assert table[2]["spearman"] == pytest.approx(fisher_mean(row["spearman"] for row in table[:2]), abs=1e-6)
    assert "n=9: few" in said and "over the scores of all folds at once" in said and "best_on_test" not in said
    assert "have no rank correlation" not in said and "undefined" not in said and "one test video, MSE" in said
    assert "leave-one-out" in run("compare", folder).stdout and "leave-one-out" in (folder / "README.md").read_text()


def test_guessing_the_mean_is_minus_one(store, tmp_path):
    """So that a reader knows what the note says."""
    true = np.arange(9.0)
    assert spearman(true, (true.sum() - true) / 8) == -1


def test_runs_are_compared_over_all_folds(made, store, tmp_path):
    folder, _ = made
    run("heads", "--features", store, "--head", "ridge", "--folds", "loo", "--out", tmp_path / "ridge")
    found = compare_pair(tmp_path / "ridge", folder)
    rhos = []
    for one in (tmp_path / "ridge", folder):
        rows = predictions(one)
        seeds = sorted({row["seed"] for row in rows})
        of_all = [[pooled(rows, name, seed) for seed in seeds] for name in "AB"]
        rhos.append(fisher_mean(spearman(own[0][0], np.mean([test[1] for test in own], axis=0)) for own in of_all))
    assert found.num_videos == 18 and found.spearman == pytest.approx(rhos[0] - rhos[1], abs=1e-6)
    run("evaluate", "--run", tmp_path / "ridge", "--features", store)
    run("report", tmp_path / "ridge")


def test_a_sweep_has_the_figures_of_the_run(made, store, tmp_path):
    folder, _ = made
    call = ("sweep", "--features", store, "--head", "i3d-mlp", "--set", "epochs=2", "--set", "width=8", "--seeds", 2)
    assert (
        "over the scores of all folds at once" in run(*call, "--folds", "leave-one-out", "--out", tmp_path / "s").stdout
    )
    expected = json.loads((folder / "metrics.json").read_text())["table"]
    for line, row in zip(read_sweep(tmp_path / "s")[0], expected, strict=True):
        assert line.spearman == pytest.approx(row["spearman"], abs=1e-6) and line.mse == pytest.approx(row["mse"])
        assert line.spearman_interval.low == pytest.approx(row["intervals"]["spearman"]["low"], abs=1e-4)


def test_what_is_refused(tmp_path):
    with pytest.raises(SettingsError, match="--folds groups"):
        Options(folds=LEAVE_ONE_OUT, group="skater")
    assert replace(Options(), folds=LEAVE_ONE_OUT).folds == LEAVE_ONE_OUT
    path = planted_store(tmp_path / "s.h5", num_train=2, num_test=2, with_text=False)
    said = run(
        "heads", "--features", path, "--head", "ridge", "--folds", "leave-one-out", "--out", tmp_path / "r", status=2
    )
    assert "2 training videos, and leave-one-out needs 3 or more" in said.output
    said = run("heads", "--features", path, "--head", "ridge", "--folds", 3, "--out", tmp_path / "r", status=2).output
    assert "leave-one-out" not in said, "it has too few videos for that too"
