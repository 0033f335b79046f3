"""Unified training: one model for several datasets, each with its own range."""

import csv
import json

import h5py
import numpy as np
import pytest

from longtake.features.labels import Labels
from longtake.train.cli import main
from longtake.train.errors import SettingsError
from longtake.train.metrics import fisher_mean, measure
from longtake.train.protocol.unified import overlaps
from longtake.train.runs.fit import fit
from tests.calls import invoke
from tests.features.raw import as_version_1
from tests.train.planted import planted_store


def run(*arguments, status=0):
    return invoke(main, *arguments, status=status)


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stores")
    common = {"world": 7, "dim": 24, "noise": 0.5}
    return (
        planted_store(folder / "gym.h5", num_train=48, num_test=24, dataset="gym", categories=("A", "B"), seed=1, **common),
        planted_store(
            folder / "ice.h5", num_train=12, num_test=24, dataset="ice", scores=("tes",), top=130, categories=("",), seed=2,
            **common,
        ),
    )  # fmt: skip


SMALL = ("--head", "gdlt", "--set", "width=32", "--set", "mse_weight=10", "--epochs", 12)


def test_one_model_learns_all_and_is_tested_on_each(tmp_path, stores):
    gym, ice = stores
    out = tmp_path / "run"
    done = run("heads", "--features", gym, "--features", ice, *SMALL, "--out", out)
    metrics = json.loads((out / "metrics.json").read_text())
    table = {row["category"]: row for row in metrics["table"]}
    assert list(table) == ["gym A", "gym B", "gym", "ice", "average"]
    assert metrics["dataset"] == "gym+ice" and table["ice"]["score"] == "tes" and table["gym A"]["score"] == "total"
    assert min(table["gym"]["spearman"], table["ice"]["spearman"]) > 0.8, done.output
    # Datasets weigh alike in the average, however many categories they have.
    both = [table["gym"]["spearman"], table["ice"]["spearman"]]
    assert table["average"]["spearman"] == pytest.approx(fisher_mean(both))
    assert table["average"]["mse"] == pytest.approx((table["gym"]["mse"] + table["ice"]["mse"]) / 2)
    assert len(list((out / "checkpoints").iterdir())) == metrics["num_models"] == metrics["num_done"] == 1, "one model"
    # Each dataset is measured in its own units, which predictions.csv holds as well.
    with (out / "predictions.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["category"] == "ice"]
    true, predicted = (np.array([float(row[name]) for row in rows]) for name in ("true", "predicted"))
    assert true.max() > 60 and len(rows) == 24
    assert table["ice"]["mse"] == pytest.approx(measure(true, predicted, 1).mse, rel=1e-3)
    # It gains from the other dataset: twelve videos alone teach less.
    alone = tmp_path / "alone"
    run("heads", "--features", ice, *SMALL, "--out", alone)
    (own,) = json.loads((alone / "metrics.json").read_text())["table"]
    assert table["ice"]["mse"] < own["mse"]


def test_a_unified_head_is_used_on_each_store(tmp_path, stores):
    gym, ice = stores
    out = tmp_path / "run"
    run("heads", "--features", gym, "--features", ice, *SMALL[:-1], 2, "--out", out)
    with (out / "predictions.csv").open() as file:
        said = {(row["category"], row["video_id"]): float(row["predicted"]) for row in csv.DictReader(file)}
    for store, names in ((gym, ["unified-seed0 A", "unified-seed0 B"]), (ice, ["unified-seed0"])):
        rows = json.loads(run("evaluate", "--run", out, "--features", store, "--json").output)
        assert [row["checkpoint"] for row in rows] == names
        for row in rows:
            category = f"gym {row['checkpoint'][-1]}" if store == gym else "ice"
            for video_id, value in row["predicted"].items():
                assert value == pytest.approx(said[category, video_id], abs=1e-3)
    other = planted_store(tmp_path / "other.h5", num_train=4, num_test=4, dim=24, dataset="other", seed=1)
    done = run("evaluate", "--run", out, "--features", other, status=2)
    assert "knows the scales of gym, ice, not of 'other'" in done.output


def test_predictions_of_datasets_do_not_mix(tmp_path, stores):
    found = fit(stores, out=tmp_path / "run", head="i3d-mlp", epochs=1)
    assert set(found.predictions) == {("gym A", "total"), ("gym B", "total"), ("ice", "tes")}


def test_folds_are_cut_in_every_dataset(tmp_path, stores):
    out = tmp_path / "run"
    call = [part for store in stores for part in ("--features", store)]
    run("heads", *call, *SMALL[:-1], 1, "--folds", 3, "--control", "--no-floor", "--out", out)
    with (out / "predictions.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["control"] == "0"]
    tested = [(row["category"], row["video_id"]) for row in rows]
    assert len(tested) == len(set(tested)) == 48 + 48 + 12


def test_what_does_not_mix(tmp_path, stores):
    gym, ice = stores
    wide = planted_store(tmp_path / "wide.h5", num_train=4, num_test=4, dim=25, dataset="wide")
    for call, message in (
        (("--features", gym, "--features", gym), "`features merge` joins stores of one"),
        (("--features", gym, "--features", wide), "dim: 24 and 25"),
        (("--features", gym, "--features", ice, "--score", "tes"), "gym.h5 has none of the scores tes"),
        (("--features", gym, "--features", ice, "--score", "tess"), "did you mean tes?"),
        (("--features", gym, "--features", ice, "--category", "C"), "no store has a category 'C'"),
        (("--features", gym, "--features", ice, "--set", "validation=0.2"), "unified training has several"),
    ):
        done = run("heads", *call, *SMALL, "--out", tmp_path / "no", status=2)
        assert message in done.output
        assert not (tmp_path / "no").exists()


def labels(ids, splits, names, scores):
    return Labels(tuple(ids), tuple(splits), ("",) * len(ids), tuple(names), np.array(scores, float))


class Labelled:
    def __init__(self, dataset, labels):
        self.dataset, self.labels = dataset, labels


def test_performances_that_two_datasets_share():
    nan = float("nan")
    # Made-up scores: a and c are one performance each, c's programme components factored by 1.6; b shares one score only.
    first = Labelled("fs", labels("abcd", ["train", "train", "test", "test"], ("tes", "pcs"),
                                  [(61.23, 50.5), (70.1, 44.0), (33.33, 25.0), (80.0, 40.0)]))  # fmt: skip
    second = Labelled("fine", labels("wxyz", ["test", "test", "test", "train"],
                                     ("short_tes", "short_pcs", "free_tes", "free_pcs"),
                                     [(61.23, 50.5, nan, nan), (70.1, 45.1, nan, nan), (nan, nan, 33.33, 40.0), (1, 2, nan, nan)]))  # fmt: skip
    (found,) = overlaps([first, second])
    assert "2 videos of fs and fine" in found and "(a = w, c = y, ...)" in found and "1 of them teach" in found
    assert overlaps([first, Labelled("one", labels("a", ["train"], ("total",), [(61.23,)]))]) == []


def test_a_shared_performance_is_said(tmp_path):
    call = []
    for name, scores in (("one", ("tes", "pcs")), ("two", ("tes", "pcs")), ("three", ("tes",))):
        path = planted_store(tmp_path / f"{name}.h5", num_train=6, num_test=4, dataset=name, scores=scores)
        call += ["--features", path]
    done = run("heads", *call, *SMALL[:-1], 1, "--out", tmp_path / "run")
    assert "10 videos of one and two have the same scores" in done.stderr
    assert done.stderr.count("warning") == 1, "one score in common is not enough"


def test_presets(tmp_path, stores):
    gym, _ = stores
    done = run("heads", "--features", gym, "--head", "gdlt", "--preset", "tune", "--out", tmp_path / "no", status=2)
    assert "no preset is called 'tune'; did you mean tuned?" in done.output
    call = ("--head", "gdlt", "--preset", "tuned", "--set", "width=16", "--epochs", 2, "--category", "A")
    run("heads", "--features", gym, *call, "--out", tmp_path / "run")
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    settings = config["settings"]["A"]["train"]
    assert config["preset"] == "tuned" and settings["sampling"] == "spread" and settings["optimizer"] == "adamw"
    assert settings["epochs"] == 2, "the call overrides a preset"


def test_datasets_with_other_numbers_of_folds(tmp_path):
    """Folds of one would be left out, as far as the other has none."""
    call = []
    for name in ("split", "folded"):
        path = planted_store(tmp_path / f"{name}.h5", num_train=8, num_test=4, dataset=name)
        call += ["--features", path]
    with h5py.File(as_version_1(path), "r+") as file:
        del file["labels/split"]
        file["labels/split"] = np.array([f"fold{number % 4}".encode() for number in range(12)])
    done = run("heads", *call, *SMALL[:-1], 1, "--out", tmp_path / "no", status=2)
    assert "split A one split into train and test, folded A 4 folds of its own" in done.output
    assert "--folds N" in done.output and not (tmp_path / "no").exists()


def test_a_group_in_two_categories_is_refused(tmp_path):
    """Folds are cut in each category by itself, and one model learns from all."""
    made = {"num_train": 12, "num_test": 6, "dim": 12, "world": 0, "groups": {"skater": 5}}
    stores = [
        planted_store(tmp_path / f"{n}.h5", dataset=n, seed=k, categories=names, **made)
        for k, (n, names) in enumerate((("one", ("A", "B")), ("two", ("A",))))
    ]
    options = {"out": tmp_path / "run", "head": "i3d-mlp", "folds": 2, "group": "skater", "epochs": 1}
    with pytest.raises(SettingsError, match="is in several categories of one"):
        fit(stores, **options)
    single = planted_store(tmp_path / "three.h5", dataset="three", seed=2, **made)
    assert fit([single, stores[1]], **options).predictions, "skaters of two datasets are different ones"
