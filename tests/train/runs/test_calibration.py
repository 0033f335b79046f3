"""Intervals of `train predict`: from a run's own test videos, with the coverage they have, and heads that abstain."""

import csv
import json
import math
import shutil

import pytest

import longtake
from longtake.train.cli import main
from longtake.train.runs import predict_store
from longtake.train.runs.calibration import ImpossibleScore, RunCalibration
from tests.calls import invoke
from tests.train.planted import planted_store


def run(*arguments, status=0):
    return invoke(main, *arguments, status=status)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Two runs of one store, with folds and without, and a store of new videos of the same world."""
    folder = tmp_path_factory.mktemp("calibration")
    facts = {"noise": 2.0, "world": 1, "with_text": False}
    store = planted_store(folder / "s.h5", num_train=60, num_test=40, **facts)
    new = planted_store(folder / "new.h5", num_train=0, num_test=120, seed=5, **facts)
    call = ("heads", "--features", store, "--head", "ridge", "--quiet", "--out")
    run(*call, folder / "folds", "--folds", 3)
    run(*call, folder / "split")
    return folder, new


@pytest.mark.parametrize("name", ["folds", "split"])
def test_intervals_hold_the_scores_of_new_videos(trained, name):
    folder, new = trained
    with longtake.open_store(new) as store:
        true = dict(zip(store.labels.video_ids, store.labels.scores[:, 0]))
    found = json.loads(run("predict", "--run", folder / name, "--features", new, "--interval", 0.8, "--json").output)
    held = [one["bounds"]["low"] <= true[one["video_id"]] <= one["bounds"]["high"] for one in found]
    assert len(held) == 120 and 0.68 < sum(held) / 120 < 0.95
    assert all(one["bounds"]["low"] < one["predicted"] < one["bounds"]["high"] for one in found)
    assert {one["bounds"]["level"] for one in found} == {0.8} and abs(found[0]["bounds"]["coverage"] - 0.8) < 0.1
    out = run("predict", "--run", folder / name, "--features", new, "--only", "A_001").output
    assert "total" in out and "] over 3 heads" not in out
    assert "is to hold the judges' score of 90% of such videos; measured on the run's test videos: " in out


def test_heads_abstain_from_wide_intervals(trained, tmp_path):
    folder, new = trained
    call = ("predict", "--run", folder / "folds", "--features", new)
    every = json.loads(run(*call, "--json").output)
    widths = [one["bounds"]["high"] - one["bounds"]["low"] for one in every]
    limit = sum(widths) / len(widths)
    found = json.loads(run(*call, "--abstain-above", limit, "--json", "--csv", tmp_path / "p.csv").output)
    assert [one["predicted"] is None for one in found] == [width > limit for width in widths] and max(widths) > limit
    with (tmp_path / "p.csv").open() as file:
        rows = list(csv.DictReader(file))
    for one, row in zip(found, rows):
        assert (one["predicted"] is None) == bool(one["abstained"]) == (row["predicted"] == "")
        assert row["abstained"] == one["abstained"] and float(row["low"]) == pytest.approx(
            one["bounds"]["low"], abs=1e-5
        )
    out = run(*call, "--abstain-above", 0.5, "--only", "A_001").output
    assert "A_001: A total no score: the interval [" in out and "wide, more than 0.5" in out
    (python,) = longtake.predict(folder / "folds", features=new, only=["A_001"], abstain_above=0.5)
    assert math.isnan(python.predicted) and "abstained" in repr(python)


def test_a_run_without_enough_test_videos_has_no_intervals_and_says_why(trained, tmp_path):
    folder, new = trained
    few = tmp_path / "few"
    shutil.copytree(folder / "split", few)
    lines = (few / "predictions.csv").read_text().splitlines()
    (few / "predictions.csv").write_text("\n".join(lines[:9]) + "\n")
    call = ("predict", "--run", few, "--features", new, "--only", "A_001")
    assert "no intervals: 8 test videos of A total are too few for intervals of 90%, which need 9" in run(*call).output
    assert "train with --folds 5 to get intervals" in run(*call, "--abstain-above", 3, status=2).output
    (few / "predictions.csv").unlink()
    assert "keeps no test scores of its heads for A total" in run(*call, "--interval", 0.9, status=2).output
    assert "no intervals: " in run(*call).output


def test_an_impossible_score_is_missing_and_says_why(trained, monkeypatch, tmp_path):
    folder, new = trained
    found = RunCalibration(folder / "split", 0.9, False)
    for score in (-40.0, 70.0):
        with pytest.raises(
            ImpossibleScore, match="from 0 to 25, and it would be .*unlike those that the heads learnt from"
        ):
            found.bounds("planted", "A", "total", {"": score}, (0.0, 25.0))
    bounds, why = found.bounds("planted", "A", "total", {"": -0.1}, (0.0, 25.0))
    assert bounds.low == 0 < bounds.high and not why
    monkeypatch.setattr(predict_store, "_by_fold", lambda votes: ({"": -40.0}, (0.0, 25.0)))
    call = (
        "predict",
        "--run",
        folder / "split",
        "--features",
        new,
        "--only",
        "A_001",
        "--csv",
        tmp_path / "scores.csv",
    )
    assert "A_001: A total no score: scores can be from 0 to 25, and it would be -40.00" in run(*call).output
    (row,) = csv.DictReader((tmp_path / "scores.csv").open())
    assert row["predicted"] == "" and row["low"] == "" and "unlike" in row["abstained"]
