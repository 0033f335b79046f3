"""Is every part of a file there? Read from its own structure: declared sizes, indexes, and the chunks of its pictures.

Only the heads of parts are read, never what is in them. A file whose structure is damaged or not known here gives no answer.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from longtake.extract.decode.killable import report_alive

MOST_PARTS = 20_000_000
"""A week of pictures and sound; a file made to keep us busy has more."""
WHOLE, CUT, UNKNOWN = "whole", "cut", "unknown"


@dataclass(frozen=True)
class Parts:
    """What the structure of a file says."""

    state: str
    """`WHOLE`: all parts that hold pictures are there. `CUT`: parts are missing. `UNKNOWN`: the structure does not say."""
    missing: str = ""
    """Of a file that is cut: what is missing, as a clause about the file."""
    num_intervals: int | None = None
    """AVI: chunks of the picture stream, with the empty ones, which mean that the last picture stays."""
    num_pictures: int | None = None
    """AVI: those that are not empty. FFmpeg reads only those that the index of the file names."""
    second_file: int | None = None
    """MP4: the byte at which another file begins, as `cat a.mp4 b.mp4` writes it. Players and FFmpeg read the first only."""


NOT_KNOWN = Parts(UNKNOWN)


class _Bytes:
    """Random access to the heads of parts."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file, self.size, self._left = file, size, MOST_PARTS

    def at(self, position: int, count: int) -> bytes:
        """Raises `struct.error` past the end, and for a file of more parts than any video has. A long read counts as several."""
        report_alive()
        self._left -= 1 + count // 64
        if self._left <= 0:
            raise struct.error("too many parts")
        if position > self.size:
            raise struct.error("past the end")
        self._file.seek(position)
        return self._file.read(count)

    def numbers(self, position: int, layout: str) -> tuple[Any, ...]:
        """Raises `struct.error` past the end."""
        return struct.unpack(layout, self.at(position, struct.calcsize(layout)))


def parts_of(path: Path, container: str, stream_index: int) -> Parts:
    """`container` is FFmpeg's name of the format; `stream_index` that of the picture stream."""
    read = _READERS.get(container)
    if read is None:
        return NOT_KNOWN
    with path.open("rb") as file:
        try:
            return read(_Bytes(file, path.stat().st_size), stream_index)
        except struct.error:
            return NOT_KNOWN


def _ends_early(what: str, end: int, size: int) -> Parts:
    return Parts(CUT, f"its {what} reaches to byte {end}, and the file has {size}")


def _mp4(file: _Bytes, stream_index: int) -> Parts:
    """Fragments are followed box by box. A file without them has one index, which FFmpeg reads: `Ending.index_end`."""
    position, fragments, indexed, kind = 0, False, 0, b""
    begins, num_indexes = list[int](), 0
    while position + 8 <= file.size:
        size, kind = file.numbers(position, ">I4s")
        head = 8
        if size == 1:
            size, head = file.numbers(position + 8, ">Q")[0], 16
        if size == 0:
            size = file.size - position
        if size < head:
            break
        fragments |= kind == b"moof"
        begins += [position] * (kind == b"ftyp")
        num_indexes += kind == b"moov"
        if kind == b"sidx":
            indexed = max(indexed, position + size + _indexed_bytes(file, position + head, size - head))
        position += size
    if not fragments:
        return Parts(WHOLE, second_file=begins[1] if min(len(begins), num_indexes) > 1 else None)
    # No picture is in other boxes, and a text after the last box is none.
    end = max(position if kind in (b"moof", b"mdat") else 0, indexed)
    if end > file.size:
        return _ends_early("last fragment", end, file.size)
    # An index may list the fragments of one segment of many.
    return NOT_KNOWN


def lacks_index(path: Path) -> bool:
    """Whether it is an MP4 file with pictures and without the index that is written at the end of a recording."""
    kinds, position = set[bytes](), 0
    with path.open("rb") as file:
        parts = _Bytes(file, path.stat().st_size)
        try:
            while position + 8 <= parts.size:
                size, kind = parts.numbers(position, ">I4s")
                if size == 1:
                    (size,) = parts.numbers(position + 8, ">Q")
                kinds.add(kind)
                position += max(size, 8) if size else parts.size
        except struct.error:
            pass
    return {b"ftyp", b"mdat"} <= kinds and b"moov" not in kinds


