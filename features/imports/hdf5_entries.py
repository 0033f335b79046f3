"""Arrays and attributes of any HDF5 file, and of `.mat` files of version 7.3, which are HDF5."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import h5py
import numpy as np

from longtake.features.errors import InvalidFeatures, NotAStore
from longtake.features.formats.hdf5 import check_stored_chunks
from longtake.features.formats.tree import MAX_ROWS, check_bytes, damage, one_line
from longtake.features.imports.growth import SPARE_BYTES
from longtake.features.stream import require_memory

Found = tuple[tuple[int, ...] | None, str, Callable[[], object]]
MOST_ENTRIES, MOST_DEPTH = 1_000_000, 20


def hdf5_entries(path: Path, *, is_matlab: bool = False) -> dict[str, Found]:
    """Name -> shape, kind and what reads it. An attribute is `<path>@<name>`. The axes of a MATLAB file are as MATLAB shows them, not as
    HDF5 stores them. Links to elsewhere, and data in other files, are left out. Raises `InvalidFeatures`."""
    found: dict[str, Found] = {}
    try:
        with h5py.File(path, "r", locking=False) as file:
            for name, item in _walk(file, "", {}, 0):
                for attribute in item.attrs:
                    if _is_plain(h5py.h5a.open(item.id, attribute.encode("utf-8", "surrogateescape")).get_type()):
                        found[f"{name}@{attribute}"] = None, "attribute", partial(_attribute, path, name, attribute)
                if isinstance(item, h5py.Dataset) and _is_plain(item.id.get_type()) and not h5py.h5ds.is_scale(item.id):
                    shape = item.shape[::-1] if is_matlab else item.shape
                    read = partial(_read, path, name, is_matlab)
                    found[name] = (shape or None), f"{item.dtype} {shape}" if shape else str(item.dtype), read
                if len(found) > MOST_ENTRIES:
                    raise InvalidFeatures(f"{path} holds more than {MOST_ENTRIES} arrays")
    except damage() as error:
        if isinstance(error, InvalidFeatures):
            raise
        raise InvalidFeatures(f"{path} is not a whole HDF5 file: {one_line(error)}") from error
    return found


def _walk(
    group: h5py.Group, name: str, seen: dict[int, bool], depth: int
) -> Iterator[tuple[str, h5py.Group | h5py.Dataset]]:
    address = h5py.h5o.get_info(group.id).addr
    if address in seen or depth > MOST_DEPTH:
        return
    seen[address] = True
    yield name, group
    for key in group:
        if group.get(key, getlink=True).__class__ is not h5py.HardLink or (not depth and key.startswith("#")):
            continue  # `#refs#` and `#subsystem#` are MATLAB's own
        item = group[key]
        inside = f"{name}/{key}".lstrip("/")
        if isinstance(item, h5py.Group):
            yield from _walk(item, inside, seen, depth + 1)
        elif isinstance(item, h5py.Dataset):
            yield inside, item


def _is_plain(kind: h5py.h5t.TypeID) -> bool:
    """Numbers and text; HDF5 follows pointers in values of other types, which end the process in a damaged file."""
    return kind.get_class() in (h5py.h5t.INTEGER, h5py.h5t.FLOAT, h5py.h5t.STRING)


def _attribute(path: Path, name: str, attribute: str) -> object:
    try:
        with h5py.File(path, "r", locking=False) as file:
            return _plain(np.asarray(file[name or "/"].attrs[attribute]))
    except damage() as error:
        raise InvalidFeatures(f"{path}: {name}@{attribute} cannot be read: {one_line(error)}") from error


def _read(path: Path, name: str, is_matlab: bool) -> object:
    try:
        with h5py.File(path, "r", locking=False) as file:
            data = file[name]
            if data.external or data.is_virtual:
                raise NotAStore("it keeps its data in another file")
            if max(data.shape, default=0) > MAX_ROWS:
                raise NotAStore(f"it declares {data.shape}")
            num_bytes = data.size * data.dtype.itemsize
            check_bytes(name, data.shape, num_bytes, data.id.get_storage_size())
            if num_bytes > 8 * path.stat().st_size + SPARE_BYTES:
                raise NotAStore(
                    f"it unpacks to {num_bytes} bytes, more than 8 times the file and {SPARE_BYTES >> 20} MiB"
                )
            require_memory(name, 2 * num_bytes)
            check_stored_chunks(data)
            values = np.asarray(data[()])
            return _plain(values.T if is_matlab else values)
    except damage() as error:
        raise InvalidFeatures(f"{path}: {name} cannot be read: {one_line(error)}") from error


def _plain(values: np.ndarray) -> object:
    if values.ndim:
        return values
    value = values.item()
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
