"""A store as one HDF5 file.

A published file is never changed. A new one is written under a temporary name, synced, and renamed over it: if a process is killed
while HDF5 appends to a file, the file can no longer be opened, and its older data are lost too.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from functools import cached_property, partial
from pathlib import Path
from typing import Any, BinaryIO

import h5py
import numpy as np

from longtake.features.columns import ArrayLike
from longtake.features.content import Content, Storage
from longtake.features.errors import InvalidFeatures, NotAStore
from longtake.features.formats.disk import BLOCK_SIZE, DiskFile, close_later, sync
from longtake.features.formats.hdf5_tables import ChunkedTable, PlainTable, create_contiguous
from longtake.features.formats.tree import (
    COLUMN_ROWS,
    PIECE_ROWS,
    NewTable,
    ReadInto,
    StoredArray,
    check_array,
    check_bytes,
    damage,
    one_line,
)
from longtake.features.formats.tree_reader import read_store
from longtake.features.formats.tree_writer import write_tree
from longtake.features.remote import open_binary
from longtake.features.store import Store
from longtake.features.stream import BLOCK_BYTES
from longtake.files import clear_dead, require_regular, temporary_path, write_target

COMPRESSIONS: Mapping[str, Mapping[str, object]] = {
    "default": {},
    "none": {},
    "gzip": {"compression": "gzip", "compression_opts": 4, "shuffle": True},
}
"""Filters that every HDF5 library has."""
ALIGN_BYTES = 1 << 20
"""Arrays of this size or more begin at a multiple of `BLOCK_SIZE`."""
NETCDF_DIMENSION = "This is a netCDF dimension but not a netCDF variable. "
"""Begin of the name that the netCDF-4 format gives a dimension scale without values; its length follows."""


def write_file(path: Path | str, content: Content) -> None:
    """Write a whole store and publish it at `path` by one rename. Readers see the old store or the new one."""
    if isinstance(path, str):
        raise InvalidFeatures(
            f"{path}: an HDF5 file cannot be written to a URL; write a .zarr store there, or a local file"
        )
    compression = content.storage.compression
    if compression not in COMPRESSIONS:
        known = ", ".join(COMPRESSIONS)
        raise InvalidFeatures(f"compression of an HDF5 store must be {known}, got {compression}")
    path = write_target(path)
    clear_dead(path.parent, path.name)
    temporary = temporary_path(path)
    try:
        with closing(DiskFile(temporary, path)) as disk:
            with h5py.File(disk, "w", alignment_threshold=ALIGN_BYTES, alignment_interval=BLOCK_SIZE) as file:
                write_tree(_NewGroup(file, disk, content.named_axes), content)
            disk.check()
            disk.sync()
        os.replace(temporary, path)
        sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def exists(path: Path | str) -> bool:
    return isinstance(path, Path) and path.exists()


class _NewGroup:
    def __init__(self, group: h5py.Group, disk: DiskFile, named_axes: bool) -> None:
        self._group, self._disk, self._named_axes = group, disk, named_axes
        self._axes: dict[str, h5py.Dataset] = {}

    def child(self, name: str) -> _NewGroup:
        return _NewGroup(self._group.create_group(name), self._disk, self._named_axes)

    def _name_axes(self, data: h5py.Dataset, axes: Sequence[str]) -> None:
        """Attach dimension scales without values, as netCDF-4 writes its dimensions."""
        if not self._named_axes:
            return
        for name, length in zip(axes, data.shape):
            if name not in self._axes:
                self._axes[name] = self._group.create_dataset(name, (length,), ">f4")
                h5py.h5ds.set_scale(self._axes[name].id, f"{NETCDF_DIMENSION}{length:10d}".encode())
        listed = np.empty(len(axes), h5py.vlen_dtype(h5py.ref_dtype))
        listed[:] = [np.array([self._axes[name].ref], h5py.ref_dtype) for name in axes]
        data.attrs.create("DIMENSION_LIST", listed)

    def attribute(self, name: str, value: str | int) -> None:
        self._group.attrs[name] = value

    def array(self, name: str, values: np.ndarray, axes: Sequence[str]) -> None:
        options: dict[str, object] = {}
        if values.dtype.kind == "S":
            options = {"dtype": _text_type(values.dtype.itemsize)}
            values = values.astype(h5py.string_dtype("utf-8", values.dtype.itemsize))
        self._name_axes(self._group.create_dataset(name, data=values, **options), axes)
        self._disk.check()

    def column(
        self, name: str, num_rows: int, dtype: np.dtype, axes: Sequence[str], *, is_whole: bool = False
    ) -> NewTable:
        kind = _text_type(dtype.itemsize) if dtype.kind == "S" else dtype
        if dtype.kind == "S" and not is_whole and num_rows > PIECE_ROWS:
            data = self._group.create_dataset(
                name, (num_rows,), kind, chunks=(PIECE_ROWS,), fillvalue=None, **COMPRESSIONS["gzip"]
            )
            table: NewTable = ChunkedTable(data, self._disk, COLUMN_ROWS)
        else:
            data = create_contiguous(self._group, name, (num_rows,), kind)
            table = PlainTable(data, self._disk, COLUMN_ROWS)
        self._name_axes(data, axes)
        return table

    def table(
        self, name: str, shape: tuple[int, int], dtype: np.dtype, axes: Sequence[str], storage: Storage
    ) -> NewTable:
        filters = COMPRESSIONS[storage.compression]
        rows = min(storage.chunk_rows, shape[0]) if filters else 0
        # Nothing is appended to a published file, so features without compression need no chunks.
        if rows:
            data = self._group.create_dataset(name, shape, dtype, chunks=(rows, shape[1]), **filters)
        else:
            data = create_contiguous(self._group, name, shape, dtype)
        self._name_axes(data, axes)
        step = max(1, rows)
        block_rows = max(1, BLOCK_BYTES // (step * shape[1] * dtype.itemsize)) * step
        return (ChunkedTable if rows else PlainTable)(data, self._disk, block_rows)


def _text_type(length: int) -> h5py.Datatype:
    """Text that ends at its first NUL. Of text padded with NUL, which is h5py's own, other programs show the padding."""
    kind = h5py.h5t.C_S1.copy()
    kind.set_size(length)
    kind.set_strpad(h5py.h5t.STR_NULLTERM)
    kind.set_cset(h5py.h5t.CSET_UTF8)
    return h5py.Datatype(kind)