def _indexed_bytes(file: _Bytes, position: int, size: int) -> int:
    """Bytes of the fragments that a segment index lists. Raises `struct.error` for a table that is longer than its box."""
    (version,) = file.numbers(position, ">B3x")
    layout = ">16xI2xH" if version == 0 else ">20xQ2xH"
    fixed = struct.calcsize(layout)
    first_offset, count = file.numbers(position, layout)
    if fixed + 12 * count > size:
        raise struct.error("the table is longer than its box")
    table = file.numbers(position + fixed, ">" + "I8x" * count)
    return int(first_offset) + sum(entry & 0x7FFFFFFF for entry in table)


_SEGMENT, _CLUSTER = 0x18538067, 0x1F43B675
_IN_SEGMENT = {0x114D9B74, 0x1549A966, 0x1654AE6B, _CLUSTER, 0x1C53BB6B, 0x1941A469, 0x1043A770, 0x1254C367}
_IN_CLUSTER = {0xE7, 0xA3, 0xA0, 0xAB, 0xA7, 0xAF, 0x5854}
_ANYWHERE = {0xEC, 0xBF}


def _matroska(file: _Bytes, stream_index: int) -> Parts:
    position, end, open_ended, last = 0, None, False, 0
    while position < file.size if end is None else position < min(end, file.size):
        try:
            kind, size, head = _element(file, position)
        except struct.error:
            if end is None or end <= file.size:
                raise
            break
        if kind == _SEGMENT and not last:
            open_ended = size is None
            end = None if size is None else position + head + size
            position, last = position + head, kind
            continue
        if last and kind not in _IN_SEGMENT | _ANYWHERE and not (last == _CLUSTER and kind in _IN_CLUSTER):
            return NOT_KNOWN
        if kind == _CLUSTER:
            size = 0  # its blocks follow, and are visited like the parts of the segment
        elif size is None:
            return NOT_KNOWN
        position += head + size
        if last and kind in _IN_SEGMENT:
            last = kind
    if position > file.size and last == _CLUSTER:
        return _ends_early("last block", position, file.size)
    if open_ended or end is None:
        return NOT_KNOWN
    if end > file.size and last in (_CLUSTER, _SEGMENT):
        return _ends_early("segment", end, file.size)
    # What follows the clusters, such as an index or tags, may be cut: no picture is in it.
    return Parts(WHOLE)


def _element(file: _Bytes, position: int) -> tuple[int, int | None, int]:
    """Id, size (None if it is not known) and length of the head of an EBML element. Raises `struct.error`."""
    head = file.at(position, 12)
    if not head or not head[0]:
        raise struct.error("no element")
    length = 9 - head[0].bit_length()
    if length > 4 or len(head) <= length or not head[length]:
        raise struct.error("no element")
    kind = int.from_bytes(head[:length], "big")
    width = 9 - head[length].bit_length()
    if len(head) < length + width:
        raise struct.error("no element")
    size = int.from_bytes(head[length : length + width], "big") & ((1 << 7 * width) - 1)
    return kind, None if size == (1 << 7 * width) - 1 else size, length + width


