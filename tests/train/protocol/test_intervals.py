"""Intervals of a run's table: those of its predictions, over the groups of its test videos."""

import csv
import json

import numpy as np
import pytest

from longtake.train.cli import main
from longtake.train.protocol.intervals import drawn_group
from longtake.train.resampling import ScoredVideos
from longtake.train.runs.records import read_metrics
from longtake.train.uncertainty import intervals
from tests.calls import invoke
from tests.train.planted import planted_store


def run(*arguments, status=0):
    return invoke(main, *arguments, status=status)


def scored(folder, group=None):
    """The tests of a run, from its predictions.csv."""
    tests = {}
    with (folder / "predictions.csv").open() as file:
        for row in csv.DictReader(file):
            tests.setdefault((row["category"], row["score"], row["seed"], row["fold"]), []).append(row)
    for (category, score, seed, fold), rows in tests.items():
        true, predicted = (np.array([float(row[name]) for row in rows]) for name in ("true", "predicted"))
        names = [row[group] for row in rows] if group else ()
        ids = [row["video_id"] for row in rows]
        yield ScoredVideos((category, score), ids, true, predicted, seed=int(seed), fold=fold, drawn=names)


@pytest.mark.parametrize("groups, folds", [(None, 0), ({"skater": 9}, 0), (None, 3)])
def test_intervals_of_a_table_are_those_of_its_predictions(tmp_path, groups, folds):
    store = planted_store(tmp_path / "s.h5", num_train=36, num_test=36, categories=("A", "B"), groups=groups)
    call = ("heads", "--features", store, "--head", "i3d-mlp", "--epochs", 2, "--seeds", 2, "--folds", folds)
    said = run(*call, "--out", tmp_path / "run").output
    found = read_metrics(tmp_path / "run")
    assert found.intervals_over == (found.group or "videos") == ("skater" if groups else "videos")
    assert ("the groups of test videos by skater" if groups else "over the test videos") in said
    expected = intervals(list(scored(tmp_path / "run", "group_skater" if groups else None)), ("spearman", "mse"))
    for row in found.rows:
        of_row = expected[row.category, row.score]
        for name in ("spearman", "mse"):
            # The numbers of predictions.csv are rounded.
            assert row.intervals[name].low == pytest.approx(of_row[name].low, abs=2e-3), name
            assert row.intervals[name].high == pytest.approx(of_row[name].high, rel=1e-2), name
            assert row.intervals[name].low < getattr(row, name) < row.intervals[name].high
        assert {"floor_spearman", "floor_mse", "ensemble_spearman", "ensemble_mse"} <= row.intervals.keys()
    assert [row.num_tested for row in found.rows] == [36, 36, 72]
    assert "[" not in run(*call[:-2], "--no-intervals", "--out", tmp_path / "none").stdout.splitlines()[-3]


def test_few_test_videos_are_marked_next_to_every_figure(tmp_path):
    store = planted_store(tmp_path / "s.h5", num_train=8, num_test=2)
    said = run("heads", "--features", store, "--head", "ridge", "--out", tmp_path / "run").stdout
    listed = run("list", "runs", "--runs", tmp_path).stdout + run("compare", tmp_path / "run").stdout
    tested = run("evaluate", "--run", tmp_path / "run", "--features", store).stdout
    run("report", tmp_path / "run")
    card, page = ((tmp_path / "run" / name).read_text() for name in ("README.md", "report.html"))
    assert said.count("n=2: few") == 1 and listed.count("n=2: few") == 2 and "n=2: few" in tested
    for text in (said, card, page, tested):
        assert "2 test videos: too few to rank methods" in text
    assert "1.000 (n=2: few)" in card and "1.000 (n=2: few)" in page
    (row,) = json.loads((tmp_path / "run" / "metrics.json").read_text())["table"]
    assert row["intervals"] == {} and row["num_videos"] == 2


def test_the_coarsest_group_is_drawn():
    names = {"skater": 20, "event": 8, "club": 7, "take": 40}
    groups = {name: np.array([f"{name}{row % of}" for row in range(40)], object) for name, of in names.items()}
    rows = np.arange(40)
    assert drawn_group(groups, rows) == "event", "seven are too few, and forty are the videos"
    assert drawn_group({"take": groups["take"], "club": groups["club"]}, rows) == ""
    groups["event"][8:] = ""
    assert drawn_group(groups, rows) == "skater", "videos of no event count as one each"
