"""Whether all parts of a file are there, by its own structure: whole files, cut ones, and ones with a hole of zeros."""

from __future__ import annotations

import struct

import av
import pytest

from longtake.extract.decode import structure
from longtake.extract.decode.structure import CUT, UNKNOWN, WHOLE, parts_of
from longtake.extract.errors import VideoTruncated, VideoUnreadable
from tests.extract.media import PYAV, write_video

NAMES = {
    "mkv": "matroska,webm", "avi": "avi", "mp4": "mov,mp4,m4a,3gp,3g2,mj2", "flv": "flv", "wmv": "asf", "ogg": "ogg",
}  # fmt: skip


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A whole file of each kind, and the name of its kind."""
    folder = tmp_path_factory.mktemp("whole")
    codecs = {"wmv": "wmv2", "ogg": "libvpx"}

    def make(suffix):
        path = folder / f"a.{suffix}"
        if not path.exists():
            write_video(path, 100, codec=codecs.get(suffix, "libx264"))
        return path

    return make


def state(path, suffix, stream_index=0):
    return parts_of(path, NAMES[suffix], stream_index)


@pytest.mark.parametrize("suffix", ["mkv", "avi", "mp4", "flv", "wmv"])
def test_whole_files(whole, suffix):
    assert state(whole(suffix), suffix).state == WHOLE


@pytest.mark.parametrize("suffix", ["mkv", "avi", "flv", "wmv"])
@pytest.mark.parametrize("lost", [0.25, 0.5, 0.75])
def test_cut_files(whole, tmp_path, suffix, lost):
    content = whole(suffix).read_bytes()
    cut = tmp_path / f"cut.{suffix}"
    ends = int(len(content) * (1 - lost))
    # A file that ends between two tags of FLV does not show that it is cut.
    found = []
    for end in (ends, ends - 9):
        cut.write_bytes(content[:end])
        found.append(state(cut, suffix))
    if suffix == "flv":
        found = [parts for parts in found if parts.state == CUT]
    assert found and all(parts.state == CUT and parts.missing.startswith("its ") for parts in found)


@pytest.mark.parametrize("suffix", ["mkv", "avi", "flv"])
def test_a_hole_of_zeros_gives_no_answer(whole, tmp_path, suffix):
    """As partial downloads leave it: the size is right."""
    content = whole(suffix).read_bytes()
    half = len(content) // 2
    holed = tmp_path / f"holed.{suffix}"
    holed.write_bytes(content[:half] + bytes(len(content) - half))
    assert state(holed, suffix).state == UNKNOWN


def test_matroska_cut_after_its_pictures(whole, tmp_path):
    """Only the index is cut."""
    content = whole("mkv").read_bytes()
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(content[:-10])
    assert content.rindex(b"\x1c\x53\xbb\x6b") < len(content) - 10, "the cut is in the index"
    assert state(cut, "mkv").state == WHOLE


def test_matroska_of_unknown_length(tmp_path):
    """As browsers record: sizes are unknown, and the end of the file is the end."""
    path = tmp_path / "live.mkv"
    with av.open(str(path), "w", format="matroska", options={"live": "1"}) as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        for _ in range(50):
            container.mux(stream.encode(av.VideoFrame(64, 64, "yuv420p")))
        container.mux(stream.encode(None))
    content = path.read_bytes()
    assert state(path, "mkv").state == UNKNOWN
    cluster = content.index(b"\x1f\x43\xb6\x75")
    endless = (
        content[: cluster + 4]
        + b"\x01"
        + b"\xff" * 7
        + content[cluster + 5 + (8 - content[cluster + 4].bit_length()) :]
    )
    path.write_bytes(endless)
    assert state(path, "mkv").state == UNKNOWN
    path.write_bytes(endless[:-3])
    assert state(path, "mkv").state in (CUT, UNKNOWN)


def fragments(path):
    """Three seconds in three fragments, and an index of them at the end."""
    with av.open(str(path), "w", options={"movflags": "frag_keyframe+empty_moov"}) as container:
        stream = container.add_stream("libx264", rate=25, options={"g": "25"})
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        for _ in range(75):
            container.mux(stream.encode(av.VideoFrame(64, 64, "yuv420p")))
        container.mux(stream.encode(None))
    return path


def test_fragments(tmp_path):
    path = fragments(tmp_path / "a.mp4")
    assert state(path, "mp4").state == UNKNOWN, "no index says where the last fragment is"
    content = path.read_bytes()
    last = content.rindex(b"mdat")
    path.write_bytes(content[: last + 20])
    assert state(path, "mp4").state == CUT


def test_an_index_of_fragments(tmp_path):
    """A segment index in front lists the bytes of its fragments."""

    def box(kind, content):
        return struct.pack(">I4s", len(content) + 8, kind) + content

    fragment = box(b"moof", bytes(8)) + box(b"mdat", bytes(100))
    entries = struct.pack(">III", len(fragment), 90_000, 0) * 3
    index = box(b"sidx", struct.pack(">IIIIIHH", 0, 1, 90_000, 0, 0, 0, 3) + entries)
    path = tmp_path / "a.mp4"
    path.write_bytes(index + fragment * 3)
    assert state(path, "mp4").state == UNKNOWN, "there may be other segments"
    path.write_bytes(index + fragment * 2)
    assert state(path, "mp4").state == CUT


def test_empty_chunks_of_avi_are_counted(whole, tmp_path):
    """Each stands for a moment in which the last picture stays."""
    content = whole("avi").read_bytes()
    assert state(whole("avi"), "avi").num_intervals == 100
    at = content.index(b"idx1")
    path = tmp_path / "stays.avi"
    path.write_bytes(content[:at] + struct.pack("<4sI", b"00dc", 0) * 7 + content[at:])
    assert state(path, "avi").num_intervals == 107
    assert state(path, "avi", stream_index=1).num_intervals == 0


def avi_chunks(content, kind):
    """Where chunks of a kind begin."""
    found, at = [], content.index(b"movi") + 4
    while at < content.index(b"idx1"):
        name, size = struct.unpack_from("<4sI", content, at)
        found += [at] * (name == kind)
        at += 8 + size + size % 2
    return found


@pytest.mark.parametrize("lost", [1, 5, 12])
@pytest.mark.parametrize("head", [0, 1, 7])
def test_an_avi_cut_between_its_chunks_is_cut(whole, tmp_path, lost, head):
    content = whole("avi").read_bytes()
    path = tmp_path / "cut.avi"
    path.write_bytes(content[: avi_chunks(content, b"00dc")[-lost] + head])
    parts = state(path, "avi")
    assert (parts.state, parts.num_intervals) == (CUT, 100 - lost)


@pytest.mark.parametrize("with_index", [True, False])
def test_the_header_of_a_whole_avi_may_count_too_many(whole, tmp_path, with_index):
    """The index, or the size of the RIFF, shows that the file ends properly."""
    content = bytearray(whole("avi").read_bytes())
    if not with_index:
        del content[content.index(b"idx1") :]
        struct.pack_into("<I", content, 4, len(content) - 8)
    else:
        struct.pack_into("<I", content, 4, 0)
    path = tmp_path / "a.avi"
    for counted, expected in ((112, WHOLE), (113, CUT)):
        struct.pack_into("<I", content, content.index(b"strh") + 8 + 32, counted)
        path.write_bytes(content)
        assert state(path, "avi").state == expected
    # A size that ends before the pictures do is a wrong one.
    if not with_index:
        struct.pack_into("<I", content, content.index(b"strh") + 8 + 32, 105)
        for size in (0, 1000, len(content)):
            struct.pack_into("<I", content, 4, size)
            path.write_bytes(content)
            assert state(path, "avi").state == CUT


TAG = b"TAG" + b"Title of a song".ljust(125, b"\0")
"""ID3v1, as taggers put it after the end of any file."""


@pytest.mark.parametrize("text", [TAG, b"recorded by a camera of another kind"])
def test_a_text_after_the_end_is_no_lost_picture(whole, tmp_path, text):
    path = tmp_path / "a.avi"
    path.write_bytes(whole("avi").read_bytes() + text)
    assert state(path, "avi").state == WHOLE
    path = fragments(tmp_path / "a.mp4")
    path.write_bytes(path.read_bytes() + text)
    assert state(path, "mp4").state == UNKNOWN


def test_fragments_cut_in_their_index(tmp_path):
    path = fragments(tmp_path / "a.mp4")
    content = path.read_bytes()
    path.write_bytes(content[: content.rindex(b"mfra") + 10])
    assert state(path, "mp4").state == UNKNOWN


def test_tables_that_overlap_are_not_read(whole, tmp_path, monkeypatch):
    """Each of these boxes would be read as the head of a table of 65,535 entries."""
    path = tmp_path / "a.mp4"
    path.write_bytes(whole("mp4").read_bytes() + b"\0\0\0\x08sidx" * 45_000)
    read = []
    at = structure._Bytes.at
    monkeypatch.setattr(structure._Bytes, "at", lambda *args: read.append(args[2]) or at(*args))
    assert state(path, "mp4").state == UNKNOWN
    assert sum(read) < 1000


def test_long_reads_use_up_the_limit(whole, monkeypatch):
    monkeypatch.setattr(structure, "MOST_PARTS", 100)
    with whole("mp4").open("rb") as file, pytest.raises(struct.error, match="too many parts"):
        structure._Bytes(file, 10_000).at(0, 6400)


@pytest.mark.parametrize("size", [2**62, 2**64 - 1])
def test_an_asf_header_of_any_size(whole, tmp_path, size):
    content = bytearray(whole("wmv").read_bytes())
    struct.pack_into("<Q", content, 16, size)
    path = tmp_path / "a.wmv"
    path.write_bytes(content)
    assert state(path, "wmv").state == UNKNOWN


@pytest.mark.parametrize("size", [float("nan"), float("inf"), -float("inf"), 1e308])
def test_an_flv_of_any_size(whole, tmp_path, size):
    content = bytearray(whole("flv").read_bytes())
    struct.pack_into(">d", content, content.index(b"filesize\0") + 9, size)
    path = tmp_path / "a.flv"
    path.write_bytes(content)
    assert state(path, "flv").state == WHOLE, "its last tag says so"


def test_other_files_give_no_answer(tmp_path, monkeypatch):
    path = tmp_path / "a"
    path.write_bytes(bytes(100))
    assert {state(path, suffix).state for suffix in NAMES if suffix != "mp4"} == {UNKNOWN}
    assert parts_of(path, "mpegts", 0).state == UNKNOWN
    path.write_bytes(b"")
    assert {state(path, suffix).state for suffix in NAMES if suffix not in ("mp4", "avi")} == {UNKNOWN}


def test_a_file_of_endless_parts_is_given_up(whole, monkeypatch):
    monkeypatch.setattr(structure, "MOST_PARTS", 10)
    assert state(whole("avi"), "avi").state == UNKNOWN


def test_ogg(tmp_path):
    def page(serial, flags, size):
        return struct.pack("<4sBBqIIIB", b"OggS", 0, flags, 0, serial, 0, 0, 1) + bytes([size]) + bytes(size)

    path = tmp_path / "a.ogg"
    path.write_bytes(page(1, 2, 50) + page(2, 2, 50) + page(1, 4, 50) + page(2, 4, 50))
    assert state(path, "ogg").state == WHOLE
    path.write_bytes(path.read_bytes()[:-10])
    assert state(path, "ogg").state == CUT
    path.write_bytes(page(1, 2, 50) + page(1, 0, 50))
    assert state(path, "ogg").state == UNKNOWN


def test_files_joined_byte_by_byte(whole, tmp_path):
    """Players show the first of them only. A file of fragments may repeat its beginning."""
    content = whole("mp4").read_bytes()
    joined = tmp_path / "joined.mp4"
    joined.write_bytes(content * 2)
    assert state(whole("mp4"), "mp4").second_file is None
    assert state(joined, "mp4").second_file == len(content)
    with pytest.raises(VideoUnreadable, match=f"another file begins at byte {len(content)}"):
        PYAV.probe(joined, exact=False)
    joined.write_bytes(fragments(tmp_path / "f.mp4").read_bytes() * 2)
    assert state(joined, "mp4").second_file is None


def test_an_mp4_without_its_index_is_cut(whole, tmp_path):
    """As a camera leaves it whose power failed."""
    content = whole("mp4").read_bytes()
    path = tmp_path / "a.mp4"
    path.write_bytes(content[: content.rindex(b"moov") - 4])
    with pytest.raises(VideoTruncated, match=r"its index \(moov\) is missing"):
        PYAV.probe(path, exact=False)
    path.write_bytes(b"no video at all")
    with pytest.raises(VideoUnreadable, match="is it a video"):
        PYAV.probe(path, exact=False)