def _avi(file: _Bytes, stream_index: int) -> Parts:
    """Sizes of lists are often wrong, those of chunks are not: every chunk is visited."""
    pictures = {b"%02d%s" % (stream_index, kind) for kind in (b"dc", b"db")}
    position = count = filled = 0
    promised: int | None = None
    kind, has_index, riff_end, pictures_end = b"", False, 0, 0
    while position + 8 <= file.size:
        kind, size = file.numbers(position, "<4sI")
        if not kind.isalnum() and not kind.strip().isalnum():
            return NOT_KNOWN
        if kind in (b"RIFF", b"LIST"):
            name = file.at(position + 8, 4)
            if kind == b"RIFF":
                riff_end, has_index = position + 8 + size, False
            if kind == b"RIFF" or name in (b"movi", b"rec ", b"hdrl", b"strl"):
                position += 12
                continue
        if kind == b"strh":
            # The length of the wanted stream, in frame intervals; streams come in their order.
            promised = file.numbers(position + 8 + 32, "<I")[0] if stream_index == 0 else promised
            stream_index -= 1
        has_index |= kind == b"idx1"
        position += 8 + size + size % 2
        if kind in pictures:
            count, filled, pictures_end = count + 1, filled + (size > 0), position
    runs_over = position > file.size + 1
    if runs_over and (kind == b"LIST" or _STREAM_CHUNK.fullmatch(kind)):
        return _ends_early("last chunk", position, file.size)
    # Of an unfinished file, the size of the RIFF is wrong or 0.
    ended = has_index or pictures_end <= riff_end + 1 <= file.size + 1
    if promised and count + (_SLACK if ended else 0) < promised:
        return Parts(CUT, f"its header counts {promised} frame intervals, and {count} are there", count)
    if runs_over and not ended and not promised:
        return NOT_KNOWN
    # What runs over is an index, or a text after the end: no picture is in it.
    return Parts(WHOLE, num_intervals=count, num_pictures=filled)


_STREAM_CHUNK = re.compile(rb"\d\d[A-Za-z]{2}")
_SLACK = 12
"""Frame intervals by which the count in the header of an AVI file that ends properly may be wrong; half a second at 25 a second."""


def _flv(file: _Bytes, stream_index: int) -> Parts:
    (position,) = file.numbers(5, ">I")
    position += 4
    said = _flv_file_size(file.at(position, 16384))
    ended = False
    while position + 11 <= file.size:
        kind, high, low = file.numbers(position, ">BBH")
        if kind & 0x1F not in (8, 9, 18):
            return NOT_KNOWN
        if kind & 0x1F == 9:
            codec, what = file.numbers(position + 11, ">BB")
            ended = (codec & 0x8F == 7 and what == 2) or codec & 0x8F == 0x82
        position += 11 + (high << 16 | low) + 4
    if position not in (file.size, file.size + 4):
        return _ends_early("last tag", max(position, file.size + 1), file.size)
    return Parts(WHOLE) if ended or said == file.size else NOT_KNOWN


def _flv_file_size(head: bytes) -> int | None:
    at = head.find(b"filesize\x00")
    if at < 0 or len(head) < at + 17:
        return None
    (size,) = struct.unpack(">d", head[at + 9 : at + 17])
    return int(size) if math.isfinite(size) else None


_ASF_DATA = bytes.fromhex("3626b2758e66cf11a6d900aa0062ce6c")
_ASF_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")


def _asf(file: _Bytes, stream_index: int) -> Parts:
    (size,) = file.numbers(16, "<Q")
    at = file.at(0, min(size, 1 << 20)).find(_ASF_PROPERTIES)
    kind, data_size = file.numbers(size, "<16sQ")
    is_broadcast = at < 0 or file.numbers(at + 88, "<I")[0] & 1
    if kind != _ASF_DATA or is_broadcast or not data_size:
        return NOT_KNOWN
    return _ends_early("data", size + data_size, file.size) if size + data_size > file.size else Parts(WHOLE)


def _ogg(file: _Bytes, stream_index: int) -> Parts:
    position, ended = 0, dict[int, bool]()
    for end, is_last, serial in _ogg_pages(file):
        position, ended[serial] = end, is_last
    if position > file.size:
        return _ends_early("last page", position, file.size)
    return Parts(WHOLE) if ended and all(ended.values()) else NOT_KNOWN


def _ogg_pages(file: _Bytes) -> Iterator[tuple[int, bool, int]]:
    """End of each page, whether it is the last of its stream, and the stream's number."""
    position = 0
    while position + 27 <= file.size:
        mark, flags, serial, num_segments = file.numbers(position, "<4sxB8xI8xB")
        if mark != b"OggS":
            raise struct.error("no page")
        position += 27 + num_segments + sum(file.at(position + 27, num_segments))
        yield position, bool(flags & 4), serial


_READERS: dict[str, Callable[[_Bytes, int], Parts]] = {
    "mov,mp4,m4a,3gp,3g2,mj2": _mp4, "matroska,webm": _matroska, "avi": _avi, "flv": _flv, "asf": _asf, "ogg": _ogg,
}  # fmt: skip
