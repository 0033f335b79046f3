"""Windows, masks and batches."""

import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from longtake.errors import LongtakeWarning
from longtake.features.content import StreamItem, StreamPlan
from longtake.features.labels import Labels
from longtake.features.store import open_store, write_store
from longtake.features.types import FAILED, FeatureHeader, VideoFeatures, VideoRecord
from longtake.manifests.card import Protocol, find_card
from longtake.train.cli import main
from longtake.train.data.dataset import CENTRE, WHOLE, FeatureSet, ScoreScale
from longtake.train.engine.job import Job, Task
from longtake.train.engine.loop import fit
from longtake.train.engine.settings import TrainSettings
from longtake.train.errors import DataError
from longtake.train.heads.base import Head, HeadOutput, Needs
from longtake.train.protocol.experiment import prepare
from longtake.train.protocol.options import Options
from longtake.train.protocol.run import run
from longtake.train.protocol.splits import labelled_rows, splits
from longtake.train.runs.fit import fit as fit_stores
from longtake.train.runs.fit import open_experiment
from longtake.train.runs.progress import EpochProgress
from tests.calls import invoke
from tests.train.planted import planted_store

ROOT = Path(__file__).resolve().parents[2]

LENGTHS = [3, 8, 5, 8, 12, 1, 7]


@pytest.fixture
def data(tmp_path):
    """Clip c of video v has the value 100 v + c; one more video failed, and one has no label."""
    header = FeatureHeader("counted", "video", 1, "none", None, False, 16, 16, "pad", None)
    items = []
    for video, length in enumerate([*LENGTHS, 4]):
        times = np.arange(float(length))
        table = (100 * video + np.arange(length, dtype=np.float32))[:, None]
        made = VideoFeatures(VideoRecord(f"v{video}"), table, times, times + 1)
        items.append(StreamItem(made.record, length, lambda made=made: made))
    broken = VideoFeatures.failure(VideoRecord("broken", status=FAILED), 1)
    items.insert(2, StreamItem(broken.record, 0, lambda: broken))
    ids = (*(f"v{i}" for i in range(len(LENGTHS))), "broken")
    labels = Labels(
        ids, ("train",) * len(ids), ("A",) * len(ids), ("total",), np.arange(len(ids), dtype=float)[:, None]
    )
    path = tmp_path / "counted.h5"
    plan = StreamPlan(header, np.dtype(np.float32), items)
    write_store(path, dataset="counted", card=None, labels=labels, streams=[plan])
    with open_store(path) as store:
        return FeatureSet.load(store)


def test_failed_and_unlabelled_videos_are_left_out(data):
    assert data.video_ids == tuple(f"v{i}" for i in range(len(LENGTHS)))
    assert data.num_clips.tolist() == LENGTHS
    assert data.clips[data.offsets[4], 0] == 400


def test_training_windows(data):
    """Contiguous, inside the video, and over many epochs every start, the last one included."""
    rows, rng = np.arange(len(LENGTHS)), np.random.default_rng(0)
    starts = {row: set() for row in rows.tolist()}
    for _ in range(80):
        seen = []
        for batch in data.train_batches(rows, np.zeros(len(rows)), window=5, batch_size=3, rng=rng):
            assert batch.clips.shape[1:] == (5, 1)
            for row, clips, mask in zip(batch.rows, batch.clips[..., 0], batch.mask):
                values = clips[mask].tolist()
                assert len(values) == min(LENGTHS[row], 5)
                assert values == [100 * row + int(values[0]) % 100 + i for i in range(len(values))]
                assert (clips[~mask] == 0).all()
                starts[row].add(int(values[0]) % 100)
                seen.append(row)
        assert sorted(seen) == rows.tolist(), "each video once an epoch"
    assert starts == {row: set(range(max(LENGTHS[row] - 5, 0) + 1)) for row in rows.tolist()}


