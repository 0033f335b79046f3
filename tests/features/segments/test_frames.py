"""Frames: what is cut, damaged or declared too large is not read, and the next whole frame is found."""

import os

import pytest

from longtake.features.errors import NotAStore
from longtake.features.segments import frames
from longtake.features.segments.frames import (
    FRAME,
    HEAD,
    VIDEO,
    BadFrame,
    Frame,
    check_head,
    file_head,
    framed,
    read_frames,
)


def written(tmp_path, *texts, data=b"12345"):
    content = file_head() + b"".join(b"".join(framed(VIDEO, text, [memoryview(data)])) for text in texts)
    path = tmp_path / "s"
    path.write_bytes(content)
    return path


def found(path):
    file = os.open(path, os.O_RDONLY)
    try:
        return list(read_frames(file, path.stat().st_size))
    finally:
        os.close(file)


def test_frames_begin_and_end_at_multiples_of_eight(tmp_path):
    path = written(tmp_path, b"{}", b'{"a": 1}', b" " * 9000)
    one, two, three = found(path)
    assert (one.text.strip(), two.text.strip(), len(three.text)) == (b"{}", b'{"a": 1}', 9000)
    assert not any(place % 8 for frame in (one, two, three) for place in (frame.offset, frame.data_offset, frame.end))
    assert path.read_bytes()[two.data_offset : two.end] == b"12345\0\0\0" and three.end == path.stat().st_size


@pytest.mark.parametrize("place", range(FRAME.size + 8))
def test_a_changed_byte_of_a_head_is_seen_and_the_next_frame_found(tmp_path, place):
    path = written(tmp_path, b"{}      ", b"{1}")
    content = bytearray(path.read_bytes())
    content[HEAD.size + place] ^= 4
    path.write_bytes(content)
    bad, good = found(path)
    assert bad == BadFrame(HEAD.size, good.offset, False) and good.text.strip() == b"{1}"


def test_sizes_that_the_file_cannot_hold(tmp_path):
    path = written(tmp_path, b"{}")
    whole = path.read_bytes()
    for size in range(HEAD.size + 1, len(whole)):
        path.write_bytes(whole[:size])
        assert found(path) == [BadFrame(HEAD.size, size, True)]


def test_a_search_ends(tmp_path, monkeypatch):
    """A file full of what looks like frames is given up."""
    monkeypatch.setattr(frames, "MOST_CANDIDATES", 5)
    path = written(tmp_path, b"{}")
    content = path.read_bytes()
    path.write_bytes(content[: HEAD.size] + b"LTFR----" * 6 + content[HEAD.size :])
    assert [type(one) for one in found(path)] == [BadFrame]
    path.write_bytes(content[: HEAD.size] + b"LTFR----" * 4 + content[HEAD.size :])
    assert [type(one) for one in found(path)] == [BadFrame, Frame]


def test_a_head_of_a_later_version(tmp_path):
    path = tmp_path / "s"
    for content, begins in ((file_head(), True), (file_head()[:15], False), (b"\0" * 16, False), (b"", False)):
        path.write_bytes(content)
        file = os.open(path, os.O_RDONLY)
        assert check_head(file, len(content)) is begins
        os.close(file)
    path.write_bytes(HEAD.pack(frames.MAGIC, 2, 0))
    file = os.open(path, os.O_RDONLY)
    with pytest.raises(NotAStore, match="version 2.*version 1"):
        check_head(file, HEAD.size)
    os.close(file)


def test_a_description_that_is_too_long():
    with pytest.raises(ValueError, match="more than"):
        framed(VIDEO, b" " * (frames.MOST_TEXT + 1))
