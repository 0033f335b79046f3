"""A small laboratory for the tests of its pages. All numbers are SIMULATED."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from longtake.features.labels import Labels
from longtake.features.store import write_store
from longtake.features.types import VideoFeatures, VideoRecord
from tests.features.fakes import header, plan, video

EVIL = '<img src=x onerror="document.title=1">\u202e'


def write_run(folder, head="ridge", dataset="gym", ids=("a", "b"), spearman=0.5, floor_mse=None):
    """A run's files as `train heads` writes them."""
    folder.mkdir(parents=True)
    numbers = ("spearman_deviation", "relative_l2", "ensemble_spearman", "ensemble_mse", "best_on_test", "validation_selected",
               "floor_spearman", "floor_mse", "control_spearman", "aiou_50", "aiou_75", "seconds_per_epoch")  # fmt: skip
    row = {
        "category": "Ball",
        "score": "total",
        "num_train": 4,
        "num_test": len(ids),
        "spearman": spearman,
        "mse": 2.0,
        **dict.fromkeys(numbers),
        "floor_mse": floor_mse,
    }
    row["intervals"] = {"spearman": {"low": 0.1, "high": 0.9, "level": 0.95}} if spearman is not None else {}
    test = {"spearman": spearman, "mse": 2.0, "num_videos": len(ids)}
    model = {"category": "Ball", "score": "total", "seed": 0, "control": False, "test": test}
    metrics = {
        "head": head,
        "dataset": dataset,
        "random_weights": False,
        "table": [row],
        "models": [model],
        "num_models": 1,
        "num_done": 1,
    }
    options = {"backbone": None, "categories": [], "seeds": 1, "folds": 0, "first_seed": 0, "overrides": {}}
    config = {
        "head": head, "dataset": dataset, "preset": "published", "options": options, "settings": {"Ball": {"head": {"alpha": EVIL}}},
        "features": header("vst").to_dict(), "recipe_id": "r" * 16, "data_id": "d", "run_id": "i", "text": None, "dataset_title": None, "dataset_licence": None,
        "dataset_citation": None, "weights_licence": None, "versions": {},
    }  # fmt: skip
    (folder / "metrics.json").write_text(json.dumps(metrics))
    (folder / "config.json").write_text(json.dumps(config))
    with (folder / "predictions.csv").open("w", newline="") as file:
        lines = csv.writer(file)
        lines.writerow(("video_id", "category", "score", "seed", "fold", "control", "true", "predicted"))
        for number, video_id in enumerate(ids):
            for seed in (0, 1):
                lines.writerow((video_id, "Ball", "total", seed, "", 0, number, number + seed))
            lines.writerow((video_id, "Ball", "total", 0, "", 1, number, 99))
    return folder


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LONGTAKE_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    lab = tmp_path_factory.mktemp("laboratory") / "lab"
    ids = tuple("abcdefgh")
    table = Labels(ids, ("train",) * 4 + ("test",) * 4, (EVIL,) * 8, ("total",), np.arange(8.0)[:, None])

    def stream(name, of):
        made = [video(one, 3) for one in of]
        named = [
            VideoFeatures(
                VideoRecord(v.record.video_id, source_name=f"{v.record.video_id}.mp4", duration_seconds=3.0),
                v.features,
                v.start_seconds,
                v.end_seconds,
            )
            for v in made
        ]
        return plan(header(name), named)

    write_store(
        lab / "gym.h5", dataset="gym", card=None, labels=table, streams=[stream("vst", ids), stream("ast", ids[:6])]
    )
    write_store(lab / "other.zarr", dataset=EVIL, card=None, labels=table, streams=[stream("vst", ids)])
    (lab / "broken.h5").write_text("no store")
    write_run(lab / "runs" / "one")
    write_run(lab / "runs" / "two", head="kernel", spearman=0.7, floor_mse=8.0)
    write_run(lab / "runs" / "undefined", head=EVIL, spearman=None)
    write_run(lab / "runs" / "damaged")
    (lab / "runs" / "damaged" / "metrics.json").write_text("{")
    cell = write_run(lab / "sweep" / "ridge-vst-seed0")
    (lab / "sweep" / "sweep.json").write_text("{}")
    (cell / "done.json").write_text(
        json.dumps({"cell": {"head": "ridge", "backbone": "vst", "category": "", "seed": 0}, "random_weights": False})
    )
    (lab / "empty-sweep").mkdir()
    (lab / "empty-sweep" / "sweep.json").write_text("{}")
    figure = {"value": 0.6, "low": 0.4, "high": 0.8}
    rows = [
        {"name": "ridge", "head": "ridge", "features": "vst", "state": "done", "num_seeds": 1, "figures": {"total": {"spearman": figure}}, "rank": 1, "rank_low": 1, "rank_high": 2},
        {"name": EVIL, "head": "x", "features": "vst", "state": "failed", "reason": "no memory left"},
    ]  # fmt: skip
    board = {
        "dataset": "gym",
        "split": "official",
        "about": "own split",
        "labels": "l",
        "num_videos": 4,
        "columns": ["total"],
        "metrics": ["spearman"],
        "rows": rows,
    }
    (lab / "bench").mkdir()
    (lab / "bench" / "leaderboard.json").write_text(
        json.dumps({"title": "A bench", "about": "of tests", "versions": {}, "tables": [board]})
    )
    return lab


@pytest.fixture
def lab(made, tmp_path):
    """A copy that a test may change."""
    return Path(shutil.copytree(made, tmp_path / "lab"))
