"""A second stream in its own clock: windows and padding in both."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from longtake.features.content import StreamItem, StreamPlan
from longtake.features.labels import Labels
from longtake.features.store import open_store, write_store
from longtake.features.types import FeatureHeader, VideoFeatures, VideoRecord
from longtake.train.cli import main
from longtake.train.data.batches import BatchMaker
from longtake.train.data.dataset import FeatureSet, Widths
from longtake.train.data.windows import CENTRE
from longtake.train.errors import DataError
from longtake.train.heads import TABLE
from longtake.train.heads.base import Head, HeadOutput, Needs
from longtake.train.heads.gdlt import GDLTSettings
from longtake.train.protocol.experiment import prepare
from longtake.train.protocol.options import Options
from tests.calls import invoke

SECONDS = (4.0, 9.0, 2.5)
"""Of the videos; clips of 1 s every half second, frames at 8 a second."""
START = 3.0
"""Where the performances begin in their files."""


def stream(name, per_video, length, rate, shift=0.0, modality="video", factor=1.0):
    """Value of a clip or frame: 100 times the video, plus the second at which it starts, counted from the performance's start."""
    header = FeatureHeader(name, modality, 1, "none", None, False, 16, 16, "pad", None)
    items = []
    for video, count in enumerate(per_video):
        starts = np.arange(count) / rate
        made = VideoFeatures(
            VideoRecord(f"v{video}"), (100 * video + starts).astype(np.float32)[:, None],
            factor * (START + starts) + shift, factor * (START + starts + length) + shift,
        )  # fmt: skip
        items.append(StreamItem(made.record, count, lambda made=made: made))
    return StreamPlan(header, np.dtype(np.float32), items)


NONE = np.zeros((0, 0))
"""No boundaries of stages."""


def store(path, second, boundaries=NONE):
    ids = tuple(f"v{video}" for video in range(3))
    labels = Labels(ids, ("train",) * 3, ("A", "B", "A"), ("total",), np.arange(3.0)[:, None], boundaries)
    clips = stream("clips", [int(2 * length) - 1 for length in SECONDS], 1.0, 2)
    write_store(path, dataset="d", card=None, labels=labels, streams=[clips, second])
    return path


def frames(**changes):
    return stream("frames", [int(8 * length) for length in SECONDS], 1 / 8, 8, **changes)


@pytest.fixture
def data(tmp_path):
    boundaries = np.array([[4.5, 6.0], [5.0, np.nan], [np.nan, np.nan]])
    with open_store(store(tmp_path / "s.h5", frames(), boundaries)) as opened:
        return FeatureSet.load(opened, "clips", "frames")


def test_both_streams_are_loaded(data):
    assert data.audio is None and data.second_stream.header == data.second_header
    assert data.num_clips.tolist() == [7, 17, 4] and data.second_stream.num_clips.tolist() == [32, 72, 20]


@pytest.mark.parametrize("sampling", ["contiguous", "spread"])
def test_windows_in_both_clocks(data, sampling):
    """From the start of the window's first clip to the end of its last, for any part of the video."""
    rng, seen = np.random.default_rng(0), set()
    for _ in range(30):
        for batch in BatchMaker(data).train(
            np.arange(3), np.zeros(3), window=5, batch_size=3, rng=rng, sampling=sampling
        ):  # fmt: skip
            for place, row in enumerate(batch.rows):
                clips = batch.clips[place, batch.mask[place], 0].numpy() - 100 * row
                mask = batch.second_stream.mask[place]
                inside = batch.second_stream.features[place, mask, 0].numpy() - 100 * row
                assert inside[0] == clips[0] and inside[-1] + 1 / 8 == clips[-1] + 1
                np.testing.assert_allclose(np.diff(inside), 1 / 8)
                np.testing.assert_allclose(batch.second_stream.seconds[place, mask, 0], START + inside)
                np.testing.assert_allclose(batch.seconds[place, batch.mask[place], 0], START + clips)
                assert (
                    not batch.second_stream.features[place, ~mask].any()
                    and not batch.second_stream.seconds[place, ~mask].any()
                )
                seen.add((row, float(clips[0])))
    assert len({start for row, start in seen if row == 1}) > 1


def test_whole_videos_and_centre_windows(data):
    whole = {}
    for batch in BatchMaker(data).test(np.arange(3), np.zeros(3), window=5, test_window="whole", batch_size=2):
        whole |= {row: int(batch.second_stream.mask[place].sum()) for place, row in enumerate(batch.rows)}
        known = batch.boundaries.numpy()[batch.rows.index(0)] if 0 in batch.rows else None
        assert known is None or known.tolist() == [4.5, 6.0]
    assert whole == {0: 32, 1: 72, 2: 20}
    for batch in BatchMaker(data).test(np.arange(3), np.zeros(3), window=5, test_window=CENTRE, batch_size=3):
        place = batch.rows.index(1)
        inside = batch.second_stream.features[place, batch.second_stream.mask[place], 0] - 100
        assert (float(inside[0]), float(inside[-1])) == (3.0, 6.0 - 1 / 8)


def test_a_clip_without_a_frame_takes_the_nearest(tmp_path):
    slow = stream("frames", [2, 5, 1], 2.0, 0.5)
    with open_store(store(tmp_path / "s.h5", slow)) as opened:
        data = FeatureSet.load(opened, "clips", "frames")
    batch = BatchMaker(data).batch(np.array([1]), np.array([[4]]), np.array([[True]]), np.zeros(1))
    assert batch.second_stream.features.flatten().tolist() == [102.0] and data.boundaries is None


