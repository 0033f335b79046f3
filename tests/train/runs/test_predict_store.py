"""`train predict`: the numbers of evaluation, without needing labels, and where the head looked."""

import csv
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from longtake.features.content import StreamItem, StreamPlan
from longtake.features.labels import Labels
from longtake.features.store import open_store, write_store
from longtake.features.types import VideoFeatures, VideoRecord
from longtake.train.cli import main
from longtake.train.data.batches import BatchMaker
from longtake.train.data.dataset import FeatureSet
from longtake.train.errors import DataError
from longtake.train.heads.base import Needs
from longtake.train.runs import predict as predicting
from longtake.train.runs import predict_files as predicting_files
from longtake.train.runs.evaluate import load_run
from longtake.train.runs.predict_store import predict_run
from tests.calls import invoke
from tests.train.planted import planted_store

ROOT = Path(__file__).resolve().parents[3]


def run(*arguments, status=0):
    return invoke(main, *arguments, status=status)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("predict")
    store = planted_store(folder / "s.h5", num_train=24, num_test=8, categories=("A", "B"))
    # In bfloat16, scores differ by the size of the batch in their fifth digit.
    call = ("--features", store, "--epochs", 3, "--seeds", 2, "--no-floor", "--set", "precision=float32")
    run("heads", *call, "--head", "gdlt", "--set", "width=16", "--out", folder / "gdlt")
    run("heads", *call, "--head", "gslm", "--set", "scores=11", "--out", folder / "gslm")
    run("heads", "--features", store, "--head", "ridge", "--out", folder / "ridge")
    return folder, store


@pytest.mark.parametrize("head, grades", [("gdlt", 4), ("gslm", 4), ("ridge", 0)])
def test_scores_are_those_of_evaluation(trained, tmp_path, head, grades):
    folder, store = trained
    found = json.loads(run("predict", "--run", folder / head, "--features", store, "--json").output)
    assert len(found) == 64 and {one["category"] for one in found} == {"A", "B"}
    evaluated = json.loads(
        run("evaluate", "--run", folder / head, "--features", store, "--split", "all", "--json").output
    )
    seeds = 1 if head == "ridge" else 2
    for one in found:
        rows = [row["predicted"][one["video_id"]] for row in evaluated if row["checkpoint"].startswith(one["category"])]
        assert len(rows) == one["num_heads"] == seeds
        assert one["predicted"] == pytest.approx(np.mean(rows), abs=1e-3)
        assert (one["deviation"] is None) == (seeds == 1)
        assert len(one["grades"]) == grades and (not grades or sum(one["grades"]) == pytest.approx(1, abs=1e-5))
        assert len(one["moments"]) == (3 if grades else 0)
    out = run(
        "predict", "--run", folder / head, "--features", store, "--only", "A_001", "--csv", tmp_path / "p.csv"
    ).output
    assert out.startswith("A_001: A total ") and ("looked at most" in out) == bool(grades)
    with (tmp_path / "p.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert row["video_id"] == "A_001" and float(row["predicted"]) == pytest.approx(
        next(one["predicted"] for one in found if one["video_id"] == "A_001"), abs=1e-5
    )


def test_attention_is_over_the_clips_of_the_video(trained):
    folder, store = trained
    found = json.loads(
        run("predict", "--run", folder / "gdlt", "--features", store, "--only", "B_003", "--json").output
    )
    with open_store(store) as opened:
        video = opened.stream().read("B_003")
    shares = [moment["share"] for moment in found[0]["moments"]]
    assert shares == sorted(shares, reverse=True) and 0 < sum(shares) <= 1
    for moment in found[0]["moments"]:
        assert moment["start_seconds"] in video.start_seconds and moment["end_seconds"] in video.end_seconds


def write_unlabelled(path, store):
    """The first video of a store as `new`, of which nothing else is known."""
    with open_store(store) as opened:
        stream = opened.stream()
        video = stream.read("A_000")
        fresh = VideoFeatures(VideoRecord("new"), video.features, video.start_seconds, video.end_seconds)
        plan = StreamPlan(stream.header, np.dtype("f4"), [StreamItem(fresh.record, len(fresh.features), lambda: fresh)])
    labels = Labels(("new",), ("",), ("",), (), np.zeros((1, 0)))
    write_store(path, dataset="planted", card=None, labels=labels, streams=[plan])


