"""Whether a file says that its pictures or sound are encrypted. FFmpeg reads such files as damaged, or as whole files without pictures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

FOLDERS = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd")
"""Boxes of MP4 on the way to the kinds of samples."""
ENCRYPTED = (b"encv", b"enca", b"drmi", b"drms")
"""Kinds of encrypted samples: ISO/IEC 14496-12, section 8.12, and Apple's."""
MOST_BOXES, MOST_BYTES = 10_000, 1 << 20
"""Read at most: files may hold anything."""
SEGMENT, TRACKS, TRACK, ENCODINGS, ENCODING, ENCRYPTION = 0x18538067, 0x1654AE6B, 0xAE, 0x6D80, 0x6240, 0x5035
"""Elements of Matroska (RFC 9559) on the way to the encryption of a track, each inside the one before."""
PACKET = 188
"""Bytes of a packet of an MPEG transport stream."""
PADDING = 0x1FFF
"""Number of the stream of packets without content."""
SCRAMBLED_SHARE = 0.1
ASF_ENCRYPTION = bytes.fromhex("fbb3112223bdd211b4b700a0c955fc6e"), bytes.fromhex("14e68a292226174cb935dae07ee9289c")
"""Objects of ASF, simple and extended encryption, as they are in the file."""


def is_encrypted(path: Path) -> bool:
    """Reads headers only: of MP4, Matroska, ASF, and the first packets of a transport stream. False for other files."""
    with path.open("rb") as file:
        head = file.read(16)
        if head[4:8] in (b"ftyp", b"moov", b"styp"):
            return any(kind in ENCRYPTED for kind in _sample_kinds(file, 0, path.stat().st_size))
        if head[:4] == b"\x1aE\xdf\xa3":
            return _has_element(file, 0, path.stat().st_size, (SEGMENT, TRACKS, TRACK, ENCODINGS, ENCODING, ENCRYPTION))
        file.seek(0)
        start = file.read(MOST_BYTES)
    if head[:4] == b"\x30\x26\xb2\x75":
        return any(mark in start for mark in ASF_ENCRYPTION)
    packets = [start[at : at + 4] for at in range(0, len(start) - PACKET, PACKET)]
    if len(packets) < 10 or any(packet[0] != 0x47 for packet in packets[:10]):
        return False
    # The stream with the most packets is that of the pictures; another programme may be encrypted.
    streams = Counter(int.from_bytes(packet[1:3]) & 0x1FFF for packet in packets if packet[0] == 0x47)
    streams.pop(PADDING, None)
    ((pictures, count),) = streams.most_common(1) or [(0, 1)]
    scrambled = [packet[3] >> 6 != 0 for packet in packets if int.from_bytes(packet[1:3]) & 0x1FFF == pictures]
    return sum(scrambled) > SCRAMBLED_SHARE * count


def _sample_kinds(file: BinaryIO, begin: int, end: int) -> Iterator[bytes]:
    """The kinds of samples of all tracks, such as `avc1`; `end` is that of the box around."""
    waiting, count = [(begin, end, b"")], 0
    while waiting and count < MOST_BOXES:
        at, end, inside = waiting.pop()
        count += 1
        if at + 8 > end:
            continue
        file.seek(at)
        header = file.read(16)
        size, kind, content = int.from_bytes(header[:4]), header[4:8], at + 8
        if size == 1:
            size, content = int.from_bytes(header[8:16]), at + 16
        stop = at + size if size else end
        if stop < content or stop > end:
            continue
        waiting.append((stop, end, inside))
        if inside == b"stsd":
            yield kind
        elif kind in FOLDERS:
            # Eight bytes before the kinds of samples: version, flags and their number.
            waiting.append((content + 8 * (kind == b"stsd"), stop, kind))


def _has_element(file: BinaryIO, begin: int, end: int, way: tuple[int, ...]) -> bool:
    at = begin
    for _ in range(MOST_BOXES):
        if at >= end:
            return False
        file.seek(at)
        header = file.read(12)
        id_length, size_length = _length(header[:1]), 0
        if id_length <= 4:
            size_length = _length(header[id_length : id_length + 1])
        if not 1 <= size_length <= 8 or id_length + size_length > len(header):
            return False
        size = int.from_bytes(header[id_length : id_length + size_length]) & ((1 << 7 * size_length) - 1)
        content = at + id_length + size_length
        # A size of ones alone means that it is not known, as in a stream.
        stop = end if size == (1 << 7 * size_length) - 1 else min(content + size, end)
        if int.from_bytes(header[:id_length]) == way[0]:
            if len(way) == 1 or _has_element(file, content, stop, way[1:]):
                return True
            if way[0] in (SEGMENT, TRACKS):
                return False
        at = stop
    return False


def _length(first: bytes) -> int:
    """Bytes of a number of variable length, by its first byte; 9 for a byte that begins none."""
    return 9 - first[0].bit_length() if first else 9
