"""A copy of a stream's features in one flat temporary file, for reading a few rows at a time from a store whose format makes that slow."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from functools import partial
from pathlib import Path

import numpy as np

from longtake.features.errors import InvalidFeatures, NotAStore
from longtake.features.formats.checksums import BLOCK_BYTES, BlockSums, CheckedArray, Sums
from longtake.features.formats.tree import StoredArray
from longtake.memory import shown_size


class FlatCopy:
    """An array `(rows, dim)` in a file without a name, so that it is gone with the process, however that ends. It is written once, from the first
    row to the last, and then read; blocks of rows are compared with their checksums."""

    def __init__(self, name: str, shape: tuple[int, int], dtype: np.dtype) -> None:
        """Raises `InvalidFeatures` where the disk has no room."""
        self._name, self._shape, self._dtype = name, shape, dtype
        self.num_bytes = shape[0] * shape[1] * dtype.itemsize
        self._folder = temporary_folder()
        if shutil.disk_usage(self._folder).free < self.num_bytes:
            raise self._no_room()
        self._file = tempfile.TemporaryFile(dir=self._folder, buffering=0, prefix="longtake-")
        self._sums = BlockSums(max(1, BLOCK_BYTES // (shape[1] * dtype.itemsize)))

    def _no_room(self) -> InvalidFeatures:
        free = shutil.disk_usage(self._folder).free
        return InvalidFeatures(
            f"{self._name}: its features do not fit in memory, and the temporary copy that they would be read from takes "
            f"{shown_size(self.num_bytes)}, of which {self._folder} has {shown_size(free)} free: set TMPDIR to a folder with room, allow more with "
            f"--memory, or convert the store to an uncompressed local HDF5 file, which needs no copy: features convert STORE LOCAL.h5"
        )

    def append(self, rows: np.ndarray) -> None:
        """Raises `InvalidFeatures` where the disk is full."""
        rows = np.ascontiguousarray(rows, self._dtype)
        self._sums.add(rows)
        rest = rows.reshape(-1).view(np.uint8).data
        try:
            while len(rest):
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            raise self._no_room() if error.errno in (errno.ENOSPC, errno.EDQUOT) else error from error

    def finish(self) -> CheckedArray:
        """The array, when all rows are there."""
        rows, sums = self._sums.finish()
        read_into = partial(_read_into, self._file.fileno(), self._name)
        stored = StoredArray(self._name, self._shape, self._dtype, self._read, read_into)
        return CheckedArray(
            f"{self._name}, its temporary copy in {self._folder}", stored, Sums(rows, np.array(sums, np.uint64))
        )

    def _read(self, key: slice) -> np.ndarray:
        begin, end, _ = key.indices(self._shape[0])
        rows = np.empty((max(0, end - begin), self._shape[1]), self._dtype)
        _read_into(self._file.fileno(), self._name, rows, begin)
        return rows


def temporary_folder() -> Path:
    """That of TMPDIR, or /var/tmp, since /tmp is often in memory."""
    folder = Path(os.environ.get("TMPDIR") or "/var/tmp")
    return folder if os.access(folder, os.W_OK) else Path(tempfile.gettempdir())


def _read_into(file: int, name: str, rows: np.ndarray, first: int) -> None:
    place = first * rows.shape[1] * rows.dtype.itemsize
    rest = rows.reshape(-1).view(np.uint8)
    while len(rest):
        count = os.preadv(file, [rest.data], place)
        if not count:
            raise NotAStore(f"the temporary copy of {name} is cut off")
        rest, place = rest[count:], place + count