def test_clips_spread_over_the_video(data):
    """One clip out of each equal part, in order; over many epochs every clip of every video."""
    rows, rng = np.arange(len(LENGTHS)), np.random.default_rng(0)
    seen = {row: set() for row in rows.tolist()}
    for _ in range(200):
        batches = data.train_batches(rows, np.zeros(7), window=5, batch_size=3, rng=rng, sampling="spread")
        for batch in batches:
            for row, clips, mask in zip(batch.rows, batch.clips[..., 0], batch.mask):
                numbers = [int(value) - 100 * row for value in clips[mask]]
                assert len(numbers) == min(LENGTHS[row], 5) and (clips[~mask] == 0).all()
                part = max(LENGTHS[row], 5) / 5 if LENGTHS[row] > 5 else 1
                assert all(int(i * part) <= number <= (i + 1) * part for i, number in enumerate(numbers))
                seen[row] |= set(numbers)
    assert seen == {row: set(range(LENGTHS[row])) for row in rows.tolist()}


def test_a_last_batch_of_one_joins_the_one_before(data):
    rng = np.random.default_rng(0)
    sizes = [len(b.rows) for b in data.train_batches(np.arange(7), np.zeros(7), window=5, batch_size=3, rng=rng)]
    assert sizes == [3, 4]


@pytest.mark.parametrize("kind", [WHOLE, CENTRE])
def test_test_windows(data, kind):
    rows = np.arange(len(LENGTHS))
    seen = {}
    for batch in data.test_batches(rows, np.zeros(7), window=5, test_window=kind, batch_size=2):
        for row, clips, mask in zip(batch.rows, batch.clips[..., 0], batch.mask):
            seen[row] = [int(value) % 100 for value in clips[mask]]
    for row, length in enumerate(LENGTHS):
        first = 0 if kind == WHOLE or length <= 5 else (length - 5) // 2
        assert seen[row] == list(range(first, first + (length if kind == WHOLE else min(length, 5))))


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


def write_random(path, *, videos, clips, dim, card=None, more_clips_of_b=0):
    rng = np.random.default_rng(0)
    header = FeatureHeader("noise", "video", dim, "none", None, False, 16, 16, "pad", None)
    longest = clips + more_clips_of_b
    block, times = rng.normal(size=(longest, dim)).astype(np.float16), np.arange(float(longest))
    ids = tuple(f"v{number}" for number in range(videos))
    items = []
    for number, name in enumerate(ids):
        parts = [part[: (clips, longest)[number % 2]] for part in (block, times, times + 1)]
        items.append(StreamItem(VideoRecord(name), len(parts[0]), partial(VideoFeatures, VideoRecord(name), *parts)))
    splits = tuple("test" if number % 5 == 0 else "train" for number in range(videos))
    categories = tuple("AB"[number % 2] for number in range(videos))
    labels = Labels(ids, splits, categories, ("total",), rng.uniform(0, 10, size=(videos, 1)))
    plan = StreamPlan(header, np.dtype(np.float16), items)
    write_store(path, dataset="noise", card=card, labels=labels, streams=[plan])


@pytest.mark.parametrize("one_model_per, units", [(("category", "score"), ["A", "B"]), (("score",), [""])])
def test_the_protocol_says_what_shares_a_model(tmp_path, one_model_per, units):
    path = tmp_path / "noise.h5"
    write_random(path, videos=20, clips=6, dim=8, card=replace(find_card("demo"), protocol=Protocol(one_model_per)))
    with open_store(path) as store:
        assert [unit.category for unit in prepare(store, Options()).units] == units
        assert [unit.category for unit in prepare(store, Options(categories=("B",))).units] == ["B"]


@pytest.mark.parametrize("splits", [True, False])
def test_a_range_that_no_card_states_is_that_of_the_labels_that_teach(tmp_path, splits):
    """From 0 or from below, for each category by itself; where nobody says which videos teach, all may."""
    path = planted_store(tmp_path / "s.h5", num_train=8, num_test=4, categories=("A", "B"), splits=splits)
    labels = np.arange(24.0) + 1
    labels[[8, 9, 20, 21]], labels[15] = [90, -90, 80, -80], -3
    with h5py.File(path, "r+") as file:
        file["labels/scores"][...] = labels[:, None]
    with open_store(path) as store:
        scales = [unit.scale for unit in prepare(store, Options(head="ridge", folds=0 if splits else 2)).units]
    expected = [(0, 8), (-3, 20)] if splits else [(-90, 90), (-80, 80)]
    assert [(scale.minimum, scale.maximum, scale.stated) for scale in scales] == [(*one, False) for one in expected]


