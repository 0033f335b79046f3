"""The features of one video as bytes, and texts of JSON: what a remote keeps, named by the hash of its content."""

from __future__ import annotations

import gzip
import hashlib
import re
import zlib
from dataclasses import dataclass

import numpy as np

from longtake.features.errors import InvalidFeatures, NotAStore
from longtake.features.stream import Clips
from longtake.features.types import canonical_json

MOST_TEXT_BYTES = 1 << 28
"""Of a table or manifest when it is unpacked: 16 bytes for each of 100,000 videos times 160."""
MOST_PACKED_BYTES = 1 << 27
TIME_BYTES = 16
"""Of a clip: two float64."""
SHA256 = re.compile(r"[0-9a-f]{64}")


def check_sha256(text: str) -> None:
    if not SHA256.fullmatch(text):
        raise InvalidFeatures(f"{text[:80]!r} is not a SHA-256")


@dataclass(frozen=True)
class Ref:
    """A file of a remote that is named by the SHA-256 of its content."""

    sha256: str
    num_bytes: int
    """Of the content: of a text, before it is compressed."""

    def __post_init__(self) -> None:
        check_sha256(self.sha256)
        if self.num_bytes < 0:
            raise InvalidFeatures(f"{self.num_bytes} bytes")


@dataclass(frozen=True)
class Piece:
    """Consecutive bytes of a pack."""

    pack: str
    """SHA-256 of the pack, which names it."""
    offset: int
    sha256: str
    """Of the bytes."""

    def __post_init__(self) -> None:
        check_sha256(self.pack)
        check_sha256(self.sha256)
        if not 0 <= self.offset <= 1 << 40:
            raise InvalidFeatures(f"a piece at byte {self.offset}")


def pack_path(sha256: str) -> str:
    return f"packs/{sha256[:2]}/{sha256}"


def text_path(sha256: str) -> str:
    return f"texts/{sha256[:2]}/{sha256}.json.gz"


def hash_of(data: bytes | memoryview) -> str:
    return hashlib.sha256(data).hexdigest()


def video_bytes(clips: Clips) -> bytes:
    """Features, start and end times of one video, little-endian, in row order."""
    features, starts, ends = clips
    parts = (features.astype(features.dtype.newbyteorder("<"), copy=False), starts.astype("<f8"), ends.astype("<f8"))
    return b"".join(np.ascontiguousarray(part).tobytes() for part in parts)


def video_num_bytes(num_clips: int, dim: int, dtype: np.dtype) -> int:
    return num_clips * (dim * dtype.itemsize + TIME_BYTES)


def video_clips(data: bytes, num_clips: int, dim: int, dtype: np.dtype) -> Clips:
    """The inverse of `video_bytes`."""
    end = num_clips * dim * dtype.itemsize
    features = np.frombuffer(data, dtype.newbyteorder("<"), num_clips * dim).astype(dtype, copy=False)
    times = np.frombuffer(data, "<f8", 2 * num_clips, end).astype(float, copy=False)
    return features.reshape(num_clips, dim), times[:num_clips], times[num_clips:]


def json_bytes(value: object) -> bytes:
    """Raises `InvalidFeatures` for infinite numbers; nan must be null already."""
    try:
        return canonical_json(value).encode()
    except ValueError as error:
        raise InvalidFeatures(f"a label or record cannot be shared: {error}") from error


def compressed(data: bytes) -> bytes:
    return gzip.compress(data, compresslevel=6, mtime=0)


def unpacked(packed: bytes, ref: Ref, where: str) -> bytes:
    """The content of a compressed text. Raises `NotAStore` if it is not what `ref` says; no more than that is unpacked."""
    if ref.num_bytes > MOST_TEXT_BYTES:
        raise NotAStore(f"{where} declares {ref.num_bytes} bytes; at most {MOST_TEXT_BYTES} are read")
    unpacker = zlib.decompressobj(wbits=31)
    try:
        data = unpacker.decompress(packed, ref.num_bytes + 1)
    except zlib.error as error:
        raise NotAStore(f"{where} is damaged: {error}") from error
    if len(data) != ref.num_bytes or hash_of(data) != ref.sha256:
        raise NotAStore(f"{where} is damaged: its content does not match its SHA-256")
    return data


def null_for_nan(values: np.ndarray) -> list:
    """Numbers for JSON, in any number of axes."""
    nested: list = np.where(np.isnan(values), None, values.astype(object)).tolist()  # type: ignore[call-overload]
    return nested