@pytest.mark.parametrize("changes", [{"shift": -3.0}, {"factor": 2.0}])
def test_streams_in_different_clocks(tmp_path, changes):
    with open_store(store(tmp_path / "s.h5", frames(**changes))) as opened:
        with pytest.raises(DataError, match="in different clocks in 3 videos, such as v0: 3 to 7 s and"):
            FeatureSet.load(opened, "clips", "frames")


def test_sound_must_have_the_clips_of_the_pictures(tmp_path):
    with open_store(store(tmp_path / "s.h5", frames(modality="audio"))) as opened:
        with pytest.raises(DataError, match="other clips of sound than of pictures"):
            FeatureSet.load(opened, "clips", "frames")


def test_a_second_stream_of_the_same_clips_is_aligned(tmp_path):
    same = stream("frames", [int(2 * length) - 1 for length in SECONDS], 1.0, 2)
    with open_store(store(tmp_path / "s.h5", same)) as opened:
        data = FeatureSet.load(opened, "clips", "frames")
    assert data.second_stream is None and data.audio.features.shape == data.clips.features.shape


def test_a_head_that_reads_clip_for_clip_refuses_frames(tmp_path):
    with open_store(store(tmp_path / "s.h5", frames())) as opened:
        with pytest.raises(
            DataError, match="reads a second stream clip for clip, and frames has other clips than clips"
        ):
            prepare(opened, Options(head="gdlt", backbone="clips", audio="frames"))


class Sum(Head):
    """The mean of pictures, flow and sound."""

    Settings = GDLTSettings

    @classmethod
    def needs(cls, settings):
        return Needs(audio=True, streams=("flow",))

    def build(self, dim, audio_dim):
        self.layer = torch.nn.Linear(dim + audio_dim + self.stream_dims["flow"], 1)

    def forward(self, batch):
        values = torch.cat([batch.clips, batch.audio, batch.streams["flow"]], -1) * batch.mask[..., None]
        return HeadOutput(torch.sigmoid(self.layer(values.sum(1))[:, 0]))


@pytest.fixture
def three(tmp_path, monkeypatch):
    """A store of pictures, flow without the second video, and sound, and a head that reads them."""
    monkeypatch.setitem(TABLE, "sum", f"{__name__}:Sum")
    counts = [7, 17, 4, 5, 6, 5, 4]
    streams = [stream(name, counts, 1.0, 2) for name in ("clips", "flow3d")]
    streams.append(stream("sound", counts, 1.0, 2, modality="audio"))
    streams[1] = replace(streams[1], items=[item for video, item in enumerate(streams[1].items) if video != 1])
    ids = tuple(f"v{video}" for video in range(7))
    labels = Labels(ids, ("train",) * 7, ("",) * 7, ("total",), np.arange(7.0)[:, None], NONE)
    write_store(tmp_path / "s.h5", dataset="d", card=None, labels=labels, streams=streams)
    return tmp_path / "s.h5"


def test_three_streams_of_one_store(three):
    with open_store(three) as opened:
        data = FeatureSet.load(opened, None, "sound", {"flow": "flow3d"})
        assert data.header.backbone == "clips", "the one that is not named"
        assert data.without_second == ("v1",) and "no features of sound or flow3d" in data.left_out
        assert data.widths == Widths(1, 1, {"flow": 1}) and len(data.tables) == 3
        alone = FeatureSet.load(opened, "clips", "sound")
        assert (
            len({data.data_id(), alone.data_id(), FeatureSet.load(opened, "clips", None, {"flow": "flow3d"}).data_id()})
            == 3
        )
    batch = next(BatchMaker(data).test(np.arange(2), np.zeros(2), window=9, test_window="whole", batch_size=2))
    for place, row in enumerate(batch.rows):
        assert torch.equal(batch.streams["flow"][place], batch.clips[place]) and torch.equal(
            batch.audio[place], batch.clips[place]
        )
        assert batch.clips[place].max() >= 200 * row


def test_a_run_of_three_streams(three, tmp_path):
    call = ("--features", three, "--head", "sum", "--backbone", "clips", "--epochs", 2, "--folds", 2, "--no-floor")
    out = ("--out", tmp_path / "run")
    assert "reads the streams flow" in invoke(main, "heads", *call, "--audio", "sound", *out, status=2).output
    with_sound = ("--stream", "flow=flow3d", "--stream", "audio=sound")
    assert "is named for it already" in invoke(main, "heads", *call, "--audio", "sound", *with_sound, status=2).output
    assert "takes NAME=BACKBONE" in invoke(main, "heads", *call, "--stream", "flow", status=2).output
    invoke(main, "heads", *call, *with_sound, *out)
    scored = invoke(main, "predict", "--run", tmp_path / "run", "--features", three, "--json").stdout
    assert {row["video_id"] for row in json.loads(scored)} == {f"v{video}" for video in (0, 2, 3, 4, 5, 6)}
    said = invoke(
        main,
        "heads",
        *call[:2],
        "--head",
        "gdlt",
        *call[4:],
        *with_sound,
        "--set",
        "width=4",
        "--out",
        tmp_path / "gdlt",
    )
    assert "does not read the stream flow" in said.stderr
