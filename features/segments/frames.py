"""The frames that a segment is made of: a head with lengths and checksums, a description as JSON, and arrays.

A segment is a file that one process appends to. Its end may be incomplete after a kill, and any byte of it may be damaged or hostile, so no
length is used before its checksum was compared, and none is larger than the file.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import xxhash

from longtake.features.errors import NotAStore

MAGIC, VERSION = b"\x89LTSEG\r\n", 1
HEAD = struct.Struct("<8sII")
"""Of the file: magic, version, and 0."""
FRAME = struct.Struct("<4s4sIIQQ")
"""Magic, kind, bytes of the description, 0, bytes of the arrays, and the XXH3-64 of what is before it and of the description."""
FRAME_MAGIC = b"LTFR"
ALIGNED = 8
"""Frames and arrays begin at multiples of it."""
DEFINITION, VIDEO, END = b"DEFN", b"VIDE", b"END "
MOST_TEXT = 1 << 22
"""Bytes of a description: a recipe has some kilobytes."""
READ_BYTES = 1 << 12
"""Read at the start of a frame: most descriptions fit."""
SEARCH_BYTES, MOST_CANDIDATES = 1 << 20, 1000
"""When a head is damaged, the next frame is searched for: bytes at a time, and places that look like one but are none."""


@dataclass(frozen=True)
class Frame:
    kind: bytes
    text: bytes
    """JSON."""
    offset: int
    """Of the frame in its file."""
    data_offset: int
    num_data_bytes: int

    @property
    def end(self) -> int:
        return self.data_offset + self.num_data_bytes


@dataclass(frozen=True)
class BadFrame:
    """Bytes that are no frame."""

    offset: int
    end: int
    """Where the next frame begins, or the end of the file."""
    is_last: bool
    """No frame follows, as a kill leaves it."""


def file_head() -> bytes:
    return HEAD.pack(MAGIC, VERSION, 0)


def framed(kind: bytes, text: bytes, arrays: Sequence[memoryview] = ()) -> list[bytes | memoryview]:
    """The pieces of a frame, to be written one after the other. The arrays fill multiples of `ALIGNED` bytes."""
    text += b" " * (-(FRAME.size + len(text)) % ALIGNED)
    if len(text) > MOST_TEXT:
        raise ValueError(f"the description of a video takes {len(text)} bytes, more than {MOST_TEXT}")
    num_data_bytes = sum(array.nbytes for array in arrays)
    padding = b"\0" * (-num_data_bytes % ALIGNED)
    head = FRAME.pack(FRAME_MAGIC, kind, len(text), 0, num_data_bytes + len(padding), 0)[:-8]
    total = xxhash.xxh3_64(head)
    total.update(text)
    return [head + struct.pack("<Q", total.intdigest()) + text, *arrays, *([padding] if padding else [])]


def check_head(file: int, size: int) -> bool:
    """Whether a file begins as a segment; False for one that is cut in its head. Raises `NotAStore` for another version."""
    head = os.pread(file, HEAD.size, 0)
    if len(head) < HEAD.size or size < HEAD.size:
        return False
    magic, version, _ = HEAD.unpack(head)
    if magic == MAGIC and version != VERSION:
        raise NotAStore(
            f"it is a segment of version {version}, and this release reads version {VERSION}: use a newer release"
        )
    return bool(magic == MAGIC)


def read_frames(file: int, size: int) -> Iterator[Frame | BadFrame]:
    """The frames of the first `size` bytes of a segment, without their arrays, and what is between them if it is damaged."""
    offset = HEAD.size
    while offset < size:
        frame = _frame_at(file, offset, size)
        if frame is None:
            found = _next_frame(file, offset + ALIGNED, size)
            yield BadFrame(offset, found.offset if found else size, found is None)
            if found is None:
                return
            frame = found
        yield frame
        offset = frame.end


def _frame_at(file: int, offset: int, size: int) -> Frame | None:
    """None if no whole frame is there."""
    read = os.pread(file, READ_BYTES, offset)
    if len(read) < FRAME.size:
        return None
    magic, kind, num_text, zero, num_data, total = FRAME.unpack_from(read)
    begin = offset + FRAME.size
    if magic != FRAME_MAGIC or zero or num_text > MOST_TEXT or begin + num_text + num_data > size:
        return None
    text = read[FRAME.size : FRAME.size + num_text]
    if len(text) < num_text:
        text = os.pread(file, num_text, begin)
    sum_of = xxhash.xxh3_64(read[: FRAME.size - 8])
    sum_of.update(text)
    if sum_of.intdigest() != total:
        return None
    return Frame(kind, text, offset, begin + num_text, num_data)


def _next_frame(file: int, offset: int, size: int) -> Frame | None:
    """The first whole frame at or after `offset`."""
    tried = 0
    while offset < size and tried < MOST_CANDIDATES:
        block = os.pread(file, min(SEARCH_BYTES + len(FRAME_MAGIC), size - offset), offset)
        place = block.find(FRAME_MAGIC)
        while place >= 0 and tried < MOST_CANDIDATES:
            tried += 1
            if (offset + place) % ALIGNED == 0 and (frame := _frame_at(file, offset + place, size)):
                return frame
            place = block.find(FRAME_MAGIC, place + 1)
        if not block:
            return None
        offset += SEARCH_BYTES
    return None
