"""Damaged pictures are counted, refused above a share, and the same at any number of threads and with any decoder that reads them."""

from __future__ import annotations

import random
import re
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest

from longtake.extract.decode import get_decoder, pyav
from longtake.extract.decode.base import with_true_times
from longtake.extract.decode.damage import num_damaged
from longtake.extract.decode.streams import open_media
from longtake.extract.errors import DamageSeen, DecoderUnfit, ExtractError, VideoDamaged
from longtake.features.store import open_store
from tests.extract.media import PYAV, WHOLE, everything, groups_of_25, write_video
from tests.extract.runs import extract


def spoil(path, begin, end, seed=0):
    """Change twenty bytes between two shares of the file."""
    content = bytearray(path.read_bytes())
    chance = random.Random(seed)
    for _ in range(20):
        content[chance.randrange(int(len(content) * begin), int(len(content) * end))] ^= chance.randrange(1, 256)
    path.write_bytes(content)
    return path


@pytest.fixture
def spoilt(tmp_path):
    """250 pictures with a key frame every second, of which one second is damaged."""
    return spoil(groups_of_25(tmp_path / "a.mkv", 250), 0.45, 0.5)


def test_damage_is_seen_and_counted_until_the_next_key_frame(spoilt):
    with pytest.raises(DamageSeen):
        list(PYAV.pictures(PYAV.probe(spoilt), {WHOLE: {249}}, num_threads=1))
    info = PYAV.probe(spoilt, exact=True)
    damaged = np.array(info.damaged_seconds)
    assert 0 < len(damaged) <= 50 and 4 <= damaged.min() and damaged.max() < 6
    # How many pictures FFmpeg marks depends on its version.
    begin = damaged.min()
    with pytest.raises(VideoDamaged, match=r"\d+ of \d+ pictures are damaged or lost, the first at 4\.\d\d s"):
        num_damaged(info, begin, begin + 1)
    assert num_damaged(info, 0.0, 4.0) == num_damaged(info, 6.0, None) == 0, "of the used part only"
    few = replace(info, damaged_seconds=info.damaged_seconds[:5])
    assert num_damaged(few, None, None) == 5


def test_damage_is_seen_at_any_number_of_threads():
    """Of this file, several threads return the damaged picture before they mark it, in a third of all runs."""
    info = PYAV.probe(Path(__file__).parent / "damaged_h264.mp4")
    for _ in range(40):
        with pytest.raises((DamageSeen, av.error.FFmpegError)):
            list(pyav._frames(info, 4))


@pytest.mark.parametrize(
    "codec, suffix", [("libx264", "mp4"), ("libx265", "mkv"), ("mpeg4", "avi"), ("libvpx", "webm")]
)
def test_the_same_bits_at_any_number_of_threads(tmp_path, codec, suffix):
    """HEVC and VP8 have damage that FFmpeg does not report."""
    path = spoil(
        write_video(tmp_path / f"a.{suffix}", 60, codec=codec),
        *((0.7, 0.9) if codec == "libx265" else (0.3, 0.6)),
        seed=2,
    )

    def read(num_threads):
        def pictures(info):
            found = PYAV.pictures(info, everything(info), num_threads=num_threads)
            return np.stack([one[WHOLE] for _, one in found])

        return with_true_times(lambda *, exact: PYAV.probe(path, exact=exact), pictures)

    one = read(1)
    np.testing.assert_array_equal(one, read(2))
    np.testing.assert_array_equal(one, read(4))


def test_a_run_refuses_or_counts(tmp_path, numbers_backbone, spoilt):
    (tmp_path / "videos").mkdir()
    spoilt.rename(tmp_path / "videos" / "a.mkv")
    table = "video_id,path,start_seconds,end_seconds\nall,a.mkv,{0},{1}\nstart,a.mkv,0,4\nlong,a.mkv,0,{2}\n"
    info = PYAV.probe(tmp_path / "videos" / "a.mkv", exact=True)
    begin = min(info.damaged_seconds)
    (tmp_path / "small.csv").write_text(table.format(begin, begin + 1, begin + 0.1))
    said = extract(tmp_path, "--workers", "2", status=1).output
    assert "failed: all (decode)" in said
    assert re.search(r"long: \d+ clips; 3 pictures are damaged or lost", said)
    with open_store(tmp_path / "small.h5") as store:
        rows = {record.video_id: (record.error_type, record.damaged_frames) for record in store.stream().records}
    assert rows["all"][0] == "VideoDamaged" and rows["start"] == ("", 0) and rows["long"] == ("", 3)


