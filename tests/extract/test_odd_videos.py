"""Files as recorders, muxers and cutters leave them: whole, and not what a plain file is."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from click.testing import CliRunner

from longtake.extract.cli import main
from longtake.extract.clips import Timeline, plan_clips
from longtake.extract.decode import get_decoder, pyav, sound
from longtake.extract.decode.base import FRAMES, PACKETS, RATE, with_true_times
from longtake.extract.decode.sound import original_rate, read_sound
from longtake.extract.errors import (
    ExtractError,
    FramesNotPackets,
    SoundUnreadable,
    VideoTruncated,
    VideoUnreadable,
)
from longtake.extract.like import extract_like
from longtake.extract.preprocessing import ClipRule, FrameRule
from longtake.extract.views.overlay import Track, draw_overlay
from longtake.extract.views.thumbnails import thumbnails
from longtake.features.types import FeatureHeader
from tests.extract.fake_backbone import NAME
from tests.extract.media import HEIGHT, WIDTH, numbered_picture, read_number, write_video
from tests.extract.runs import extract
from tests.extract.test_sound import write_av

WHOLE = FrameRule(HEIGHT, HEIGHT, WIDTH, (0.0,) * 3, (1.0,) * 3)
PYAV = get_decoder("pyav")
HEADER = FeatureHeader(NAME, "video", 4, "random:0", None, True, 4, 4, "pad", None)


def read(path: Path, wanted=None) -> tuple[list[float], list[int]]:
    """Times and numbers of the pictures, as a run reads them."""

    def look(info):
        frames = set(range(len(info.timeline))) if wanted is None else wanted
        found = list(PYAV.pictures(info, {WHOLE: frames}, num_threads=1))
        return [float(info.timeline.seconds[i]) for i, _ in found], [read_number(p[WHOLE]) for _, p in found]

    return with_true_times(lambda *, exact: PYAV.probe(path, exact=exact), look)


def remux(source: Path, target: Path, keep, options=None) -> Path:
    """The packets of a file into another; `keep` changes each, and says whether it stays."""
    with av.open(str(source)) as before, av.open(str(target), "w", options=options or {}) as after:
        stream = after.add_stream_from_template(before.streams.video[0])
        for packet in before.demux(video=0):
            if packet.size and keep(packet):
                packet.stream = stream
                after.mux(packet)
    return target


def groups_of_25(path: Path, num_frames: int, **options: str) -> Path:
    """A key frame every second, none in between, no picture before its turn."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(
            "libx264", rate=25, options={"g": "25", "bf": "0", "sc_threshold": "0", **options}
        )
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for number in range(num_frames):
            frame = av.VideoFrame.from_ndarray(numbered_picture(number), "rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def without_the_first(source: Path, target: Path) -> Path:
    first = True

    def all_but_the_first(packet):
        nonlocal first
        first, was_first = False, first
        return not was_first

    return remux(source, target, all_but_the_first)


@pytest.fixture
def cut_stream(tmp_path):
    """75 frames of a transport stream without the first picture, on which the 24 after it depend."""
    return without_the_first(groups_of_25(tmp_path / "whole.ts", 75), tmp_path / "cut.ts")


def test_a_span_of_a_cut_stream_is_not_of_another_time(cut_stream):
    info = PYAV.probe(cut_stream)
    assert info.times_from == PACKETS and len(info.timeline) > 70
    with pytest.raises(FramesNotPackets, match="frame 0 is shown at"):
        list(PYAV.pictures(info, {WHOLE: {0, 1, 2}}, num_threads=1))
    times, numbers = read(cut_stream)
    assert numbers == list(range(25, 75)), "what can be decoded, at its own times"
    np.testing.assert_allclose(times, np.arange(50) / 25, atol=1e-6)
    assert PYAV.probe(cut_stream, exact=True).times_from == FRAMES


@pytest.mark.parametrize("name", ["decord", "torchcodec"])
def test_other_decoders_are_held_to_the_times_of_packets(tmp_path, name):
    """They give pictures for packets that cannot be decoded. decord's first one is compared with PyAV's."""
    try:
        decoder = get_decoder(name)
    except ExtractError as error:
        pytest.skip(str(error))
    cut = without_the_first(groups_of_25(tmp_path / "whole.mkv", 75), tmp_path / "cut.mkv")
    assert read(cut)[1] == list(range(25, 75))

    def pictures(info):
        return list(decoder.pictures(info, {WHOLE: {0, 1}}, num_threads=1))

    with pytest.raises(FramesNotPackets, match="frame 0 is shown at"):
        pictures(decoder.probe(cut))
    with pytest.raises(FramesNotPackets, match="use --decoder pyav"):
        with_true_times(lambda *, exact: decoder.probe(cut, exact=exact), pictures)


def test_a_cut_that_keeps_what_is_not_shown(tmp_path):
    """Cutting without coding anew keeps the group's first pictures, and an edit list hides them."""
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


def test_the_last_picture_may_stay(tmp_path):
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


def repeated(path: Path) -> Path:
    """Frame 5 claims the time of frame 4."""

    def same_moment(packet):
        if packet.pts == 200:
            packet.pts = packet.dts = 160
        return True

    groups_of_25(path.with_name("whole.mkv"), 20)
    return remux(path.with_name("whole.mkv"), path, same_moment)


def test_two_pictures_of_one_moment(tmp_path):
    """They share its time, so that clips of single frames last."""
    info = PYAV.probe(repeated(tmp_path / "repeated.mkv"))
    np.testing.assert_allclose(info.timeline.seconds[3:7], [0.12, 0.16, 0.20, 0.24], atol=1e-6)
    clips = plan_clips(info.timeline, ClipRule(1, 1, "pad"))
    assert len(clips) == 20
    with pytest.raises(ValueError, match="ascends"):
        Timeline(np.array([0.0, 0.1, 0.1]), 1.0)


@pytest.mark.parametrize(
    "title",
    ["Zéro à".encode("latin-1"), "体操の演技".encode("cp932"), b"\xff\xfe\xf0"],
    ids=["latin-1", "cp932", "none"],
)
@pytest.mark.parametrize("suffix", ["mkv", "mp4", "avi"])
def test_titles_in_another_encoding(tmp_path, title, suffix):
    """Recorders write titles in encodings other than UTF-8. The pictures and the sound are read all the same."""
    path = write_av(tmp_path / f"drawn.{suffix}", seconds=2, title="Q" * len(title))
    assert b"Q" * len(title) in path.read_bytes()
    path.write_bytes(path.read_bytes().replace(b"Q" * len(title), title))
    info = PYAV.probe(path)
    assert len(list(PYAV.pictures(info, {WHOLE: {0, 49}}, num_threads=1))) == 2 and PYAV.promised_seconds(path) > 0
    assert original_rate(info) == 48_000 and len(next(read_sound(info, [(0.0, 1.0)], 16_000))) == 16_000
    draw_overlay(path, tmp_path / "overlay.mp4", [Track("total", (0.0,), (2.0,), (), ("1",))])
    assert PYAV.probe(tmp_path / "overlay.mp4").audio


def test_time_stamps_too_large_to_be_in_order(tmp_path):
    shown = pyav._Shown()
    shown.seconds, shown.durations = [0.0, 0.04, 9.2e15, 9.2e15], [0.04] * 4
    with pytest.raises(VideoUnreadable, match="a.mkv: its time stamps go up to .*, so the file is damaged"):
        pyav._timeline(tmp_path / "a.mkv", shown, 25.0, None)


def test_wild_time_stamps(tmp_path):
    def last_in_a_year(packet):
        if packet.pts == 19 * 40:
            packet.pts = packet.dts = 365 * 24 * 3600 * 1000
        return True

    groups_of_25(tmp_path / "whole.mkv", 20)
    with pytest.raises(VideoUnreadable, match="time stamps go up to 3153"):
        PYAV.probe(remux(tmp_path / "whole.mkv", tmp_path / "wild.mkv", last_in_a_year))


@pytest.mark.parametrize("known", ["avc1", "mp4v"])
def test_pictures_that_nothing_decodes(tmp_path, numbers_backbone, known):
    (tmp_path / "videos").mkdir()
    write_video(tmp_path / "videos" / "v0.mp4", 12)
    path = write_video(tmp_path / "videos" / "v1.mp4", 12, codec={"avc1": "libx264", "mp4v": "mpeg4"}[known])
    # Neither the format's name nor its own description of the stream is known.
    path.write_bytes(
        path.read_bytes().replace(known.encode(), b"zzzz").replace(b"avcC", b"zzzC").replace(b"esds", b"zzzs")
    )
    with pytest.raises(VideoUnreadable, match="no decoder for its pictures"):
        PYAV.probe(path)
    (tmp_path / "small.csv").write_text("video_id\nv1\nv0\n")
    assert "1 new" in extract(tmp_path, status=1).output
    shown = CliRunner().invoke(main, ["probe", str(path)])
    assert shown.exit_code == 2 and "Traceback" not in shown.output and "convert the file" in shown.output


def test_sound_that_nothing_decodes(tmp_path):
    path = write_av(tmp_path / "a.mkv", seconds=2)
    path.write_bytes(path.read_bytes().replace(b"A_AAC", b"A_ZZZ"))
    info = PYAV.probe(path)
    assert info.audio == "" and len(info.timeline) == 50
    for hear in (lambda: original_rate(info), lambda: list(read_sound(info, [(0, 1)], 16_000))):
        with pytest.raises(SoundUnreadable, match="no decoder for its sound"):
            hear()
    draw_overlay(path, tmp_path / "drawn.mp4", [])
    assert PYAV.probe(tmp_path / "drawn.mp4").audio == ""


def test_sound_that_changes_its_channels(tmp_path):
    """A stream of two recordings, one after the other, as television sends them."""
    one = write_av(tmp_path / "one.ts", seconds=2, click=1.0, layout="mono")
    other = write_av(tmp_path / "other.ts", seconds=2, click=1.0, layout="stereo")
    both = tmp_path / "both.ts"
    both.write_bytes(one.read_bytes() + other.read_bytes())
    with av.open(str(both)) as container:
        assert {frame.layout.name for frame in container.decode(audio=0)} == {"mono", "stereo"}
    info = replace(PYAV.probe(one), path=both)
    (samples,) = read_sound(info, [(0, 2)], 16_000)
    assert np.abs(samples).max() > 0.3


def test_sound_keeps_its_clock_where_pictures_have_none(tmp_path, monkeypatch):
    """A recorder's clock starts anywhere, and some of its pictures carry no time."""
    write_av(tmp_path / "whole.mkv", seconds=2, click=1.0)
    path = tmp_path / "late.ts"
    with (
        av.open(str(tmp_path / "whole.mkv")) as before,
        av.open(str(path), "w", options={"output_ts_offset": "3600"}) as after,
    ):
        streams = {stream.index: after.add_stream_from_template(stream) for stream in before.streams}
        for packet in before.demux():
            if packet.size:
                packet.stream = streams[packet.stream.index]
                after.mux(packet)
    add = pyav._Shown.add

    def without_every_third(shown, packet, time_base):
        add(shown, packet, time_base)
        if len(shown.seconds) % 3 == 0:
            shown.seconds[-1] = None

    monkeypatch.setattr(pyav._Shown, "add", without_every_third)
    info = PYAV.probe(path)
    assert info.times_from == RATE and info.origin_seconds > 3599
    (samples,) = read_sound(info, [(0, 2)], 16_000)
    assert np.abs(samples).argmax() / 16_000 == pytest.approx(1.0, abs=0.1)


def test_a_hole_in_the_sound_takes_no_memory(tmp_path, monkeypatch):
    """A wild time stamp makes a hole of days; only what a span wants of it is ever there."""
    tone = np.ones(16_000, np.float32)
    blocks = [(0, tone), (16_000 * 3600 * 24 * 3, tone)]
    monkeypatch.setattr(sound, "_blocks", lambda info, rate: (block for block in blocks))
    largest = 0
    zeros = np.zeros

    def watched(shape, *arguments, **options):
        nonlocal largest
        largest = max(largest, int(np.prod(shape)))
        return zeros(shape, *arguments, **options)

    monkeypatch.setattr(sound.np, "zeros", watched)
    first, second, third = read_sound(None, [(0, 0.5), (0.5, 1.5), (259_200, 259_200.5)], 16_000)
    assert largest <= 16_000
    assert first.all() and second[:8000].all() and not second[8000:].any() and third.all()


def test_an_overlay_is_not_its_video(tmp_path):
    path = write_video(tmp_path / "a.mp4", 30)
    before = path.read_bytes()
    (tmp_path / "link.mp4").symlink_to(path)
    for out in (path, tmp_path / "link.mp4"):
        with pytest.raises(ExtractError, match="would take the place of"):
            draw_overlay(path, out, [])
    assert path.read_bytes() == before


def test_an_overlay_that_fails_leaves_what_was_there(tmp_path):
    path = write_video(tmp_path / "a.mkv", 200)
    path.write_bytes(path.read_bytes()[:-2000])
    (tmp_path / "out.mp4").write_text("an older overlay")
    with pytest.raises(VideoTruncated):
        draw_overlay(path, tmp_path / "out.mp4", [])
    assert (tmp_path / "out.mp4").read_text() == "an older overlay"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.mkv", "out.mp4"]


def test_pages_and_overlays_read_what_a_run_reads(cut_stream, tmp_path):
    (tmp_path / "in" / "a" / "folder").mkdir(parents=True)
    cut_stream.rename(tmp_path / "in" / "a" / "folder" / "v.ts")
    assert len(thumbnails(tmp_path / "in", "v", "v.ts", [0.0, 0.1, 1.9])) == 3
    track = Track("score", [0.0], [2.0], [], ["1.0"])
    draw_overlay(tmp_path / "in" / "a" / "folder" / "v.ts", tmp_path / "drawn.mp4", [track])
    assert len(PYAV.probe(tmp_path / "drawn.mp4").timeline) == 50


@pytest.mark.parametrize(
    "change, words",
    [
        ({"clip_length": 10**9}, "1 to 100000 frames"),
        ({"clip_length": "16"}, "makes no clips"),
        ({"tail": "cut"}, "no tail"),
    ],
)
def test_a_strangers_recipe(tmp_path, numbers_backbone, change, words):
    """A checkpoint says how the features of a new video are to be made, and may say anything."""
    header = replace(HEADER, **change)
    with pytest.raises(ExtractError, match=words):
        extract_like([header], write_video(tmp_path / "a.mp4", 12), tmp_path / "a.h5", weights=["random"])


def test_two_recordings_in_one_file(tmp_path, numbers_backbone):
    """A clock that starts anew says nothing of the order of pictures."""
    (tmp_path / "videos").mkdir()
    one = groups_of_25(tmp_path / "one.ts", 50).read_bytes()
    (tmp_path / "videos" / "v0.ts").write_bytes(one + one)
    (tmp_path / "small.csv").write_text("video_id\nv0\n")
    said = extract(tmp_path, status=1).output
    assert "its clock goes back at frame 50" in said and "convert it with ffmpeg" in said


def test_a_cut_at_the_end_by_an_edit_list(tmp_path):
    """As phones trim: the header counts all pictures, the list shows a part, and only that part is there."""
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


def test_a_header_that_speaks_of_all_streams(tmp_path):
    whole = write_av(tmp_path / "a.flv", seconds=6, rate=44_100)
    assert len(PYAV.probe(whole).timeline) == 150
    cut = tmp_path / "cut.flv"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    with pytest.raises(VideoTruncated, match="header promises"):
        PYAV.probe(cut)
