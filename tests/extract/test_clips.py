"""Windowing: every policy on every length against its description."""

import numpy as np
import pytest

from longtake.extract.clips import TAILS, Clip, Timeline, plan_clips, sample_frames
from longtake.extract.preprocessing import ClipRule


def constant(num_frames: int, fps: float = 25.0) -> Timeline:
    return Timeline(np.arange(num_frames) / fps, num_frames / fps)


@pytest.mark.parametrize("length, stride", [(4, 4), (4, 2), (3, 5), (1, 1)])
@pytest.mark.parametrize("num_frames", range(14))
def test_tails(num_frames, length, stride):
    full = [s for s in range(0, num_frames, stride) if s + length <= num_frames]
    assert TAILS["drop"](num_frames, length, stride) == full
    centred = TAILS["centre"](num_frames, length, stride)
    assert len(centred) == len(full)
    if full:
        before, after = centred[0], num_frames - centred[-1] - length
        assert 0 <= after - before <= 1
    padded = TAILS["pad"](num_frames, length, stride)
    assert padded[: len(full)] == full and all(start < num_frames for start in padded)
    overlapping = TAILS["overlap"](num_frames, length, stride)
    if num_frames >= length:
        assert overlapping[-1] == num_frames - length and set(full) <= set(overlapping)
    if stride <= length and num_frames:
        covered = {i for start in padded for i in range(start, start + length)}
        assert set(range(num_frames)) <= covered, "pad leaves no frame out"


@pytest.mark.parametrize(
    "tail, num_frames, length, stride, starts",
    [
        ("overlap", 0, 4, 4, []),
        ("overlap", 3, 4, 4, [0]),
        ("overlap", 4, 4, 4, [0]),
        ("overlap", 8, 4, 4, [0, 4]),
        ("overlap", 9, 4, 4, [0, 4, 5]),
        ("overlap", 11, 4, 4, [0, 4, 7]),
        ("overlap", 8, 4, 2, [0, 2, 4]),
        ("overlap", 9, 4, 2, [0, 2, 4, 5]),
        ("overlap", 13, 3, 5, [0, 5, 10]),
        ("overlap", 14, 3, 5, [0, 5, 10, 11]),
        ("pad", 0, 3, 5, []),
        ("pad", 2, 3, 5, [0]),
        ("pad", 3, 3, 5, [0]),
        ("pad", 5, 3, 5, [0]),
        ("pad", 6, 3, 5, [0, 5]),
        ("pad", 8, 3, 5, [0, 5]),
        ("pad", 10, 3, 5, [0, 5]),
        ("pad", 11, 3, 5, [0, 5, 10]),
    ],
)
def test_starts(tail, num_frames, length, stride, starts):
    """Ends with a clip, after one, or inside one; shorter than a clip; between clips that do not touch."""
    assert TAILS[tail](num_frames, length, stride) == starts


def test_the_published_centre_rule():
    # 100 frames, clips of 32: 4 left over, start = 4 // 2
    clips = plan_clips(constant(100), ClipRule(32, 32, "centre"))
    assert [clip.frames[0] for clip in clips] == [2, 34, 66]
    assert clips[0].start_seconds == pytest.approx(2 / 25) and clips[-1].end_seconds == pytest.approx(98 / 25)


def test_padded_clip_repeats_the_last_frame_and_ends_with_the_video():
    clips = plan_clips(constant(10), ClipRule(4, 4, "pad"))
    assert clips[-1].frames == (8, 9, 9, 9)
    assert clips[-1].end_seconds == pytest.approx(10 / 25)


def test_clips_are_half_open_and_meet():
    clips = plan_clips(constant(32), ClipRule(8, 8, "drop"))
    for one, following in zip(clips, clips[1:]):
        assert one.end_seconds == following.start_seconds
        assert not set(one.frames) & set(following.frames)


@pytest.mark.parametrize(
    "fps, expected", [(25.0, range(10)), (12.5, range(0, 10, 2)), (50.0, [i // 2 for i in range(20)])]
)
def test_sampling_a_constant_rate(fps, expected):
    indices, times = sample_frames(constant(10), fps)
    assert indices.tolist() == list(expected)
    assert len(times) == len(indices) + 1


def test_sampling_a_variable_rate_takes_the_frame_that_is_shown():
    timeline = Timeline(np.array([0.0, 0.1, 0.5, 0.6]), 1.0)
    indices, _ = sample_frames(timeline, 10.0)
    assert indices.tolist() == [0, 1, 1, 1, 1, 2, 3, 3, 3, 3]


def test_span():
    clips = plan_clips(constant(100), ClipRule(10, 10, "drop"), start_seconds=1.0, end_seconds=2.0)
    assert [clip.frames[0] for clip in clips] == [25, 35]
    assert clips[0].start_seconds == pytest.approx(1.0)
    assert plan_clips(constant(10), ClipRule(4, 4, "pad"), start_seconds=5.0) == ()


def test_an_impossible_clip_cannot_be_made():
    with pytest.raises(ValueError, match="covers no frame"):
        Clip(0, 0.0, 1.0, ())
    with pytest.raises(ValueError, match="seconds"):
        Clip(0, 1.0, 1.0, (1,))
    with pytest.raises(ValueError, match="length and a stride"):
        ClipRule(0, 1, "pad")