@pytest.mark.parametrize("name", ["decord", "torchcodec"])
def test_decoders_that_fill_damage_without_a_word(spoilt, name):
    try:
        decoder = get_decoder(name)
    except ExtractError as error:
        pytest.skip(str(error))
    with pytest.raises(DamageSeen):
        list(decoder.pictures(decoder.probe(spoilt), {WHOLE: {249}}, num_threads=1))
    with pytest.raises(DecoderUnfit, match="damaged pictures; use --decoder pyav"):
        list(decoder.pictures(decoder.probe(spoilt, exact=True), {WHOLE: {249}}, num_threads=1))


def test_damage_after_the_used_part_does_not_matter(spoilt):
    info = PYAV.probe(spoilt)
    assert len(list(PYAV.pictures(info, {WHOLE: {0, 50}}, num_threads=4))) == 2


def test_packets_that_are_marked(tmp_path):
    """A transport stream that lost a packet: its counters show it."""
    path = groups_of_25(tmp_path / "a.ts", 100)
    content = path.read_bytes()
    pictures = [
        at for at in range(0, len(content), 188) if int.from_bytes(content[at + 1 : at + 3], "big") & 0x1FFF == 0x100
    ]
    at = pictures[len(pictures) // 2]
    path.write_bytes(content[:at] + content[at + 188 :])
    info = PYAV.probe(path)
    assert info.damaged_seconds, "the quick probe decodes such a file"


@pytest.mark.parametrize(
    "codec, suffix, threads", [("libx264", "mp4", 4), ("libx265", "mkv", 1), ("libvpx", "webm", 1)]
)
def test_codecs_with_damage_that_is_not_reported_are_decoded_by_one_thread(
    tmp_path, monkeypatch, codec, suffix, threads
):
    info = PYAV.probe(write_video(tmp_path / f"a.{suffix}", 10, codec=codec))
    opened = []

    def open_and_keep(path):
        opened.append(open_media(path))
        return opened[-1]

    monkeypatch.setattr(pyav, "open_media", open_and_keep)
    pictures = PYAV.pictures(info, {WHOLE: {0, 9}}, num_threads=4)
    next(pictures)
    assert opened[0].streams.video[0].codec_context.thread_count == threads


def test_a_stream_cut_at_an_open_group_of_pictures_is_not_damaged(tmp_path):
    """Its references to pictures before the cut are errors, also to FFmpeg with `explode`, and all of its pictures are whole."""
    whole, cut = tmp_path / "whole.mp4", tmp_path / "cut.mp4"
    picture = np.random.default_rng(0).integers(0, 255, (124, 124, 3), dtype=np.uint8)
    with av.open(str(whole), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        stream.options = {"x264-params": "open-gop=1:keyint=25:bframes=3:b-pyramid=normal:ref=4:scenecut=0"}
        for index in range(60):
            moved = np.ascontiguousarray(picture[index : index + 64, index // 2 : index // 2 + 64])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(moved, format="rgb24")))
        container.mux(stream.encode())
    with av.open(str(whole)) as source, av.open(str(cut), "w") as container:
        stream = container.add_stream_from_template(source.streams.video[0])
        num_keys = 0
        for packet in source.demux(video=0):
            num_keys += packet.is_keyframe
            if num_keys > 1 and packet.dts is not None:
                packet.stream = stream
                container.mux(packet)
    with pytest.raises((DamageSeen, av.error.FFmpegError)):
        list(pyav._frames(PYAV.probe(cut), 4))
    info = PYAV.probe(cut, exact=True)
    assert info.damaged_seconds == () and len(list(pyav._frames(info, 4))) == len(info.timeline) == 35
