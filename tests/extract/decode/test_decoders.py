"""Every decoder of the table: the right frames, upright, at any rate; and truncated files are refused."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import replace

import av
import numpy as np
import pytest

from longtake.extract.decode import TABLE, get_decoder
from longtake.extract.decode.base import with_true_times
from longtake.extract.decode.damage import num_damaged
from longtake.extract.decode.orientation import Orientation
from longtake.extract.errors import (
    DamageSeen,
    DecoderUnfit,
    ExtractError,
    FramesNotPackets,
    VideoDamaged,
    VideoError,
    VideoMissing,
    VideoUnreadable,
)
from longtake.extract.preprocessing import PILLOW_BILINEAR, FrameRule
from tests.extract.media import (
    HEIGHT,
    WHOLE,
    WIDTH,
    everything,
    groups_of_25,
    numbers,
    read,
    without_the_first,
    write_sound,
    write_video,
)


@pytest.mark.parametrize("name", ["decord", "torchcodec"])
def test_other_decoders_are_held_to_the_times_of_packets(tmp_path, name):
    """They return pictures for packets that cannot be decoded. decord's first one is compared with PyAV's."""
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


@pytest.fixture(params=list(TABLE))
def decoder(request):
    try:
        return get_decoder(request.param)
    except ExtractError as error:
        if request.param == "pyav":
            raise
        pytest.skip(str(error))


def refused(decoder, info):
    """Whether the decoder says that it is not for such a file; then it must not read it either."""
    if not decoder.unfit(info):
        return False
    with pytest.raises(DecoderUnfit, match=f"{decoder.name} is not for {info.path.name}.*--decoder pyav"):
        list(decoder.pictures(info, everything(info), num_threads=1))
    return True


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "mov", "avi", "ts"])
def test_every_frame_in_order(decoder, tmp_path, suffix):
    path = write_video(tmp_path / f"a.{suffix}", 60)
    if suffix in ("avi", "ts") and refused(decoder, decoder.probe(path)):
        return
    info, found = numbers(decoder, path)
    assert found == list(range(60))
    assert info.timeline.end_seconds == pytest.approx(60 / 25, abs=0.03)
    assert (info.width, info.height) == (WIDTH, HEIGHT)


def test_only_the_wanted_frames(decoder, tmp_path):
    assert numbers(decoder, write_video(tmp_path / "a.mp4", 60), {3, 17, 59})[1] == [3, 17, 59]


def test_variable_rate_keeps_its_times(decoder, tmp_path):
    seconds = np.cumsum([0.0] + [0.04, 0.12] * 20).round(3)
    info, found = numbers(decoder, write_video(tmp_path / "a.mkv", len(seconds), seconds=seconds))
    assert found == list(range(len(seconds)))
    np.testing.assert_allclose(info.timeline.seconds, seconds, atol=1e-3)


@pytest.mark.parametrize("suffix", ["mkv", "mp4", "avi"])
@pytest.mark.parametrize("share", [0.3, 0.6])
def test_a_truncated_file_is_never_read_as_a_short_one(decoder, tmp_path, suffix, share):
    """Except a transport stream: it has no header with its length."""
    whole = write_video(tmp_path / f"whole.{suffix}", 200)
    cut = tmp_path / f"cut.{suffix}"
    cut.write_bytes(whole.read_bytes()[: int(whole.stat().st_size * share)])
    with pytest.raises(VideoError):
        info = decoder.probe(cut)
        list(decoder.pictures(info, everything(info), num_threads=1))


def test_files_without_pictures_are_refused(decoder, tmp_path):
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
        if decoder.name != "pyav" and refused(decoder, info):
            continue
        found = [index for index, _ in decoder.pictures(info, {WHOLE: set(range(count))}, num_threads=1)]
        assert found == list(range(count)), name
    broken = shared / "videos" / "corrupted.mp4"
    with pytest.raises(DamageSeen, match="breaks after frame 28 of 50"):
        list(decoder.pictures(decoder.probe(broken), {WHOLE: set(range(50))}, num_threads=1))
    with pytest.raises(VideoDamaged, match="pictures are damaged or lost"):
        num_damaged(decoder.probe(broken, exact=True), None, None)


def test_rotation(decoder, shared):
    """The file stores 568x320 and asks for a quarter turn clockwise, which makes its letters readable."""
    info = decoder.probe(shared / "videos" / "video_90.mov")
    assert (info.width, info.height, info.orientation) == (320, 568, Orientation(quarter_turns=1))
    with av.open(str(info.path)) as container:
        stored = next(container.decode(video=0)).to_ndarray(format="rgb24")
    rule = FrameRule(320, 320, 320, (0.0,) * 3, (1.0,) * 3)
    _, pictures = next(decoder.pictures(info, {rule: {0}}, num_threads=1))
    upright = np.rot90(stored, -1)[124:444]
    assert np.abs(pictures[rule].astype(int) - upright).mean() < 1


def test_counts_agree_with_ffprobe(decoder, shared, tmp_path):
    if shutil.which("ffprobe") is None:
        pytest.skip("no ffprobe on this machine")
    paths = sorted((shared / "videos").glob("*.m*"))
    assert paths
    for path in paths:
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


@pytest.mark.parametrize("name", ["decord", "torchcodec"])
def test_whole_frames_are_those_of_pyav(name, tmp_path, shared):
    """Bit for bit, before any resize; resizing by another library differs, and so does the recipe."""
    try:
        decoder, pyav = get_decoder(name), get_decoder("pyav")
    except ExtractError as error:
        pytest.skip(str(error))
    compared = 0
    for path in (write_video(tmp_path / "a.mp4", 30), shared / "videos" / "bigbuckbunny.mp4"):
        info = pyav.probe(path)
        rule = FrameRule(info.height, info.height, info.width, (0.0,) * 3, (1.0,) * 3)
        wanted = {rule: {0, 7, 29}}
        for (index, one), (other_index, other) in zip(
            pyav.pictures(info, wanted, num_threads=1), decoder.pictures(info, wanted, num_threads=1), strict=True
        ):
            assert index == other_index
            np.testing.assert_array_equal(one[rule], other[rule])
            compared += 1
    assert compared == 6
    assert decoder.description() != pyav.description()


def test_rules_do_not_influence_each_other(decoder, tmp_path):
    """The pictures of a rule are bit for bit the same with and without other rules."""
    info = decoder.probe(write_video(tmp_path / "a.mp4", 12))
    small = FrameRule(64, 64, 64, (0.0,) * 3, (1.0,) * 3)
    rules = [small, WHOLE, replace(small, resize=PILLOW_BILINEAR), replace(small, final_height=48, final_width=80)]
    together = dict(decoder.pictures(info, {rule: {2, 9} for rule in rules}, num_threads=1))
    for rule in rules:
        alone = dict(decoder.pictures(info, {rule: {2, 9}}, num_threads=1))
        for index in (2, 9):
            np.testing.assert_array_equal(alone[index][rule], together[index][rule])
            assert alone[index][rule].shape == (rule.height, rule.width, 3)


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(TABLE, "decord", "no_such_package.module:Decoder")
    with pytest.raises(ExtractError, match=r"needs the package decord: python -m pip install 'longtake\[decord\]'"):
        get_decoder("decord")
