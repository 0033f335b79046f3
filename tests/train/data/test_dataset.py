"""Loading a store into memory: which videos, which streams, once."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
import torch

from longtake.errors import LongtakeWarning
from longtake.features.content import StreamItem, StreamPlan
from longtake.features.labels import Labels
from longtake.features.store import open_store, write_store
from longtake.features.types import FAILED, FeatureHeader, VideoFeatures, VideoRecord
from longtake.train.bench.file import DatasetEntry
from longtake.train.bench.sources import read_source
from longtake.train.cli import main
from longtake.train.data import dataset
from longtake.train.data.dataset import FeatureSet, ScoreScale
from longtake.train.errors import DataError
from longtake.train.protocol.experiment import prepare
from longtake.train.protocol.options import Options
from longtake.train.protocol.run import run
from longtake.train.runs.fit import fit as fit_stores
from longtake.train.runs.fit import open_experiment
from tests.calls import invoke
from tests.features.fakes import header, labels, plan, video
from tests.features.raw import as_version_1
from tests.train.planted import write_random

ROOT = Path(__file__).resolve().parents[3]


def test_nothing_to_learn_from(tmp_path):
    header = FeatureHeader("counted", "video", 1, "none", None, False, 16, 16, "pad", None)
    labels = Labels(("a",), ("train",), ("",), ("total",), np.zeros((1, 1)))
    write_store(
        tmp_path / "e.h5", dataset="e", card=None, labels=labels, streams=[StreamPlan(header, np.dtype("f4"), [])]
    )
    with open_store(tmp_path / "e.h5") as store, pytest.raises(DataError, match="no video has both"):
        FeatureSet.load(store)


def test_scales_go_both_ways():
    scale = ScoreScale("total", 5.0, 25.0, True)
    assert scale.to01(np.array([5.0, 15.0, 25.0])).tolist() == [0, 0.5, 1]
    assert scale.to_units(np.array([0.25])).tolist() == [10]


def test_training_reads_no_file(tmp_path):
    """The store is gone before the first epoch, so everything that an epoch needs was loaded once."""
    path = tmp_path / "noise.h5"
    write_random(path, videos=20, clips=6, dim=8)
    with open_store(path) as store:
        experiment = prepare(store, Options(head="gdlt", overrides=(("epochs", 2),)))
    path.unlink()
    assert len(list(run(experiment, lambda *_: None))) == 2


LOAD_RG_SIZE = """
import re, sys
import torch
from longtake.features.store import open_store
from longtake.train.heads.base import HeadOutput, Needs
from longtake.train.data.dataset import FeatureSet
peak = lambda: int(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1]) / 1024
before = peak()
with open_store(sys.argv[1]) as store:
    data = FeatureSet.load(store)