def open_file(path: Path | str) -> Store:
    """Open for reading. Raises `NotAStore` for anything that is wrong with the file."""
    # A published file never changes, so a reader needs no lock, which NFS may refuse.
    source: Path | BinaryIO
    options: dict[str, object] = {"locking": False}
    try:
        if isinstance(path, str):
            source, options = open_binary(path), {}
            num_bytes = getattr(source, "size", None)
        else:
            source, num_bytes = require_regular(path), path.stat().st_size
        file = h5py.File(source, "r", **options)
    except NotAStore:
        raise
    except FileNotFoundError as error:
        raise NotAStore(f"no feature store at {path}") from error
    except IsADirectoryError as error:
        raise NotAStore(f"{path} is a folder, not an HDF5 file") from error
    except PermissionError as error:
        raise NotAStore(f"no permission to read {path}") from error
    except damage() as error:
        if "Too many open files" in str(error):
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), str(path)) from error
        raise NotAStore(f"{path} is not an HDF5 file or is damaged: {one_line(error)}") from error
    return read_store(path, _Group(file), partial(_close, file), num_bytes)


def _close(file: h5py.File) -> None:
    """The last reader of a file that was replaced frees its blocks."""
    held = None
    if file.id.valid and file.driver == "sec2":
        with suppress(OSError):
            handle = file.id.get_vfd_handle()
            held = os.dup(handle) if not os.fstat(handle).st_nlink else None
    try:
        file.close()
    finally:
        if held is not None:
            close_later(held)


_PLAIN_TYPES = (h5py.h5t.INTEGER, h5py.h5t.FLOAT, h5py.h5t.STRING)
"""Of attributes. Text of variable length is of the type STRING too."""


