"""Rows of the table: averages over seeds, folds and categories."""

import csv
import json

import h5py
import numpy as np
import pytest

from longtake.train.cli import main
from longtake.train.metrics import fisher_mean, spearman
from longtake.train.runs.folder import BEST_ON_TEST
from tests.calls import invoke
from tests.features.raw import as_version_1
from tests.train.planted import planted_store


def run(*arguments, status=0):
    return invoke(main, *arguments, status=status)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return planted_store(
        tmp_path_factory.mktemp("planted") / "planted.h5", categories=("A", "B"), num_train=16, num_test=8
    )


@pytest.mark.parametrize("seeds, folds", [(3, 0), (3, 2), (1, 2)])
def test_the_mean_of_seeds_is_that_of_the_predictions(tmp_path, store, seeds, folds):
    """As a reader of predictions.csv would have it: one score a video and fold, measured, then averaged over folds and categories."""
    call = ("heads", "--features", store, "--head", "i3d-mlp", "--epochs", 3, "--lr", 0.01, "--control", "--no-floor")
    said = run(*call, "--seeds", seeds, "--folds", folds, "--out", tmp_path / "run").output
    table = json.loads((tmp_path / "run" / "metrics.json").read_text())["table"]
    assert ("mean of seeds" in said) == (seeds > 1)
    if seeds == 1:
        assert all(row["ensemble_spearman"] is row["ensemble_mse"] is None for row in table)
        return
    with (tmp_path / "run" / "predictions.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["control"] == "0"]
    figures = []
    for category in "AB":
        tests = []
        for fold in sorted({row["fold"] for row in rows}):
            videos = {}
            for row in rows:
                if (row["category"], row["fold"]) == (category, fold):
                    videos.setdefault((row["video_id"], float(row["true"])), []).append(float(row["predicted"]))
            assert {len(one) for one in videos.values()} == {seeds} and len(videos) == 8
            true, mean = np.array([true for _, true in videos]), np.array([np.mean(one) for one in videos.values()])
            tests.append((spearman(true, mean), np.mean((mean - true) ** 2)))
        figures.append((fisher_mean(rho for rho, _ in tests), np.mean([mse for _, mse in tests])))
    figures.append((fisher_mean(rho for rho, _ in figures), np.mean([mse for _, mse in figures])))
    assert len(table) == 3
    for row, (rho, mse) in zip(table, figures):
        assert row["ensemble_spearman"] == pytest.approx(rho, abs=1e-6)
        assert row["ensemble_mse"] == pytest.approx(mse, rel=1e-4)
        assert row["ensemble_mse"] < row["mse"], "whose errors differ, err less together"
        assert f"{rho:.3f}" in said and f"{mse:.2f}" in said


def test_an_undefined_correlation_is_missing_everywhere(tmp_path):
    """The test videos of B have one score: nothing to rank."""
    path = planted_store(tmp_path / "s.h5", num_train=6, num_test=4, categories=("A", "B"))
    with h5py.File(as_version_1(path), "r+") as file:
        ids = [name.decode() for name in file["labels/video_id"][:]]
        splits = [name.decode() for name in file["labels/split"][:]]
        for row, (video_id, split) in enumerate(zip(ids, splits)):
            if video_id.startswith("B") and split == "test":
                file["labels/scores"][row] = 5.0
    call = ("--features", path, "--head", "i3d-mlp", "--epochs", 2, "--set", "width=8", "--seeds", 2)
    done = run("heads", *call, "--control", "--out", tmp_path / "run", "--verbose")
    assert "Spearman undefined" in done.stderr and "2 of 4 tests have no rank correlation" in done.stdout
    assert " nan" not in done.output
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    a, b, average = metrics["table"]
    assert a["spearman"] is not None and b["mse"] is not None
    for name in ("spearman", "spearman_deviation", "ensemble_spearman", "floor_spearman", "control_spearman"):
        assert b[name] is average[name] is None, name
    assert [model["test"]["spearman"] is None for model in metrics["models"]] == [False] * 4 + [True] * 4
    assert all(model[BEST_ON_TEST] is None for model in metrics["models"][4:])
    with (tmp_path / "run" / "epochs.csv").open() as file:
        assert all((row["test_spearman"] == "") == (row["category"] == "B") for row in csv.DictReader(file))
    card = (tmp_path / "run" / "README.md").read_text()
    (line,) = [line for line in card.splitlines() if line.startswith("| B ")]
    assert "2 of 4 tests have no rank correlation" in card and line.split("|")[4].strip() == "-"
    run("report", tmp_path / "run", "--features", path)
    page = (tmp_path / "run" / "report.html").read_text()
    assert "2 of 4 tests have no rank correlation" in page and ">nan<" not in page
    said = run("evaluate", "--run", tmp_path / "run", "--features", path).output
    assert said.count("undefined") == 2 and "nan" not in said
    said = run("compare", tmp_path / "run", tmp_path / "run", "--test").output
    assert "rho undefined; squared error x 1.00" in said and "nan" not in said


def test_ranks_inside_groups_are_of_all_folds_together(tmp_path):
    """As a reader of predictions.csv would have it."""
    path = planted_store(
        tmp_path / "g.h5", num_train=40, num_test=8, groups={"skater": 13, "event": 4}, scores=("a", "b")
    )
    run("heads", "--features", path, "--head", "ridge", "--folds", 4, "--group", "skater", "--out", tmp_path / "run")
    metrics = json.loads((tmp_path / "run/metrics.json").read_text())
    with (tmp_path / "run/predictions.csv").open() as file:
        lines = [line for line in csv.DictReader(file) if line["score"] == "a"]
    events = {}
    for line in lines:
        events.setdefault(line["group_event"], []).append((float(line["true"]), float(line["predicted"])))
    expected = np.average(
        [spearman(*map(np.array, zip(*pairs))) for pairs in events.values()], weights=[*map(len, events.values())]
    )
    row = metrics["table"][0]
    assert row["within"] == "event" and (row["within_num_groups"], row["within_num_videos"]) == (4, 40)
    assert row["within_spearman"] == pytest.approx(expected, abs=1e-6)
    assert row["no_video_spearman"] < row["spearman"] and row["no_video_mse"] > row["mse"]
    low, high = row["intervals"]["within_spearman"].values()
    assert low < expected < high
    assert set(metrics["models"][0]["metadata"]) >= {"spearman", "mse"}
    whole = metrics["table"][2]
    assert whole["within_spearman"] == pytest.approx(fisher_mean([r["within_spearman"] for r in metrics["table"][:2]]))
    assert "rho inside groups" in run("compare", tmp_path / "run").output
    again = run(
        "heads", "--features", path, "--head", "ridge", "--within", "skater", "--out", tmp_path / "other"
    ).output
    assert "no video" in again
    assert (
        "no video has a group 'club'"
        in run("heads", "--features", path, "--within", "club", "--out", tmp_path / "no", status=2).output
    )
    assert "within event" in run("evaluate", "--run", tmp_path / "run", "--features", path, "--split", "all").output
