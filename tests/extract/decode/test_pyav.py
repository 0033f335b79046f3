"""Whole files that differ from plain ones, as recorders, muxers and cutters write them."""

from __future__ import annotations

import av
import numpy as np
import pytest
from click.testing import CliRunner

from longtake.extract.cli import main
from longtake.extract.decode.base import FRAMES, PACKETS
from longtake.extract.decode.sound import original_rate, read_sound
from longtake.extract.errors import (
    FramesNotPackets,
    VideoTruncated,
    VideoUnreadable,
)
from longtake.extract.views.overlay import Track, draw_overlay
from tests.extract.media import (
    HEIGHT,
    PYAV,
    WHOLE,
    WIDTH,
    groups_of_25,
    numbered_picture,
    read,
    remux,
    write_av,
    write_video,
)
from tests.extract.runs import extract


def test_a_span_of_a_cut_stream_has_the_right_times(cut_stream):
    info = PYAV.probe(cut_stream)
    assert info.times_from == PACKETS and len(info.timeline) > 70
    with pytest.raises(FramesNotPackets, match="frame 0 is shown at"):
        list(PYAV.pictures(info, {WHOLE: {0, 1, 2}}, num_threads=1))
    times, numbers = read(cut_stream)
    assert numbers == list(range(25, 75)), "what can be decoded, at its own times"
    np.testing.assert_allclose(times, 24 / 25 + np.arange(50) / 25, atol=1e-6, err_msg="second 0 is the first packet's")
    assert PYAV.probe(cut_stream, exact=True).times_from == FRAMES


def test_a_cut_that_keeps_hidden_frames(tmp_path):
    """Cutting without re-encoding keeps the first pictures of the group, and an edit list hides them."""
    groups_of_25(tmp_path / "whole.mp4", 50)
    shift = None

    def from_frame_12(packet):
        nonlocal shift
        shift = shift or round(12 / 25 / packet.time_base)
        packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
        return True

    cut = remux(tmp_path / "whole.mp4", tmp_path / "cut.mp4", from_frame_12, {"avoid_negative_ts": "disabled"})
    with av.open(str(cut)) as container:
        assert sum(p.is_discard for p in container.demux(video=0) if p.size) == 12, "the file is what the test is about"
    times, numbers = read(cut)
    assert numbers == list(range(12, 50))
    np.testing.assert_allclose(times, np.arange(38) / 25, atol=1e-3)


def test_the_last_picture_may_be_long(tmp_path):
    """A slide at the end: its packet lasts four seconds, and the header counts them."""

    def last_stays(packet):
        if round(float(packet.pts * packet.time_base) * 25) == 49:
            packet.duration = round(4 / packet.time_base)
        return True

    groups_of_25(tmp_path / "whole.mp4", 50)
    stays = remux(tmp_path / "whole.mp4", tmp_path / "stays.mp4", last_stays)
    info = PYAV.probe(stays)
    assert info.duration_seconds_from_header == pytest.approx(5.96, abs=0.01), "the file is what the test is about"
    assert info.timeline.end_seconds == pytest.approx(5.96, abs=0.01)


