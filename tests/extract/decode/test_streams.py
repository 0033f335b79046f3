"""A path is a file, whatever its name is; and which streams of a file are used: those with content."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from longtake.extract.decode import get_decoder, streams
from longtake.extract.decode.sound import original_rate, read_sound
from longtake.extract.decode.streams import covers, open_media, picture_stream, sound_stream
from longtake.extract.errors import ExtractError, SoundMissing, VideoError, VideoUnreadable
from longtake.extract.views.overlay import draw_overlay
from tests.extract.media import PYAV, WHOLE, write_av, write_video

NAMES = (
    "2024-01-05T10:30:22.mp4", "-y.mp4", "frame%03d.mp4", "concat:a.mp4", "http:x.mp4", "file:a.mp4", "pipe:0", "subfile,,start,1,,:a.mp4",
    "a?b=c#d.mp4", "été 'quoted' \n.mp4",
)  # fmt: skip


@pytest.mark.parametrize("name", ["pyav", "decord", "torchcodec"])
def test_a_name_is_never_a_protocol(tmp_path, monkeypatch, name):
    try:
        decoder = get_decoder(name)
    except ExtractError as error:
        pytest.skip(str(error))
    video = write_video(tmp_path / "made.mp4", 7)
    write_video(tmp_path / "a.mp4", 3)
    monkeypatch.chdir(tmp_path)
    for odd in NAMES:
        for path in (Path(odd), tmp_path / odd):
            path.write_bytes(video.read_bytes())
            info = decoder.probe(path)
            assert len(info.timeline) == 7, odd
            assert len(list(decoder.pictures(info, {WHOLE: {0, 6}}, num_threads=1))) == 2, odd


def test_an_overlay_may_have_any_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_video(tmp_path / "a.mp4", 5)
    draw_overlay(Path("a.mp4"), Path("12:30.mp4"), [])
    assert len(PYAV.probe(Path("12:30.mp4")).timeline) == 5


@pytest.mark.parametrize(
    "text",
    [
        "ffconcat version 1.0\nfile part.mp4\n",
        "\ufeff#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\npart.mp4\n",
        '<?xml version="1.0"?>\n<MPD xmlns="urn:mpeg:dash:schema:mpd:2011"></MPD>',
        "v=0\no=- 0 0 IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\n",
        "[playlist]\nFile1=part.mp4\n",
    ],
)
@pytest.mark.parametrize("name", ["a.mp4", "a.m3u8", "a.txt"])
def test_playlists_are_refused(tmp_path, text, name):
    """They show other files than the one that is hashed."""
    write_video(tmp_path / "part.mp4", 5)
    (tmp_path / name).write_text(text)
    with pytest.raises(VideoUnreadable, match=f"{name} is a playlist, not a video: name the files that it lists"):
        PYAV.probe(tmp_path / name)


def test_formats_that_refer_to_other_files_are_not_opened(tmp_path):
    """Even where the text does not begin as a playlist does: a comment, or a picture whose name is a pattern."""
    write_video(tmp_path / "part.mp4", 5)
    (tmp_path / "a.txt").write_text("one two three\n" * 100)
    with av.open(str(tmp_path / "picture001.png"), "w", format="image2") as container:
        stream = container.add_stream("png", rate=25)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "rgb24"
        container.mux(stream.encode(av.VideoFrame(32, 32, "rgb24")))
        container.mux(stream.encode(None))
    (tmp_path / "picture%03d.png").write_bytes((tmp_path / "picture001.png").read_bytes())
    for name in ("a.txt", "picture%03d.png"):
        with pytest.raises(VideoError):
            PYAV.probe(tmp_path / name)


def with_cover(path, *, marked, pictures=0):
    """A second of sound, one still picture, and a video of so many pictures."""
    with av.open(str(path), "w") as container:
        sound = container.add_stream("aac", rate=16_000, layout="mono")
        cover = container.add_stream("mjpeg", rate=25)
        cover.width, cover.height, cover.pix_fmt = 640, 480, "yuvj420p"
        if marked:
            cover.disposition = av.stream.Disposition.attached_pic
        if pictures:
            video = container.add_stream("libx264", rate=25)
            video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        container.mux(cover.encode(av.VideoFrame(640, 480, "yuvj420p")))
        container.mux(cover.encode(None))
        for _ in range(pictures):
            container.mux(video.encode(av.VideoFrame(64, 48, "yuv420p")))
        if pictures:
            container.mux(video.encode(None))
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 16_000), np.float32), "fltp", "mono")
        frame.rate, frame.pts, frame.time_base = 16_000, 0, Fraction(1, 16_000)
        container.mux(sound.encode(frame))
        container.mux(sound.encode(None))
    return path


@pytest.mark.parametrize("suffix, marked", [("mkv", False), ("mp4", True)])
def test_a_cover_is_no_video(tmp_path, suffix, marked):
    path = with_cover(tmp_path / f"song.{suffix}", marked=marked)
    with pytest.raises(VideoUnreadable, match="song.* has no picture stream; it holds audio, a cover"):
        PYAV.probe(path)


@pytest.mark.parametrize("suffix, marked", [("mkv", False), ("mp4", True)])
def test_a_video_next_to_a_larger_cover(tmp_path, suffix, marked):
    info = PYAV.probe(with_cover(tmp_path / f"a.{suffix}", marked=marked, pictures=10))
    assert (info.codec, info.width, len(info.timeline)) == ("h264", 64, 10)


def test_many_still_pictures_take_one_reading(tmp_path, monkeypatch):
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        sound = container.add_stream("aac", rate=16_000, layout="mono")
        stills = [container.add_stream("mjpeg", rate=25) for _ in range(8)]
        for still in stills:
            still.width, still.height, still.pix_fmt = 64, 48, "yuvj420p"
        for number, still in enumerate(stills):
            for _ in range(1 + (number == 5)):
                container.mux(still.encode(av.VideoFrame(64, 48, "yuvj420p")))
            container.mux(still.encode(None))
        container.mux(sound.encode(None))
    opened = []
    monkeypatch.setattr(streams, "open_media", lambda path: opened.append(path) or open_media(path))
    with open_media(path) as container:
        found = covers(container, path)
        assert found == {1, 2, 3, 4, 5, 7, 8} and len(opened) == 1
        assert picture_stream(container, path, found).index == 6


def test_motion_jpeg_with_sound_is_a_video(tmp_path):
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        video, sound = container.add_stream("mjpeg", rate=25), container.add_stream("aac", rate=16_000, layout="mono")
        video.width, video.height, video.pix_fmt = 64, 48, "yuvj420p"
        for _ in range(3):
            container.mux(video.encode(av.VideoFrame(64, 48, "yuvj420p")))
        container.mux(video.encode(None))
        container.mux(sound.encode(None))
    with open_media(path) as container:
        assert picture_stream(container, path).index == 0
    assert len(PYAV.probe(path).timeline) == 3


def test_the_first_sound_stream_that_can_be_decoded(tmp_path):
    path = write_av(tmp_path / "a.mkv", seconds=1)
    with open_media(path) as container:
        assert sound_stream(container, path).index == 1
    path.write_bytes(path.read_bytes().replace(b"A_AAC", b"A_ZZZ"))
    with open_media(path) as container:
        assert sound_stream(container, path) is None
    silent = write_video(tmp_path / "m.mp4", 5)
    with open_media(silent) as container:
        assert sound_stream(container, silent) is None


@pytest.mark.parametrize("suffix", ["mkv", "ts"])
@pytest.mark.parametrize("with_second", [False, True])
def test_a_sound_stream_without_packets_is_missing_sound(tmp_path, suffix, with_second):
    """As recorders list one that never came. A second stream with sound is taken."""
    path = tmp_path / f"a.{suffix}"
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        container.add_stream("mp2", rate=48_000, layout="mono")
        second = container.add_stream("mp2", rate=32_000, layout="mono")
        for _ in range(25):
            container.mux(video.encode(av.VideoFrame(64, 48, "yuv420p")))
        container.mux(video.encode(None))
        if with_second:
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 32_000), np.int16), "s16", "mono")
            frame.rate, frame.pts, frame.time_base = 32_000, 0, Fraction(1, 32_000)
            container.mux(second.encode(frame))
            container.mux(second.encode(None))
    info = PYAV.probe(path)
    if with_second:
        assert original_rate(info) == 32_000 and info.audio.startswith("mp2")
        return
    assert info.audio == ""
    for hear in (lambda: original_rate(info), lambda: list(read_sound(info, [(0, 1)], 16_000))):
        with pytest.raises(SoundMissing, match="a sound stream without sound"):
            hear()


@pytest.mark.parametrize("empty", ["audio", "video"])
def test_empty_streams_are_found_in_one_pass(tmp_path, monkeypatch, empty):
    """Ten streams of one kind without packets, next to one of the other kind with packets."""
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        sounds = [container.add_stream("mp2", rate=32_000, layout="mono") for _ in range(10 if empty == "audio" else 1)]
        videos = [container.add_stream("mpeg4", rate=25) for _ in range(10 if empty == "video" else 1)]
        for video in videos:
            video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        if empty == "audio":
            container.mux(videos[0].encode(av.VideoFrame(64, 48, "yuv420p")))
            container.mux(videos[0].encode(None))
        else:
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 32_000), np.int16), "s16", "mono")
            frame.rate, frame.pts, frame.time_base = 32_000, 0, Fraction(1, 32_000)
            container.mux(sounds[0].encode(frame))
            container.mux(sounds[0].encode(None))
    opened = []
    monkeypatch.setattr(streams, "open_media", lambda path: opened.append(path) or open_media(path))
    with open_media(path) as container:
        if empty == "audio":
            assert len(container.streams.audio) == 10 and sound_stream(container, path) is None
        else:
            assert len(container.streams.video) == 10 and picture_stream(container, path).type == "video"
    assert len(opened) == 1


def test_a_picture_stream_without_pictures_is_no_cover(tmp_path):
    """As a camera leaves a file that it did not finish."""
    path = with_cover(tmp_path / "a.mkv", marked=False)
    with open_media(path) as before, av.open(str(tmp_path / "none.mkv"), "w") as after:
        streams = {stream.index: after.add_stream_from_template(stream) for stream in before.streams}
        for packet in before.demux(audio=0):
            if packet.size:
                packet.stream = streams[packet.stream.index]
                after.mux(packet)
    with pytest.raises(VideoUnreadable, match="a picture stream without a picture"):
        PYAV.probe(tmp_path / "none.mkv")


@pytest.mark.parametrize("content, message", [
    (b"", "is empty: it has 0 bytes"), (b"\n<!DOCTYPE HTML><html>", "is a web page"), (b"<html>", "is a web page"),
    (b"version https://git-lfs.github.com/spec/v1\n", "a pointer of Git LFS"),
])  # fmt: skip
def test_files_that_stand_in_the_place_of_a_video(tmp_path, content, message):
    (tmp_path / "a.mp4").write_bytes(content)
    with pytest.raises(VideoUnreadable, match=f"a.mp4 is .*{message.removeprefix('is ')}"):
        open_media(tmp_path / "a.mp4")