print(tuple(data.clips.features.shape), peak() - before)
"""


@pytest.mark.slow
def test_a_dataset_of_the_size_of_rg_fits_in_memory_once(tmp_path):
    """1000 videos x 68 clips x 1024: 133 MiB as float16, as the file has them; 266 as float32."""
    path = tmp_path / "rg.h5"
    write_random(path, videos=1000, clips=68, dim=1024)
    loaded = subprocess.run(
        [sys.executable, "-c", LOAD_RG_SIZE, str(path)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    shape, megabytes = loaded.stdout.rsplit(" ", 1)
    assert shape == "(68000, 1024)"
    assert 130 < float(megabytes) < 266


def two_streams(path, silent=()):
    """Pictures of six videos and their sound, but for the silent."""
    plans = []
    for backbone, modality, failed in (("seen", "video", ()), ("heard", "audio", silent)):
        header = FeatureHeader(backbone, modality, 2, "none", None, False, 16, 16, "pad", None)
        items = []
        for number in range(6):
            record = VideoRecord(f"v{number}", status=FAILED if number in failed else "ok")
            table, times = np.full((number + 3, 2), float(number), np.float32), np.arange(number + 3.0)
            made = VideoFeatures(record, table, times, times + 1)
            made = VideoFeatures.failure(record, 2) if number in failed else made
            items.append(StreamItem(record, len(made.features), lambda made=made: made))
        plans.append(StreamPlan(header, np.dtype("f4"), items))
    ids = tuple(f"v{number}" for number in range(6))
    labels = Labels(ids, ("train", "test") * 3, ("",) * 6, ("total",), np.arange(6.0)[:, None])
    write_store(path, dataset="heard", card=None, labels=labels, streams=plans)
    return path


def test_videos_without_sound_are_left_out_and_named(tmp_path):
    path = two_streams(tmp_path / "s.h5", silent=(1, 4))
    with open_store(path) as store:
        data = FeatureSet.load(store, "seen", "heard")
    assert data.video_ids == ("v0", "v2", "v3", "v5") and data.num_clips.tolist() == [3, 5, 6, 8]
    assert torch.equal(data.audio.features[:, 0], data.clips.features[:, 0]) and data.scores["total"].tolist() == [
        0,
        2,
        3,
        5,
    ]
    _, warnings = open_experiment([path], Options(head="ridge", backbone="seen", audio="heard"))
    left_out = "2 videos have no features of heard and are left out: v1, v4"
    unread = "head ridge does not read heard, and videos without it are left out all the same, by `train predict` as well: leave out --audio"
    assert warnings == [left_out, unread]
    _, warnings = open_experiment([path], Options(head="ridge", backbone="heard"))
    (said,) = warnings
    assert said.startswith("2 labelled videos have no features of heard and neither train nor test: v1, v4;")
    deaf = Options(head="gslm", backbone="seen", audio="heard", overrides=(("queries", "learnable"), ("width", 16)))
    assert open_experiment([path], deaf)[1][1].endswith("leave out --audio, or give --set audio=true")
    hears = replace(deaf, overrides=(("audio", True), *deaf.overrides))
    assert open_experiment([path], hears)[1] == [left_out]
    run_folder = tmp_path / "run"
    choices = {"head": "ridge", "backbone": "seen", "audio": "heard", "floor": False}
    with pytest.warns(LongtakeWarning, match=left_out), pytest.warns(LongtakeWarning, match="does not read heard"):
        fit_stores(path, out=run_folder, **choices)
    for command in ("predict", "evaluate"):
        assert f"warning: {left_out}" in invoke(main, command, "--run", run_folder, "--features", path).stderr
    said = invoke(main, "predict", "--run", run_folder, "--features", path, "--only", "v1", status=2).stderr
    assert "no heard features of v1, which the heads need as well" in said
    call = ("sweep", "--features", path, "--head", "ridge", "--backbone", "seen", "--seeds", 2, "--out")
    assert "left out" not in invoke(main, *call, tmp_path / "one").stderr, "no head hears"
    said = invoke(main, *call, tmp_path / "other", "--audio", "heard").stderr
    assert said.count(f"warning: {left_out}") == 1, "once for all cells"
    assert not open_experiment([path], Options(head="ridge", backbone="seen"))[1], "who hears nothing needs no sound"
    with (
        open_store(two_streams(tmp_path / "none.h5", silent=range(6))) as store,
        pytest.raises(DataError, match="heard"),
    ):
        FeatureSet.load(store, "seen", "heard")


def test_a_video_without_clips_is_left_out(tmp_path):
    """Ours are failures then; a store of another program may call them ok."""
    path = two_streams(tmp_path / "s.h5", silent=(2,))
    with h5py.File(as_version_1(path), "r+") as file:
        (name,) = [name for name in file["streams"] if name.startswith("heard")]
        status = file[f"streams/{name}/videos/status"][:]
        status[2] = b"ok"
        file[f"streams/{name}/videos/status"][...] = status
    with open_store(path) as store:
        assert FeatureSet.load(store, "heard").video_ids == ("v0", "v1", "v3", "v4", "v5")


@pytest.mark.parametrize("origin, known", [("extracted", True), ("imported", False)])
def test_a_file_tells_equal_videos_only_where_it_is_one_video(origin, known):
    """An imported file may hold the features of many videos."""
    records = (
        VideoRecord("a", source_sha256="f"),
        VideoRecord("b", source_sha256="f", span_start_seconds=2.0),
        VideoRecord("c"),
    )
    videos = SimpleNamespace(records=records, checksums=("1", "2", "3"))
    files, checksums = dataset._contents(
        SimpleNamespace(videos=videos, header=SimpleNamespace(origin=origin)), [0, 1, 2]
    )
    assert list(checksums) == ["1", "2", "3"] and files[2] == ""
    assert bool(files[0]) == bool(files[1]) == known and (files[0] != files[1]) == known


def test_the_order_in_which_a_store_has_grown_decides_nothing(tmp_path):
    ids, head = ["a", "b", "c", "d"], header(dim=2)
    videos = {name: video(name, 2 + row, 2, row) for row, name in enumerate(ids)}
    failed = video("x", 0, 2)
    for name, order in (("one.h5", "abcdx"), ("grown.h5", "dbxac")):
        streams = [plan(head, [videos.get(one, failed) for one in order])]
        write_store(tmp_path / name, dataset="d", card=None, labels=labels([*ids, "x"]), streams=streams)
    with open_store(tmp_path / "one.h5") as one, open_store(tmp_path / "grown.h5") as grown:
        expected, found = FeatureSet.load(one), FeatureSet.load(grown)
    assert found.video_ids == expected.video_ids == tuple(ids)
    sources = [read_source(DatasetEntry("d", "s"), tmp_path / name) for name in ("one.h5", "grown.h5")]
    assert sources[0].streams == sources[1].streams and sources[0].labels == sources[1].labels
    assert found.checksums == expected.checksums and found.scores["total"].tolist() == [0, 1, 2, 3]
    assert torch.equal(found.clips.features, expected.clips.features)
    assert found.clips.offsets.tolist() == expected.clips.offsets.tolist()