def test_pictures_that_begin_late(tmp_path):
    """Matroska's duration counts from the start of its clock, the timeline from the first picture."""

    def two_seconds_later(packet):
        shift = round(2 / packet.time_base)
        packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
        return True

    groups_of_25(tmp_path / "whole.mkv", 50)
    late = remux(tmp_path / "whole.mkv", tmp_path / "late.mkv", two_seconds_later)
    info = PYAV.probe(late)
    assert info.origin_seconds == pytest.approx(2, abs=0.01), "the file is what the test is about"
    assert (len(info.timeline), info.timeline.end_seconds) == (50, pytest.approx(2, abs=0.01))
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(late.read_bytes()[: late.stat().st_size // 2])
    with pytest.raises(VideoTruncated, match="cut off"):
        PYAV.probe(cut)


@pytest.mark.parametrize(
    "title",
    ["Zéro à".encode("latin-1"), "体操の演技".encode("cp932"), b"\xff\xfe\xf0"],
    ids=["latin-1", "cp932", "none"],
)
@pytest.mark.parametrize("suffix", ["mkv", "mp4", "avi"])
def test_titles_in_another_encoding(tmp_path, title, suffix):
    """Recorders write titles in encodings other than UTF-8. Pictures and sound are still read."""
    path = write_av(tmp_path / f"drawn.{suffix}", seconds=2, title="Q" * len(title))
    assert b"Q" * len(title) in path.read_bytes()
    path.write_bytes(path.read_bytes().replace(b"Q" * len(title), title))
    info = PYAV.probe(path)
    assert len(list(PYAV.pictures(info, {WHOLE: {0, 49}}, num_threads=1))) == 2
    assert original_rate(info) == 48_000 and len(next(read_sound(info, [(0.0, 1.0)], 16_000))) == 16_000
    draw_overlay(path, tmp_path / "overlay.mp4", [Track("total", (0.0,), (2.0,), (), (1.0,), "whole: 1.00")])
    assert PYAV.probe(tmp_path / "overlay.mp4").audio


def test_wild_time_stamps(tmp_path):
    def last_in_a_year(packet):
        if packet.pts == 19 * 40:
            packet.pts = packet.dts = 365 * 24 * 3600 * 1000
        return True

    groups_of_25(tmp_path / "whole.mkv", 20)
    with pytest.raises(VideoUnreadable, match="time stamps go up to 3153"):
        PYAV.probe(remux(tmp_path / "whole.mkv", tmp_path / "wild.mkv", last_in_a_year))


@pytest.mark.parametrize("known", ["avc1", "mp4v"])
def test_pictures_without_a_decoder(tmp_path, numbers_backbone, known):
    (tmp_path / "videos").mkdir()
    write_video(tmp_path / "videos" / "v0.mp4", 12)
    path = write_video(tmp_path / "videos" / "v1.mp4", 12, codec={"avc1": "libx264", "mp4v": "mpeg4"}[known])
    # FFmpeg knows neither the format's name nor the stream's own description.
    path.write_bytes(
        path.read_bytes().replace(known.encode(), b"zzzz").replace(b"avcC", b"zzzC").replace(b"esds", b"zzzs")
    )
    with pytest.raises(VideoUnreadable, match="no decoder for its pictures"):
        PYAV.probe(path)
    (tmp_path / "small.csv").write_text("video_id\nv1\nv0\n")
    assert "1 new" in extract(tmp_path, status=1).output
    shown = CliRunner().invoke(main, ["probe", str(path)])
    assert shown.exit_code == 2 and "Traceback" not in shown.output and "convert the file" in shown.output


def test_a_cut_at_the_end_by_an_edit_list(tmp_path):
    """As phones trim: the header counts all pictures, the edit list shows a part, and only that part is in the file."""
    path = groups_of_25(tmp_path / "a.mp4", 150)
    content = path.read_bytes()
    at = content.index(b"elst") + 12
    assert int.from_bytes(content[at : at + 4], "big") == 6000, "the segment's length in the file's units"
    path.write_bytes(content[:at] + (3000).to_bytes(4, "big") + content[at + 4 :])
    times, numbers = read(path)
    assert len(numbers) in range(74, 78) and numbers == list(range(len(numbers)))
    np.testing.assert_allclose(times, np.arange(len(times)) / 25, atol=1e-3)


def test_intervals_without_a_picture(tmp_path):
    """AVI's header counts them too."""

    def with_a_hole(packet):
        if packet.pts >= 25:
            packet.pts, packet.dts = packet.pts + 75, packet.dts + 75
        return True

    with av.open(str(tmp_path / "whole.avi"), "w") as container:
        stream = container.add_stream("mpeg4", rate=25, options={"bf": "0"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for number in range(75):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(numbered_picture(number), "rgb24")))
        container.mux(stream.encode(None))
    path = remux(tmp_path / "whole.avi", tmp_path / "hole.avi", with_a_hole)
    info = PYAV.probe(path)
    assert info.num_frames_from_header == 150 and len(info.timeline) == 75, "the file is what the test is about"
    assert info.timeline.end_seconds == pytest.approx(6, abs=0.1)
    assert read(path)[1] == list(range(75))
    cut = tmp_path / "cut.avi"
    cut.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(VideoTruncated, match="cut off"):
        PYAV.probe(cut)


def test_a_header_with_the_length_of_all_streams(tmp_path):
    whole = write_av(tmp_path / "a.flv", seconds=6, rate=44_100)
    assert len(PYAV.probe(whole).timeline) == 150
    cut = tmp_path / "cut.flv"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    with pytest.raises(VideoTruncated, match="cut off: its last tag"):
        PYAV.probe(cut)
