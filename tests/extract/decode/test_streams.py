"""A path is a file, whatever its name is; and which streams of a file are used."""

from pathlib import Path

import av.error
import pytest

from longtake.extract.decode import get_decoder
from longtake.extract.decode.streams import open_media, sound_stream
from longtake.extract.errors import ExtractError, VideoError, VideoUnreadable
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


def test_the_first_sound_stream_that_can_be_decoded(tmp_path):
    path = write_av(tmp_path / "a.mkv", seconds=1)
    with open_media(path) as container:
        assert sound_stream(container).index == 1
    path.write_bytes(path.read_bytes().replace(b"A_AAC", b"A_ZZZ"))
    with open_media(path) as container:
        assert sound_stream(container) is None
    with open_media(write_video(tmp_path / "m.mp4", 5)) as container:
        assert sound_stream(container) is None
