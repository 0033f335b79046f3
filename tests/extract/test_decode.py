"""Decoders: the right frames, upright, whatever the rate; and never a file that is not whole. Over the whole table."""

import json
import shutil
import subprocess

import av
import numpy as np
import pytest

from extract.backbones.spec import FrameRule
from extract.decode import TABLE, get_decoder
from extract.errors import ExtractError, VideoError, VideoMissing, VideoTruncated, VideoUnreadable
from tests.extract.media import HEIGHT, WIDTH, read_number, write_sound, write_video

WHOLE = FrameRule(HEIGHT, HEIGHT, WIDTH, (0.0,) * 3, (1.0,) * 3)


@pytest.fixture(params=list(TABLE))
def decoder(request):
    return get_decoder(request.param)


def numbers(decoder, path, wanted=None):
    info = decoder.probe(path)
    wanted = set(range(len(info.timeline))) if wanted is None else wanted
    found = list(decoder.pictures(info, {WHOLE: wanted}, num_threads=1))
    assert [read_number(pictures[WHOLE]) for _, pictures in found] == [index for index, _ in found]
    return info, [index for index, _ in found]


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "mov", "avi", "ts"])
def test_every_frame_in_order(decoder, tmp_path, suffix):
    path = write_video(tmp_path / f"a.{suffix}", 60)
    info, found = numbers(decoder, path)
    assert found == list(range(60))
    assert info.timeline.end_seconds == pytest.approx(60 / 25, abs=0.03)
    assert (info.width, info.height) == (WIDTH, HEIGHT)


def test_only_what_is_wanted(decoder, tmp_path):
    assert numbers(decoder, write_video(tmp_path / "a.mp4", 60), {3, 17, 59})[1] == [3, 17, 59]


def test_variable_rate_keeps_its_times(decoder, tmp_path):
    seconds = np.cumsum([0.0] + [0.04, 0.12] * 20).round(3)
    info, found = numbers(decoder, write_video(tmp_path / "a.mkv", len(seconds), seconds=seconds))
    assert found == list(range(len(seconds)))
    np.testing.assert_allclose(info.timeline.seconds, seconds, atol=1e-3)


@pytest.mark.parametrize("suffix", ["mkv", "mp4", "ts", "avi"])
@pytest.mark.parametrize("share", [0.3, 0.6])
def test_a_truncated_file_is_never_taken_for_a_short_one(decoder, tmp_path, suffix, share):
    whole = write_video(tmp_path / f"whole.{suffix}", 200)
    cut = tmp_path / f"cut.{suffix}"
    cut.write_bytes(whole.read_bytes()[: int(whole.stat().st_size * share)])
    if suffix == "ts":
        pytest.skip("a transport stream has no header that says how long it should be")
    with pytest.raises(VideoError):
        info = decoder.probe(cut)
        list(decoder.pictures(info, {WHOLE: set(range(len(info.timeline)))}, num_threads=1))


def test_what_is_no_video(decoder, tmp_path):
    with pytest.raises(VideoMissing, match="no file"):
        decoder.probe(tmp_path / "none.mp4")
    noise = tmp_path / "noise.mp4"
    noise.write_bytes(bytes(range(256)) * 40)
    with pytest.raises(VideoUnreadable, match="is it a video"):
        decoder.probe(noise)
    empty = tmp_path / "empty.mp4"
    empty.touch()
    with pytest.raises(VideoUnreadable):
        decoder.probe(empty)
    with pytest.raises(VideoUnreadable, match="no picture stream; it holds audio"):
        decoder.probe(write_sound(tmp_path / "sound.m4a"))


def test_unknown_decoder():
    with pytest.raises(ExtractError, match="did you mean pyav"):
        get_decoder("pyv")


def test_real_files(decoder, shared):
    """Counts from the header of each file, as ffprobe gives them (`-count_frames` agrees; see the folder's README)."""
    expected = {
        "av1_video.mkv": 125, "bigbuckbunny.mp4": 132, "carphone_pristine.mp4": 120, "h264_10bits.mp4": 30,
        "h265_10bits.mp4": 30, "nasa_13013.mp4": 390, "test.avi": 164, "video_0.mov": 3, "video_90.mov": 3,
    }  # fmt: skip
    for name, count in expected.items():
        info = decoder.probe(shared / "videos" / name)
        found = [index for index, _ in decoder.pictures(info, {WHOLE: set(range(count))}, num_threads=1)]
        assert found == list(range(count)), name
    with pytest.raises(VideoTruncated, match="breaks after frame 28 of 50"):
        info = decoder.probe(shared / "videos" / "corrupted.mp4")
        list(decoder.pictures(info, {WHOLE: set(range(50))}, num_threads=1))


def test_rotation(decoder, shared):
    """The file stores 568x320 and asks for a quarter turn clockwise; turned so, the letters in it can be read."""
    info = decoder.probe(shared / "videos" / "video_90.mov")
    assert (info.width, info.height, info.rotation_degrees) == (320, 568, 90)
    with av.open(str(info.path)) as container:
        stored = next(container.decode(video=0)).to_ndarray(format="rgb24")
    rule = FrameRule(320, 320, 320, (0.0,) * 3, (1.0,) * 3)
    _, pictures = next(decoder.pictures(info, {rule: {0}}, num_threads=1))
    upright = np.rot90(stored, -1)[124:444]
    assert np.abs(pictures[rule].astype(int) - upright).mean() < 1


def test_counts_agree_with_ffprobe(decoder, shared, tmp_path):
    if shutil.which("ffprobe") is None:
        pytest.skip("no ffprobe on this machine")
    for path in sorted((shared / "videos").glob("*.m*")):
        if path.suffix == ".md" or path.stem == "corrupted":
            continue
        info = decoder.probe(path)
        call = [
            "ffprobe",
            "-v",
            "error",
            "-count_packets",
            "-show_entries",
            "stream=index,nb_read_packets",
            "-of",
            "json",
        ]
        done = subprocess.run([*call, str(path)], capture_output=True, text=True, check=True)
        streams = {s["index"]: s for s in json.loads(done.stdout)["streams"]}
        assert len(info.timeline) == int(streams[info.stream_index]["nb_read_packets"]), path.name
