"""Files on a disk: synced, and one for HDF5 to write into that survives a full disk."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer


def sync(path: Path) -> None:
    """Wait until a file, or the entries of a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class DiskFile(io.RawIOBase):
    """A file that accepts all writes and keeps the first failure, which `check` raises.

    HDF5 cannot close a file whose writes fail: the process crashes some time later without a message. So HDF5 never sees the failure.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("w+b", buffering=0)
        self._failure: OSError | None = None

    def check(self) -> None:
        if self._failure is not None:
            raise self._failure

    def write(self, data: ReadableBuffer) -> int:
        rest = memoryview(data).cast("B")
        size = len(rest)
        try:
            while len(rest) and self._failure is None:
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            error.filename = self._file.name
            self._failure = error
        return size

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Bytes that could not be written because the disk is full are read as zeros."""
        wanted = memoryview(buffer).cast("B")
        got = self._file.readinto(wanted) or 0
        if self._failure is not None and got < len(wanted):
            wanted[got:] = bytes(len(wanted) - got)
            return len(wanted)
        return got

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def truncate(self, size: int | None = None) -> int:
        try:
            return self._file.truncate(size) if self._failure is None else size or 0
        except OSError as error:
            self._failure = error
            return size or 0

    def close(self) -> None:
        self._file.close()
        super().close()
