"""Files on a disk: synced, and one for HDF5 to write into that survives a full disk."""

from __future__ import annotations

import ctypes
import errno
import io
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from longtake.files import sync as sync

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer


BLOCK_SIZE = 4096
"""Of file systems. Large tables begin at a multiple of it, without which the kernel cannot share their blocks."""
COPY_BYTES = 1 << 26
"""Copied by the kernel at a time, so that Ctrl-C is not delayed."""
BEHIND_BYTES = 1 << 24
"""One after the other in a new file before the disk begins to write them. Fewer are left to the `fsync`."""


def copy_bytes(source: int, place: int, target: int, to: int, count: int) -> None:
    """Copy `count` bytes of an open file from `place` to `to` of another, by the kernel, which on some file systems (Btrfs, XFS) copies nothing
    but shares the blocks. Raises `OSError`, and `EOFError` if the source has fewer bytes."""
    by_kernel = hasattr(os, "copy_file_range")  # Linux has it.
    while count:
        size = min(count, COPY_BYTES)
        try:
            if not by_kernel:
                data = os.pread(source, size, place)
                done = os.pwrite(target, data, to) if data else 0
            else:
                done = os.copy_file_range(source, target, size, place, to)
        except OSError as error:
            if by_kernel and error.errno in _NO_COPY:
                by_kernel = False
                continue
            raise
        if not done and by_kernel:
            by_kernel = False  # Some file systems copy nothing and report no error.
        elif not done:
            raise EOFError(f"a file ended {count} bytes too early")
        place, to, count = place + done, to + done, count - done


_NO_COPY = (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM)
"""What kernels and file systems say that do not copy from one of these files to the other."""


def copy_file(source: Path, target: Path) -> None:
    """Raises `OSError`; `target` must not exist."""
    with source.open("rb", buffering=0) as old, target.open("xb", buffering=0) as new:
        copy_bytes(old.fileno(), 0, new.fileno(), 0, os.fstat(old.fileno()).st_size)


@cache
def _sync_file_range() -> Callable[[int, int, int, int], int] | None:
    """Of the C library; Linux has it."""
    function = getattr(ctypes.CDLL(None), "sync_file_range", None)
    if function is not None:
        function.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
    return function


_BEGIN = 2
"""SYNC_FILE_RANGE_WRITE: begin to write and do not wait. A failure is not reported here but, as always, by the next `fsync`."""


def begin_writing(file: int, place: int, count: int) -> None:
    """Let the disk write these bytes of an open file while the next ones are made: the `fsync` that follows has less to wait for."""
    if function := _sync_file_range():
        function(file, place, count, _BEGIN)


def close_later(file: int) -> None:
    """Close in the background: to free the blocks of a large file that has no name any more takes as long as a part of copying it."""
    if sys.is_finalizing():  # Python 3.11 would wait for a thread that never begins.
        os.close(file)
        return
    try:
        threading.Thread(target=os.close, args=(file,)).start()
    except RuntimeError:  # No more threads, or the interpreter ends.
        os.close(file)


class DiskFile(io.RawIOBase):
    """A file that accepts all writes and keeps the first failure, which `check` raises.

    HDF5 cannot close a file whose writes fail: the process crashes some time later without a message. So HDF5 never sees the failure.
    """

    def __init__(self, path: Path, replaced: Path | None = None) -> None:
        """`replaced` is the file whose place it will take, if there is one."""
        self._file = path.open("w+b", buffering=0)
        self._replaced = replaced
        self._failure: OSError | None = None
        self._behind = (0, 0)
        """Begin and end of the last bytes that the disk was not asked to write yet."""

    def check(self) -> None:
        if self._failure is not None:
            raise self._failure

    def write(self, data: ReadableBuffer) -> int:
        rest = memoryview(data).cast("B")
        size = len(rest)
        try:
            while len(rest) and self._failure is None:
                done = self._file.write(rest)
                rest = rest[done:]
                self._written(self._file.tell() - done, done)
        except OSError as error:
            error.filename = self._file.name
            self._failure = error
        return size

    def write_at(self, data: memoryview, place: int) -> None:
        """Bytes that HDF5 does not write, because it only knows their place."""
        with self._failing():
            while len(data):
                done = os.pwrite(self._file.fileno(), data, place)
                self._written(place, done)
                data, place = data[done:], place + done

    def copy_from(self, source: int, begin: int, place: int, count: int) -> None:
        """See `copy_bytes`."""
        file, end = self._file.fileno(), place + count
        with self._failing():
            while place < end:
                size = min(BEHIND_BYTES, end - place)
                copy_bytes(source, begin, file, place, size)
                self._written(place, size)
                begin, place = begin + size, place + size

    def _written(self, place: int, count: int) -> None:
        begin, end = self._behind
        begin, end = begin if place == end else place, place + count
        if end - begin >= BEHIND_BYTES:
            begin_writing(self._file.fileno(), begin, end - begin)
            begin = end
        self._behind = begin, end

    def sync(self) -> None:
        """Wait until all is on the disk. The descriptor that wrote reports every failure since it was opened."""
        os.fsync(self._file.fileno())

    @contextmanager
    def _failing(self) -> Iterator[None]:
        self.check()
        try:
            yield
        except OSError as error:
            error.filename = self._file.name
            self._failure = error

    def replaces(self, file: int) -> bool:
        """Whether an open file is the one that this one will replace."""
        try:
            return self._replaced is not None and os.path.samestat(os.fstat(file), self._replaced.stat())
        except FileNotFoundError:
            return False

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
