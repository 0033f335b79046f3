"""When pictures are shown: the clock of a file, and clocks that give no order."""

from __future__ import annotations

import av
import numpy as np
import pytest

from longtake.extract.clips import Timeline, plan_clips
from longtake.extract.decode.clock import Shown, timeline_of
from longtake.extract.decode.sound import read_sound, sound_seconds
from longtake.extract.errors import VideoUnreadable
from longtake.extract.preprocessing import ClipRule
from tests.extract.media import PYAV, groups_of_25, remux, repeated, write_av
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


def test_the_clock_is_that_of_players(tmp_path):
    """Sound from 0 s, pictures from 2 s: second 3 is the third second of the file, not of its pictures."""
    path = later(write_av(tmp_path / "a.mkv", seconds=4, click=3.0), tmp_path / "late.mkv", 2.0)
    info = PYAV.probe(path)
    begin = float(info.timeline.seconds[0])
    assert begin == pytest.approx(2.0, abs=0.03) and info.timeline.end_seconds == pytest.approx(begin + 4)
    (clip, *_) = plan_clips(info.timeline, ClipRule(4, 4, "pad"), 3.0, 4.0)
    assert clip.frames[0] == 25 and info.timeline.seconds[25] == pytest.approx(begin + 1)
    assert plan_clips(info.timeline, ClipRule(4, 4, "pad"))[0].start_seconds == begin
    early = plan_clips(info.timeline, ClipRule(4, 4, "pad", fps=5.0), 0.0, 4.0)
    assert early[0].start_seconds == begin, "no picture is shown before"
    (samples,) = read_sound(info, [(0.0, 4.0)], 16_000)
    assert np.abs(samples).argmax() / 16_000 == pytest.approx(3.0, abs=0.03)
    assert sound_seconds(info, 16_000) == pytest.approx((0.0, 4.0), abs=0.1)


def later(source, target, seconds):
    """The file with its pictures later than its sound."""
    with av.open(str(source)) as before, av.open(str(target), "w") as after:
        streams = {stream.index: after.add_stream_from_template(stream) for stream in before.streams}
        packets = [packet for packet in before.demux() if packet.size]
        for packet in packets:
            if packet.stream.type == "video":
                packet.pts += round(seconds / packet.time_base)
                packet.dts = None if packet.dts is None else packet.dts + round(seconds / packet.time_base)
        for packet in sorted(packets, key=lambda packet: packet.pts * packet.time_base):
            packet.dts = packet.pts
            packet.stream = streams[packet.stream.index]
            after.mux(packet)
    return target


@pytest.mark.parametrize("ahead, refused", [(26.0, True), (10.5, True), (5.0, False)])
def test_a_clock_that_jumps_ahead(tmp_path, ahead, refused):
    """Two recordings in one transport stream. FFmpeg, too, takes up to ten seconds for a picture that stays."""

    def second_later(packet):
        if packet.pts * packet.time_base > begin + 2:
            packet.pts += round(ahead / packet.time_base)
            packet.dts += round(ahead / packet.time_base)
        return True

    whole = groups_of_25(tmp_path / "whole.ts", 100)
    begin = PYAV.probe(whole).origin_seconds
    joined = remux(whole, tmp_path / "joined.ts", second_later)
    if refused:
        with pytest.raises(VideoUnreadable, match=r"its clock jumps ahead at frame 51, from \d"):
            PYAV.probe(joined)
    else:
        assert PYAV.probe(joined).timeline.end_seconds == pytest.approx(4 + ahead, abs=0.1)
    # In MP4 a picture may stay for any time.
    kept = PYAV.probe(remux(whole, tmp_path / "kept.mp4", second_later))
    assert len(kept.timeline) == 100
