"""Batches: windows, padding, masks and devices."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from longtake.features.content import StreamItem, StreamPlan
from longtake.features.labels import Labels
from longtake.features.store import open_store, write_store
from longtake.features.types import FAILED, FeatureHeader, VideoFeatures, VideoRecord
from longtake.train.data.batches import BatchMaker, put_on_device
from longtake.train.data.dataset import FeatureSet, ScoreScale
from longtake.train.data.windows import CENTRE, WHOLE
from longtake.train.engine.job import Job, Task
from longtake.train.engine.loop import fit
from longtake.train.engine.settings import TrainSettings
from longtake.train.errors import DataError
from longtake.train.heads.base import Head, HeadOutput, Needs
from tests.train.planted import planted_store

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
    assert data.clips.features[data.clips.offsets[4], 0] == 400


def test_training_windows(data):
    """Contiguous, inside the video, and over many epochs every start, the last one included."""
    rows, rng = np.arange(len(LENGTHS)), np.random.default_rng(0)
    starts = {row: set() for row in rows.tolist()}
    for _ in range(80):
        seen = []
        for batch in BatchMaker(data).train(rows, np.zeros(len(rows)), window=5, batch_size=3, rng=rng):
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
        batches = BatchMaker(data).train(rows, np.zeros(7), window=5, batch_size=3, rng=rng, sampling="spread")
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
    sizes = [len(b.rows) for b in BatchMaker(data).train(np.arange(7), np.zeros(7), window=5, batch_size=3, rng=rng)]
    assert sizes == [3, 4]


@pytest.mark.parametrize("kind", [WHOLE, CENTRE])
def test_test_windows(data, kind):
    rows = np.arange(len(LENGTHS))
    seen = {}
    for batch in BatchMaker(data).test(rows, np.zeros(7), window=5, test_window=kind, batch_size=2):
        for row, clips, mask in zip(batch.rows, batch.clips[..., 0], batch.mask):
            seen[row] = [int(value) % 100 for value in clips[mask]]
    for row, length in enumerate(LENGTHS):
        first = 0 if kind == WHOLE or length <= 5 else (length - 5) // 2
        assert seen[row] == list(range(first, first + (length if kind == WHOLE else min(length, 5))))


def test_the_control_shuffles_further_scores_in_the_same_order(data):
    """A head that learns another score as well would otherwise learn the truth from it."""
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
    """Of 44 clips of 4 bytes. `meta` replaces a GPU: it has shapes and no numbers."""
    monkeypatch.setattr("longtake.train.data.batches.free_bytes", lambda device: room)
    moved = put_on_device(replace(data, audio=data.clips), torch.device("meta"))
    assert moved.clips.features.device.type == moved.audio.features.device.type == home
    maker = BatchMaker(moved, device=torch.device("meta"))
    batches = maker.train(np.arange(4), np.zeros(4), window=5, batch_size=4, rng=np.random.default_rng(0))
    (batch,) = batches
    for part in (batch.clips, batch.audio, batch.mask, batch.target01, batch.seconds):
        assert part.device.type == "meta" and part.shape[0] == 4
    assert moved.means.clips.features.device.type == home


def test_stages_are_not_learnt_from_clips_without_times(tmp_path):
    """They end at seconds of the video, and the times of the clips would be invented."""
    data = FeatureSet.load(open_store(planted_store(tmp_path / "s.h5", num_train=4, num_test=2)), None)
    data = replace(data, boundaries=np.full((len(data), 1), 3.0))
    unknown = replace(data.clips.header, origin="imported: tree", fps=None)
    maker = BatchMaker(data.map_tables(lambda table: replace(table, header=unknown)), Needs(boundaries=1))
    assert BatchMaker(data, Needs(boundaries=1)).boundaries(np.arange(2)).shape == (2, 1)
    with pytest.raises(DataError, match="import the features with --fps"):
        maker.boundaries(np.arange(2))
