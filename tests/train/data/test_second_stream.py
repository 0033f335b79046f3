"""A second stream in its own clock: windows and padding in both."""

import numpy as np
import pytest

from longtake.features.content import StreamItem, StreamPlan
from longtake.features.labels import Labels
from longtake.features.store import open_store, write_store
from longtake.features.types import FeatureHeader, VideoFeatures, VideoRecord
from longtake.train.data.batches import BatchMaker
from longtake.train.data.dataset import FeatureSet
from longtake.train.data.windows import CENTRE
from longtake.train.errors import DataError
from longtake.train.protocol.experiment import prepare
from longtake.train.protocol.options import Options

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