@pytest.mark.parametrize("clips, window", [(4, 4), (20, None), (0, None), (None, None)])
@pytest.mark.parametrize("asked", [0, 3, 99])
def test_the_window_is_the_cards_and_no_longer_than_the_longest_video(tmp_path, clips, window, asked):
    """Without a card's, it is the longest video of the category; what is asked for is taken as it is."""
    card = None if clips is None else replace(find_card("demo"), window_clips=clips)
    path = tmp_path / "s.h5"
    write_random(path, videos=20, clips=6, dim=4, card=card, more_clips_of_b=5)
    with open_store(path) as store:
        units = prepare(store, Options(head="i3d-mlp", overrides=(("window", asked),))).units
    assert [unit.window for unit in units] == [asked or window or longest for longest in (6, 11)]


def test_training_reads_no_file(tmp_path):
    """The store is gone before the first epoch, so whatever an epoch needs was loaded once."""
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
print(tuple(data.clips.shape), peak() - before)
"""


@pytest.mark.slow
def test_a_dataset_of_the_size_of_rg_fits_in_memory_once(tmp_path):
    """1000 videos x 68 clips x 1024: 266 MiB as float32, and the float16 of the file beside it while loading."""
    path = tmp_path / "rg.h5"
    write_random(path, videos=1000, clips=68, dim=1024)
    loaded = subprocess.run(
        [sys.executable, "-c", LOAD_RG_SIZE, str(path)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    shape, megabytes = loaded.stdout.rsplit(" ", 1)
    assert shape == "(68000, 1024)"
    assert 260 < float(megabytes) < 1.7 * 266


def test_a_datasets_own_folds_are_disjoint_and_complete(tmp_path):
    with open_store(planted_store(tmp_path / "s.h5", num_train=9, num_test=3)) as store:
        experiment = prepare(store, Options(head="ridge"))
    data = replace(experiment.data, splits=np.array([f"fold{number % 4 + 1}" for number in range(12)], dtype=object))
    found = list(splits(data, "A", "total", folds=0))
    assert [split.fold for split in found] == [0, 1, 2, 3]
    assert sorted(np.concatenate([split.test_rows for split in found]).tolist()) == list(range(12))
    for split in found:
        assert not set(split.train_rows) & set(split.test_rows) and len(split.rows) == 12
    # Cross-validation of another kind can still be asked for.
    assert len(list(splits(data, "A", "total", folds=3))) == 3
    options = replace(experiment.options, seeds=2, control=True)
    counted = replace(experiment, data=data, options=options)
    epochs = experiment.units[0].settings.train.epochs
    assert len(counted.models) == 4 * 2 * 2 and counted.num_epochs == 4 * 2 * 2 * epochs
    with EpochProgress(counted) as progress:
        assert progress.bar.total == counted.num_epochs


@pytest.mark.parametrize(
    "names, folds, taught",
    [
        (("train", "fold1", "fold2", "test", "holdout", ""), 0, {"train", "fold1", "fold2"}),
        (("test", "holdout", "", "fold1"), 3, {"", "fold1"}),
        (("train", "test", "holdout", ""), 3, {"train"}),
    ],
)
def test_what_is_kept_from_training_never_teaches(tmp_path, names, folds, taught):
    with open_store(planted_store(tmp_path / "s.h5", num_train=18, num_test=6)) as store:
        experiment = prepare(store, Options(head="ridge"))
    named = np.array([names[number % len(names)] for number in range(24)], dtype=object)
    data = replace(experiment.data, splits=named)
    met = set()
    for split in splits(data, "A", "total", folds):
        assert not set(split.train_rows) & set(split.test_rows)
        met |= {*named[split.rows]}
    assert met == taught
    alone = replace(data, splits=np.array(["fold1", "test"] * 12, dtype=object))
    with pytest.raises(DataError, match="0 training videos besides the split 'fold1'"):
        next(splits(alone, "A", "total", 0))


@pytest.mark.parametrize(
    "names",
    [("train", "test", "other"), ("fold1", "fold2", "fold3"), ("train", "fold1", "fold2"), ("test", "later", "")],
)
@pytest.mark.parametrize("folds", [0, 3])
def test_the_labels_of_a_round(tmp_path, names, folds):
    """Those that a model of it learns or is tested on, however videos are split."""
    with open_store(planted_store(tmp_path / "s.h5", num_train=18, num_test=6, categories=("A", "B"))) as store:
        experiment = prepare(store, Options(head="ridge"))
    data = replace(experiment.data, splits=np.array([names[number % 3] for number in range(48)], dtype=object))
    if "later" in names and not folds:
        assert labelled_rows(data, "A", "total", 0).size == 0, "nothing to learn from"
        return
    for split in splits(data, "A", "total", folds):
        assert set(labelled_rows(data, "A", "total", folds)) == set(split.rows)


def test_the_control_deals_out_the_scores_beside_in_the_same_order(data):
    """A head that learns another score beside its own would otherwise be taught the truth by it."""
    seen = []

    class Recorder(Head):
        closed_form = True

        @classmethod
        def needs(cls, settings):
            return Needs(targets=("other",))

        def fit_closed_form(self, batches):
            for batch in batches:
                seen.extend(zip(batch.rows, batch.target01.tolist(), batch.scores[:, 0].tolist()))

        def forward(self, batch):
            return HeadOutput(batch.target01)

    truth = np.linspace(0, 1, len(data))
    data = replace(data, scores={"own": truth, "other": 10 * truth})
    rows = np.arange(len(data))
    task = Task(data, ScoreScale("own", 0.0, 1.0, True), rows, rows, 12, 1.0, shuffle_labels=True)
    fit(Job(task, partial(Recorder, 1, None), TrainSettings(), seed=0))
    assert len(seen) == len(data)
    assert any(own != pytest.approx(truth[row]) for row, own, _ in seen)
    for _, own, other in seen:
        assert other == pytest.approx(10 * own, abs=1e-5)
    assert (data.scores["other"] == 10 * truth).all(), "the data themselves stay as they are"


@pytest.mark.parametrize("room, home", [(10_000, "meta"), (100, "cpu")])
def test_clips_live_on_the_device_where_they_fit_and_batches_always(data, monkeypatch, room, home):
    """Of 44 clips of 4 bytes. `meta` stands for a GPU: it has shapes and no numbers."""
    monkeypatch.setattr("longtake.train.data.dataset.free_bytes", lambda device: room)
    moved = replace(data, audio=data.clips.clone()).to(torch.device("meta"))
    assert moved.clips.device.type == moved.audio.device.type == home
    batches = moved.train_batches(np.arange(4), np.zeros(4), window=5, batch_size=4, rng=np.random.default_rng(0))
    (batch,) = batches
    for part in (batch.clips, batch.audio, batch.mask, batch.target01, batch.seconds):
        assert part.device.type == "meta" and part.shape[0] == 4
    assert moved.means.device.type == "meta"


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
    assert torch.equal(data.audio[:, 0], data.clips[:, 0]) and data.scores["total"].tolist() == [0, 2, 3, 5]
    _, warnings = open_experiment([path], Options(head="ridge", backbone="seen", audio="heard"))
    left_out = "2 videos have no features of heard and are left out: v1, v4"
    unread = "head ridge does not read heard, and videos without it are left out all the same, by `train predict` as well: leave out --audio"
    assert warnings == [left_out, unread]
    _, warnings = open_experiment([path], Options(head="ridge", backbone="heard"))
    (told,) = warnings
    assert told.startswith("2 labelled videos have no features of heard and neither train nor test: v1, v4;")
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
    assert "left out" not in invoke(main, *call, tmp_path / "one").stderr, "nobody hears"
    said = invoke(main, *call, tmp_path / "other", "--audio", "heard").stderr
    assert said.count(f"warning: {left_out}") == 1, "once for all cells"
    assert not open_experiment([path], Options(head="ridge", backbone="seen"))[1], "who hears nothing needs no sound"
    with (
        open_store(two_streams(tmp_path / "none.h5", silent=range(6))) as store,
        pytest.raises(DataError, match="heard"),
    ):
        FeatureSet.load(store, "seen", "heard")


def test_a_video_without_clips_is_left_out(tmp_path):
    """Ours are failures then; a stranger's store may call them ok."""
    path = two_streams(tmp_path / "s.h5", silent=(2,))
    with h5py.File(path, "r+") as file:
        (name,) = [name for name in file["streams"] if name.startswith("heard")]
        status = file[f"streams/{name}/videos/status"][:]
        status[2] = b"ok"
        file[f"streams/{name}/videos/status"][...] = status
    with open_store(path) as store:
        assert FeatureSet.load(store, "heard").video_ids == ("v0", "v1", "v3", "v4", "v5")