class _Group:
    def __init__(self, group: h5py.Group) -> None:
        self._group = group
        self.name = str(group.name)

    @cached_property
    def attributes(self) -> Mapping[str, object]:
        return {name: self._attribute(name) for name in self._group.attrs}

    def _attribute(self, name: str) -> object:
        # HDF5 follows pointers in values of other types, such as lists of variable length: of a damaged file, these end the process.
        kind = h5py.h5a.open(self._group.id, name.encode("utf-8", "surrogateescape")).get_type().get_class()
        if kind not in _PLAIN_TYPES:
            raise NotAStore(f"{self.name}: the attribute {name!r} is neither text nor a number; the file is damaged")
        return self._group.attrs[name]

    def _own(self, name: str, kind: type) -> Any:
        # An external or soft link could lead a reader out of the file.
        if self._group.get(name, getlink=True).__class__ is not h5py.HardLink:
            raise NotAStore(f"{self.name.rstrip('/')}/{name} is missing or a link")
        child = self._group[name]
        if not isinstance(child, kind):
            raise NotAStore(f"{child.name} is not a {kind.__name__.lower()}")
        return child

    def child(self, name: str) -> _Group:
        return _Group(self._own(name, h5py.Group))

    def names(self) -> Sequence[str]:
        return sorted(self._group)

    def array(self, name: str, kinds: str, num_axes: int) -> ArrayLike:
        data = self._own(name, h5py.Dataset)
        check_array(data.name, data.shape, data.chunks or (), data.dtype, kinds, num_axes)
        if data.external or data.is_virtual:
            raise NotAStore(f"{data.name} keeps its data in another file")
        check_bytes(data.name, data.shape, data.size * data.dtype.itemsize, data.id.get_storage_size())
        check_stored_chunks(data)
        read = partial(_read_text, data) if kinds == "S" else data.__getitem__
        is_terminated = kinds == "S" and data.id.get_type().get_strpad() == h5py.h5t.STR_NULLTERM
        return StoredArray(data.name, data.shape, data.dtype, read, _reader_into(data), data, is_terminated)


def _read_text(data: h5py.Dataset, key: slice) -> np.ndarray:
    """The bytes as they are stored: h5py would convert each text from one that ends at a NUL to one padded with NUL."""
    begin, end, _ = key.indices(data.shape[0])
    found = np.zeros(max(0, end - begin), data.dtype)
    if len(found):
        rows = data.id.get_space()
        rows.select_hyperslab((begin,), found.shape)
        data.id.read(h5py.h5s.create_simple(found.shape), rows, found, data.id.get_type())
    return found


def _reader_into(data: h5py.Dataset) -> ReadInto | None:
    """For numbers that lie in the file one after the other, as in memory: a read of the file itself. h5py takes longer to select a few
    rows than to read them."""
    is_plain = (
        data.chunks is None and data.file.driver == "sec2" and h5py.h5t.py_create(data.dtype) == data.id.get_type()
    )
    offset = data.id.get_offset() if is_plain else None
    return None if offset is None else partial(_read_into, data, data.file.id.get_vfd_handle(), offset)


def _read_into(data: h5py.Dataset, file: int, offset: int, rows: np.ndarray, first: int) -> None:
    if not data.id.valid:
        raise NotAStore(f"{data.name}: the store is closed")
    place = offset + first * (rows.nbytes // len(rows))
    rest = rows.reshape(-1).view(np.uint8)
    while len(rest):
        count = os.preadv(file, [rest.data], place)
        if not count:
            raise NotAStore(f"{data.name} is cut off")
        rest, place = rest[count:], place + count


def check_stored_chunks(data: h5py.Dataset) -> None:
    """Refuse a compressed chunk that is larger than its content should be: it could inflate to a thousand times that size."""
    if not data.compression:
        return
    limit = int(np.prod(data.chunks)) * data.dtype.itemsize + 4096
    sizes: list[int] = []
    data.id.chunk_iter(lambda chunk: sizes.append(chunk.size))
    if max(sizes, default=0) > limit:
        raise NotAStore(f"{data.name} stores a chunk of {max(sizes)} bytes; at most {limit} are possible")
