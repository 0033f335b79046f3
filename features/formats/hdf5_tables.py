"""Tables of features in a new HDF5 file, which take what does not change from the file that is replaced.

Without compression, the rows of a table are one range of bytes in the file. It is written and copied outside of the HDF5 library: the kernel
copies ranges between files as fast as the disk allows, and shares them where the file system can. With compression, chunks are copied
as they are stored.
"""

from __future__ import annotations

import os

import h5py
import numpy as np

from longtake.features.columns import ArrayLike
from longtake.features.errors import NotAStore
from longtake.features.formats.disk import DiskFile
from longtake.features.formats.tree import damage, one_line, origin_of


def create_contiguous(
    group: h5py.Group, name: str, shape: tuple[int, ...], dtype: np.dtype | h5py.Datatype
) -> h5py.Dataset:
    """A dataset without chunks that has its place in the file before it is written."""
    settings = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    settings.set_layout(h5py.h5d.CONTIGUOUS)
    settings.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    settings.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    space = h5py.h5s.create_simple(shape)
    kind = dtype.id if isinstance(dtype, h5py.Datatype) else h5py.h5t.py_create(dtype, logical=True)
    return h5py.Dataset(h5py.h5d.create(group.id, name.encode(), kind, space, settings))


def _replaced(source: ArrayLike, data: h5py.Dataset, target: DiskFile) -> h5py.Dataset | None:
    """The dataset behind `source`, if it keeps rows in the same way and is of the file that `target` will replace."""
    origin = origin_of(source)
    if not isinstance(origin, h5py.Dataset) or origin.file.driver != "sec2" or not target.replaces(_handle(origin)):
        return None
    is_alike = (
        origin.id.get_type() == data.id.get_type()
        and origin.shape[1:] == data.shape[1:]
        and origin.chunks == data.chunks
        and _filters(origin) == _filters(data)
    )
    return origin if is_alike else None


def _filters(data: h5py.Dataset) -> list[object]:
    settings = data.id.get_create_plist()
    return [settings.get_filter(index) for index in range(settings.get_nfilters())]


def _handle(data: h5py.Dataset) -> int:
    handle: int = data.file.id.get_vfd_handle()
    return handle


class PlainTable:
    """Without compression: one range of bytes."""

    chunk_rows = 1

    def __init__(self, data: h5py.Dataset, target: DiskFile, block_rows: int) -> None:
        self._data, self._target, self.block_rows = data, target, block_rows
        self._row_bytes = int(np.prod(data.shape[1:])) * data.dtype.itemsize
        self._place: int | None = data.id.get_offset()

    def write(self, rows: slice, values: np.ndarray) -> None:
        assert self._place is not None
        plain = np.ascontiguousarray(values, self._data.dtype)
        self._target.write_at(plain.reshape(-1).view(np.uint8).data, self._place + rows.start * self._row_bytes)
        self._target.check()

    def keep(self, source: ArrayLike, rows: slice) -> bool:
        origin = _replaced(source, self._data, self._target)
        begin = None if origin is None else origin.id.get_offset()
        if origin is None or begin is None or self._place is None:
            return False
        place, count = rows.start * self._row_bytes, (rows.stop - rows.start) * self._row_bytes
        if os.fstat(_handle(origin)).st_size < begin + place + count:
            raise NotAStore(f"{origin.name} is cut off")
        self._target.copy_from(_handle(origin), begin + place, self._place + place, count)
        self._target.check()
        return True


class ChunkedTable:
    """With compression: chunks."""

    def __init__(self, data: h5py.Dataset, target: DiskFile, block_rows: int) -> None:
        self._data, self._target, self.block_rows = data, target, block_rows
        self.chunk_rows: int = data.chunks[0]

    def write(self, rows: slice, values: np.ndarray) -> None:
        if values.dtype.kind == "S":
            values = values.astype(h5py.string_dtype("utf-8", values.dtype.itemsize))
        self._data[rows] = values
        self._target.check()

    def keep(self, source: ArrayLike, rows: slice) -> bool:
        origin = _replaced(source, self._data, self._target)
        step = self.chunk_rows
        # A last chunk that is not full is stored in full, so its rows beyond the end are kept with it.
        if origin is None or (rows.stop % step and not rows.stop == self._data.shape[0] == origin.shape[0]):
            return False
        others = (0,) * (len(self._data.shape) - 1)
        for row in range(rows.start, rows.stop, step):
            try:
                mask, chunk = origin.id.read_direct_chunk((row, *others))
            except damage() as error:
                raise NotAStore(f"{origin.name} cannot be read: {one_line(error)}") from error
            self._data.id.write_direct_chunk((row, *others), chunk, mask)
            self._target.check()
        return True