def test_videos_without_labels(trained, tmp_path):
    folder, store = trained
    write_unlabelled(tmp_path / "new.h5", store)
    call = ("predict", "--run", folder / "gdlt", "--features", tmp_path / "new.h5")
    assert "Name the heads with --category" in run(*call, status=2).output
    assert "did you mean" not in run(*call, "--category", "zzz", status=2).output
    (one,) = json.loads(run(*call, "--category", "A", "--json").output)
    known = json.loads(
        run("predict", "--run", folder / "gdlt", "--features", store, "--only", "A_000", "--json").output
    )
    assert one["predicted"] == pytest.approx(known[0]["predicted"], abs=1e-5) and one["category"] == "A"
    assert (
        "no features of A_999"
        in run("predict", "--run", folder / "gdlt", "--features", store, "--only", "A_999", status=2).output
    )


def test_no_head_scores_videos_of_another_category(trained, tmp_path):
    folder, store = trained
    call = ("predict", "--run", folder / "ridge", "--features", store, "--json")
    named = json.loads(run(*call, "--category", "A").output)
    assert len(named) == 32 and all(one["video_id"].startswith("A") for one in named)
    said = run(*call, "--category", "A", "--only", "A_000", "--only", "B_000", status=2).output
    assert "has no head for B_000 (B): their categories are not among A. `features relabel`" in said
    run("heads", "--features", store, "--head", "ridge", "--category", "A", "--no-floor", "--out", tmp_path / "a")
    said = run(*call[:2], tmp_path / "a", *call[3:], "--only", "A_000", "--only", "B_000", status=2).output
    assert "has no head for B_000 (B)" in said
    said = run("predict", "--run", folder / "ridge", "--video", "x.mp4", "--only", "x", status=2).output
    assert "--only goes with --features" in said
    with pytest.raises(DataError, match="only= goes with features="):
        predicting.predict(folder / "ridge", video="x.mp4", only=["x"])


def test_which_heads_are_for_a_video_file(trained, tmp_path, monkeypatch):
    """A file has no category: where the run has heads for several, the call names one, before any feature is made."""
    folder, store = trained
    made = []

    def extract_like(headers, videos, path, **choices):
        made.extend(video.name for video in videos)
        write_unlabelled(path, store)
        return {videos[0]: "new"}, {}

    (tmp_path / "file.mp4").touch()

    monkeypatch.setattr(predicting_files, "from_extract", lambda *_: extract_like)
    call = ("predict", "--video", tmp_path / "file.mp4", "--json", "--run")
    said = run(*call, folder / "ridge", status=2).output
    assert f"which heads are for {tmp_path / 'file.mp4'}? Say --category, one of A, B" in said
    assert (
        "no heads for category 'C' (there are A, B)" in run(*call, folder / "ridge", "--category", "C", status=2).output
    )
    assert not made
    (named,) = json.loads(run(*call, folder / "ridge", "--category", "B").output)
    alone = tmp_path / "alone"
    run("heads", "--features", store, "--head", "ridge", "--category", "B", "--no-floor", "--out", alone)
    assert json.loads(run(*call, alone).output) == [named], "of one there is nothing to ask"
    assert named["category"] == "B" and made == ["file.mp4"] * 2


def test_another_recipe_is_refused(trained, tmp_path):
    folder, _ = trained
    other = planted_store(tmp_path / "o.h5", num_train=4, num_test=4, weights="others")
    done = run("predict", "--run", folder / "gdlt", "--features", other, status=2)
    assert "weights: trained on 'planted', here 'others'" in done.output


@pytest.mark.parametrize("head, settings", [("gdlt", ("width=16",)), ("i3d-mlp", ()), ("core", ("voters=3",))])
def test_padding_that_is_seen_is_that_of_one_video(tmp_path, head, settings):
    """As published: without a mask, videos are tested one by one."""
    store = planted_store(tmp_path / "s.h5", num_train=24, num_test=12, num_clips=(8, 14))
    out = tmp_path / "run"
    call = [word for setting in ("mask=false", *settings) for word in ("--set", setting)]
    run("heads", "--features", store, "--head", head, *call, "--epochs", 2, "--no-floor", "--out", out)
    with (out / "predictions.csv").open() as file:
        said = {row["video_id"]: float(row["predicted"]) for row in csv.DictReader(file)}
    found = json.loads(run("predict", "--run", out, "--features", store, "--json").output)
    (evaluated,) = json.loads(run("evaluate", "--run", out, "--features", store, "--json").output)
    by_id = {one["video_id"]: one["predicted"] for one in found}
    for video_id, predicted in said.items():
        assert predicted == pytest.approx(by_id[video_id], abs=1e-4)
        assert predicted == pytest.approx(evaluated["predicted"][video_id], abs=1e-4)
    with open_store(store) as opened:
        ((model, config, maker),) = load_run(out, opened)
        (one,) = predict_run(out, opened, ["A_030"], running=True)
    (row,) = np.flatnonzero(np.array(maker.data.video_ids) == "A_030")
    for count in (1, 5, maker.data.num_clips[row]):
        batch = maker.batch(np.array([row]), np.arange(count)[None], np.ones((1, count), bool), np.zeros(1))
        with torch.no_grad():
            alone = model(maker.with_voters(batch, config.window, "whole")).score01.double().numpy()
        assert one.timeline.running[count - 1] == pytest.approx(config.score.to_units(alone)[0], abs=1e-4)


