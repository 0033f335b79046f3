"""Transport streams that were joined from recordings with other streams. FFmpeg takes the pictures of the second recording for a further
stream, which PyAV does not know: version 19 drops its packets, and the first recording would be taken for the whole file."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np

from longtake.extract.decode.killable import report_alive

SYNC, PACKET = 0x47, 188
PREFIXES = (0, 4)
"""Bytes before each packet: none, or the time of arrival, as in recordings of cameras (M2TS)."""
BLOCK_PACKETS = 8192
"""Packets read at a time."""
FIRST_PICTURES = 25
"""A stream that begins among these pictures of the known ones begins with the file, not inside it."""
PICTURES = 0xE0
"""First of the sixteen ids of picture streams: ISO/IEC 13818-1, table 2-22."""


def late_picture_streams(path: Path, known: Collection[int]) -> set[int]:
    """Numbers (PID) of picture streams of an MPEG-TS file that begin inside it and are not `known`. Reads the file once."""
    late, others, count = set[int](), set[int](), 0
    with path.open("rb") as file:
        start = file.read(2 * (PACKET + max(PREFIXES)))
        fitting = [one for one in PREFIXES if start[one : one + 1] == start[2 * one + PACKET :][:1] == bytes((SYNC,))]
        if not fitting:
            return set()
        width, (prefix, *_) = PACKET + fitting[0], fitting
        file.seek(0)
        while block := file.read(BLOCK_PACKETS * width):
            report_alive()
            packets = np.frombuffer(block, np.uint8, len(block) // width * width).reshape(-1, width)[:, prefix:]
            for number in _pictures(packets):
                if number in known:
                    count += 1
                else:
                    (late if count >= FIRST_PICTURES else others).add(number)
    return late - others


def _pictures(packets: np.ndarray) -> list[int]:
    """Number of the stream of each picture that begins in the packets, `(packets, PACKET)`, in order."""
    packets = packets[(packets[:, 0] == SYNC) & (packets[:, 1] & 0x40 != 0)]
    # The adaptation field, if there is one, says its own length.
    content = 4 + np.where(packets[:, 3] & 0x20, 1 + packets[:, 4].astype(int), 0)
    packets, content = packets[content <= PACKET - 4], content[content <= PACKET - 4]
    begins = np.take_along_axis(packets, content[:, None] + np.arange(4), 1)
    packets = packets[(begins[:, :3] == (0, 0, 1)).all(1) & (begins[:, 3] & 0xF0 == PICTURES)]
    numbers: list[int] = ((packets[:, 1].astype(int) & 0x1F) << 8 | packets[:, 2]).tolist()
    return numbers
