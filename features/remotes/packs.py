"""Pieces are put together in packs, so that a store of many short videos is few files. A pack never changes."""

from __future__ import annotations

from collections.abc import Mapping

from longtake.features.errors import FeaturesError, NotAStore
from longtake.features.remotes.pieces import (
    MOST_PACKED_BYTES,
    MOST_TEXT_BYTES,
    Piece,
    Ref,
    compressed,
    hash_of,
    pack_path,
    text_path,
    unpacked,
)
from longtake.features.remotes.place import Place

PACK_BYTES = 1 << 24
"""A pack is closed before it would be larger; a larger piece has a pack of its own."""


class PackWriter:
    """Sends what the remote does not have yet, and counts it."""

    def __init__(self, place: Place, known: dict[str, Piece]) -> None:
        self._place, self.pieces = place, dict(known)
        """SHA-256 of a piece -> where it is, once its pack is closed."""
        self._buffer, self._waiting = bytearray(), dict[str, int]()
        self.num_files = self.num_bytes = 0
        """Sent to the remote."""

    def add(self, data: bytes) -> str:
        """The SHA-256 of a piece, which is sent at the latest with `close`."""
        sha256 = hash_of(data)
        if sha256 in self.pieces or sha256 in self._waiting:
            return sha256
        if self._buffer and len(self._buffer) + len(data) > PACK_BYTES:
            self.close()
        self._waiting[sha256] = len(self._buffer)
        self._buffer += data
        return sha256

    def close(self) -> None:
        if not self._buffer:
            return
        data = bytes(self._buffer)
        pack = hash_of(data)
        self._send(pack_path(pack), data)
        self.pieces |= {sha256: Piece(pack, offset, sha256) for sha256, offset in self._waiting.items()}
        self._buffer, self._waiting = bytearray(), {}

    def text(self, data: bytes) -> Ref:
        """Send a text, compressed, if it is new or damaged there."""
        if len(data) > MOST_TEXT_BYTES:
            raise FeaturesError(
                f"a table of {len(data) >> 20} MiB, and readers take at most {MOST_TEXT_BYTES >> 20}: push parts of the store"
            )
        ref = Ref(hash_of(data), len(data))
        path = text_path(ref.sha256)
        try:
            packed = self._place.read(path, MOST_PACKED_BYTES)
            if packed is not None:
                unpacked(packed, ref, path)
        except NotAStore:
            packed = None
        if packed is None:
            self._put(path, compressed(data))
        return ref

    def _send(self, path: str, data: bytes) -> None:
        # What an interrupted push has sent is there already.
        if self._place.size(path) != len(data):
            self._put(path, data)

    def _put(self, path: str, data: bytes) -> None:
        self._place.put(path, data)
        self.num_files += 1
        self.num_bytes += len(data)


class Nowhere:
    """A place that keeps nothing, to find the hashes of a store without a remote."""

    url = ""

    def require_writable(self) -> None:
        pass

    def read(self, path: str, limit: int) -> bytes | None:
        return None

    def read_range(self, path: str, begin: int, end: int) -> bytes:
        return b""

    def size(self, path: str) -> int | None:
        return None

    def walk(self, folder: str) -> list[str] | None:
        return []

    def put(self, path: str, data: bytes) -> None:
        pass

    def create(self, path: str, data: bytes) -> bool:
        return False

    def replace_all(self, files: Mapping[str, bytes]) -> None:
        pass
