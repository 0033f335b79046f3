"""When pictures are shown: the clock of a file, and clocks that give no order."""

from __future__ import annotations

import numpy as np
import pytest

from longtake.extract.clips import Timeline, plan_clips
from longtake.extract.decode.clock import Shown, timeline_of
from longtake.extract.errors import VideoUnreadable
from longtake.extract.preprocessing import ClipRule
from tests.extract.media import PYAV, groups_of_25, repeated
from tests.extract.runs import extract


def test_two_pictures_with_one_time_stamp(tmp_path):
    """They share the time until the next one, so that clips of single frames have a duration."""
    info = PYAV.probe(repeated(tmp_path / "repeated.mkv"))
    np.testing.assert_allclose(info.timeline.seconds[3:7], [0.12, 0.16, 0.20, 0.24], atol=1e-6)
    clips = plan_clips(info.timeline, ClipRule(1, 1, "pad"))
    assert len(clips) == 20
    with pytest.raises(ValueError, match="ascends"):
        Timeline(np.array([0.0, 0.1, 0.1]), 1.0)


def test_time_stamps_too_large_to_be_in_order(tmp_path):
    shown = Shown()
    shown.seconds, shown.durations = [0.0, 0.04, 9.2e15, 9.2e15], [0.04] * 4
    with pytest.raises(VideoUnreadable, match="a.mkv: its time stamps go up to .*, so the file is damaged"):
        timeline_of(tmp_path / "a.mkv", shown, 25.0, 0.0, 0.04)


def test_joined_recordings_are_refused(tmp_path, numbers_backbone):
    """A clock that starts again does not give the order of pictures."""
    (tmp_path / "videos").mkdir()
    one = groups_of_25(tmp_path / "one.ts", 50).read_bytes()
    (tmp_path / "videos" / "v0.ts").write_bytes(one + one)
    (tmp_path / "small.csv").write_text("video_id\nv0\n")
    said = extract(tmp_path, status=1).output
    assert "its clock goes back at frame 50" in said and "convert it with ffmpeg" in said
