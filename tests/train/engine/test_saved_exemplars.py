"""Exemplars in a checkpoint: a saved run compares as it did in training."""

import csv
import json

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from longtake.features.store import open_store
from longtake.train.cli import main
from longtake.train.runs.predict_store import predict_run
from tests.calls import invoke
from tests.train.planted import planted_store


def call(*arguments, status=0):
    return invoke(main, *arguments, status=status).output


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    path = tmp_path_factory.mktemp("exemplars") / "dives.h5"
    return planted_store(
        path, num_train=24, num_test=10, categories=("A", "B"), difficulties=(1.5, 2.0, 3.5), with_text=False
    )


@pytest.mark.parametrize("head", ["core", "tpt"])
def test_a_saved_run_compares_as_it_did(store, tmp_path, head):
    out = tmp_path / head
    call(
        "heads", "--features", store, "--head", head, "--score", "total", "--epochs", 3, "--no-floor", "--seeds", 2,
        "--set", "width=16", "--set", "exemplars=score_difficulty", "--set", "divide=difficulty", "--set", "voters=4", "--out", out,
    )  # fmt: skip
    with (out / "predictions.csv").open() as file:
        saved = {
            (row["category"], row["seed"], row["video_id"]): float(row["predicted"]) for row in csv.DictReader(file)
        }
    evaluated = json.loads(call("evaluate", "--run", out, "--features", store, "--json"))
    assert len(evaluated) == 4
    for row in evaluated:
        category, seed = row["checkpoint"][0], row["checkpoint"][-1]
        assert row["unmatched"] == 0 and len(row["predicted"]) == 10
        for video_id, predicted in row["predicted"].items():
            assert predicted == pytest.approx(saved[category, seed, video_id], abs=1e-3)
    for one in json.loads(
        call("predict", "--run", out, "--features", store, "--json", "--only", "A_030", "--only", "B_030")
    ):
        mine = [saved[one["category"], seed, one["video_id"]] for seed in "01"]
        assert one["predicted"] == pytest.approx(np.mean(mine), abs=1e-3) and not one["unmatched"]
    with open_store(store) as opened:
        for one in predict_run(out, opened, ["A_030"], running=True):
            assert one.timeline.running[-1] == pytest.approx(one.predicted, abs=1e-3)
    (path, *_) = sorted((out / "checkpoints").glob("*.safetensors"))
    with safe_open(path, "pt") as file:
        config, tensors = json.loads(file.metadata()["config"]), load_file(path)
    # At most the voters of three difficulties and of all.
    assert len(config["exemplars"]["video_ids"]) <= 4 * 4 and set(config["exemplars"]["categories"]) == {"A"}
    for name, exemplars, message in (
        ("without", None, "compares videos with exemplars, which this checkpoint does not have"),
        ("damaged", {**config["exemplars"], "everyone": [99]}, "its exemplars are damaged"),
        ("lost", {"video_ids": []}, "exemplars.categories is missing"),
    ):
        broken = tmp_path / name / "checkpoints" / path.name
        broken.parent.mkdir(parents=True)
        metadata = {"format": "longtake-head-1", "config": json.dumps({**config, "exemplars": exemplars})}
        save_file(tensors, broken, metadata)
        assert message in call("predict", "--run", tmp_path / name, "--features", store, status=2)