def test_the_last_score_so_far_is_that_of_the_whole(tmp_path):
    """Also where padding up to the window is seen."""
    store = planted_store(tmp_path / "s.h5", num_train=12, num_test=4, num_clips=(8, 14))
    out, settings = tmp_path / "run", ("width=16", "mask=false", "test_window=centre")
    call = [word for setting in settings for word in ("--set", setting)]
    run("heads", "--features", store, "--head", "gdlt", *call, "--epochs", 1, "--no-floor", "--out", out)
    with open_store(store) as opened:
        found = predict_run(out, opened, running=True)
    assert len({len(one.timeline.running) for one in found}) > 1, "some are shorter than the window"
    for one in found:
        assert one.timeline.running[-1] == pytest.approx(one.predicted, abs=1e-4)


def test_videos_that_share_a_batch(tmp_path):
    with open_store(planted_store(tmp_path / "s.h5", num_train=30, num_test=6, num_clips=(8, 11))) as opened:
        data = FeatureSet.load(opened)
    rows = np.arange(len(data))
    for needs, alike in ((Needs(), False), (Needs(sees_padding=True), True)):
        batches = list(BatchMaker(data, needs).test(rows, np.zeros(36), window=9, test_window="whole", batch_size=8))
        assert sorted(row for batch in batches for row in batch.rows) == rows.tolist()
        assert all(bool(batch.mask.all()) for batch in batches) == alike
        assert max(len(batch.rows) for batch in batches) == 8, "videos of equal length still do"


def test_scores_are_utf_8_in_every_locale(tmp_path):
    code = f"""
from pathlib import Path
from longtake.train.runs.prediction import Prediction, Timeline
from longtake.train.runs.show_predictions import write_scores
one = Prediction("A_000", "B\\u00e4lle", "total", 1.5, float("nan"), 1, (), (), Timeline((), (), (), (), ()), False)
write_scores(Path({str(tmp_path / "s.csv")!r}), [one])"""
    plain = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=plain, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "B\u00e4lle" in (tmp_path / "s.csv").read_text(encoding="utf-8")


def test_unknown_times_are_never_seconds(trained, tmp_path):
    """Features imported without their clip rule have invented times in the store."""
    _, store = trained
    with open_store(store) as opened:
        stream = opened.stream()
        header = replace(stream.header, origin="imported: tree", clip_length=None, clip_stride=None, fps=None)
        videos = [stream.read(video_id) for video_id in opened.labels.video_ids]
        plan = StreamPlan(header, np.dtype("f4"), [StreamItem.of(video) for video in videos])
        write_store(tmp_path / "i.h5", dataset="planted", card=None, labels=opened.labels, streams=[plan])
    call = ("--head", "gdlt", "--set", "width=16", "--epochs", 1, "--no-floor", "--out", tmp_path / "run")
    run("heads", "--features", tmp_path / "i.h5", *call)
    call = ("predict", "--run", tmp_path / "run", "--features", tmp_path / "i.h5", "--only", "A_000")
    said = run(*call).output
    assert "looked at most: clip " in said and "When the clips were is unknown" in said and " s (" not in said
    (one,) = json.loads(run(*call, "--json").output)
    assert {moment["start_seconds"] for moment in one["moments"]} == {None} and one["moments"][0]["clip"] >= 0
    assert set(one["timeline"]["end_seconds"]) == {None}
    run("report", tmp_path / "run", "--features", tmp_path / "i.h5", "--out", tmp_path / "r.html")
    text = (tmp_path / "r.html").read_text()
    assert "clip 1" in text and "seconds" not in text
