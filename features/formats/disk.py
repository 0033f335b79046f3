"""A file for HDF5 to write into, which survives a full disk."""

from __future__ import annotations

import io
import os
from pathlib import Path


class DiskFile(io.RawIOBase):
    """HDF5 cannot close a file whose writes fail: the process dies of it, some time later, without a word. So HDF5 is told
    that all went well, the first failure is kept, and `check` raises it where it can be handled."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("w+b", buffering=0)
        self._failure: OSError | None = None

    def check(self) -> None:
        if self._failure is not None:
            raise self._failure

    def write(self, data: bytes) -> int:
        rest = memoryview(data).cast("B")
        size = len(rest)
        try:
            while len(rest) and self._failure is None:
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            error.filename = self._file.name
            self._failure = error
        return size

    def readinto(self, buffer: bytearray) -> int:
        """What was never written, because the disk is full, reads as zeros."""
        wanted = memoryview(buffer).cast("B")
        got = self._file.readinto(wanted) or 0
        if self._failure is not None and got < len(wanted):
            wanted[got:] = bytes(len(wanted) - got)
            return len(wanted)
        return got

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def truncate(self, size: int | None = None) -> int:
        try:
            return self._file.truncate(size) if self._failure is None else size or 0
        except OSError as error:
            self._failure = error
            return size or 0

    def close(self) -> None:
        self._file.close()
        super().close()
