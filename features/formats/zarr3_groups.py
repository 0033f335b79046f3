"""Groups and arrays of a Zarr store: how a new one is cut into chunks and shards, and what is refused when one is read."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.abc.store import Store as Files
from zarr.codecs import BloscCodec, BytesCodec, Crc32cCodec, GzipCodec, ShardingCodec, ZstdCodec

from longtake.features.columns import ArrayLike
from longtake.features.content import Storage
from longtake.features.errors import NotAStore
from longtake.features.formats.shards import StoredShards, keep_shards, shard_of
from longtake.features.formats.tree import COLUMN_ROWS, PIECE_ROWS, StoredArray, check_array, check_bytes, damage
from longtake.features.stream import BLOCK_BYTES
from longtake.files import require_regular

COMPRESSIONS = {
    "default": (ZstdCodec(level=1),),
    "zstd": (ZstdCodec(level=1),),
    "gzip": (GzipCodec(level=4),),
    "none": (),
}
KNOWN_CODECS = (BloscCodec, BytesCodec, Crc32cCodec, GzipCodec, ShardingCodec, ZstdCodec)
"""Codecs that a store may use."""
ARRAY_ROWS = 1 << 16
"""Rows per file of an array that is written as a whole."""
MAX_CHUNKS = 1 << 20
"""Chunks of an array that a reader accepts, since it lists those it needs."""


class NewGroup:
    def __init__(self, files: Files, path: str, folder: Path | None) -> None:
        """`folder` is that of the generation; None at a URL."""
        self._files, self._path, self._folder = files, path, folder
        self._group = zarr.open_group(files, path=path, mode="a", use_consolidated=False)

    def child(self, name: str) -> NewGroup:
        return NewGroup(self._files, f"{self._path}/{name}".lstrip("/"), self._folder)

    def attribute(self, name: str, value: str | int) -> None:
        self._group.update_attributes({name: value})

    def array(self, name: str, values: np.ndarray, axes: Sequence[str]) -> None:
        values, axes = _without_text(values), _axes(name, values.dtype, axes)
        chunks = tuple(max(1, size) for size in (min(ARRAY_ROWS, len(values)), *values.shape[1:]))
        data = self._create(name, values.shape, values.dtype, chunks, None, COMPRESSIONS["gzip"], axes)
        data[...] = values

    def column(
        self, name: str, num_rows: int, dtype: np.dtype, axes: Sequence[str], *, is_whole: bool = False
    ) -> _NewTable:
        width, shards = (dtype.itemsize,) if dtype.kind == "S" else (), None
        rows = max(1, min(COLUMN_ROWS, num_rows))
        if not is_whole and num_rows > PIECE_ROWS:
            rows, shards = PIECE_ROWS, (COLUMN_ROWS, *width)
        stored, axes = np.dtype(np.uint8) if width else dtype, _axes(name, dtype, axes)
        data = self._create(name, (num_rows, *width), stored, (rows, *width), shards, COMPRESSIONS["gzip"], axes)
        return _NewTable(data, COLUMN_ROWS, self._folder)

    def table(
        self, name: str, shape: tuple[int, int], dtype: np.dtype, axes: Sequence[str], storage: Storage
    ) -> _NewTable:
        rows = max(1, min(storage.chunk_rows, shape[0]))
        per_shard = max(1, BLOCK_BYTES // (rows * shape[1] * dtype.itemsize))
        per_shard = min(per_shard, max(1, -(-shape[0] // rows)))
        shards = (rows * per_shard, shape[1])
        compressors = COMPRESSIONS[storage.compression]
        data = self._create(name, shape, dtype, (rows, shape[1]), shards, compressors, axes)
        return _NewTable(data, shards[0], self._folder)

    def _create(
        self, name: str, shape: tuple[int, ...], dtype: np.dtype, chunks: tuple[int, ...],
        shards: tuple[int, ...] | None, compressors: tuple[object, ...], axes: Sequence[str],
    ) -> zarr.Array:  # fmt: skip
        return self._group.create_array(
            name, shape=shape, dtype=dtype.newbyteorder("="), chunks=chunks, shards=shards, compressors=compressors,
            dimension_names=axes,  # xarray needs them
            chunk_key_encoding={"name": "default", "separator": "."},  # Without folders, which take a sync each.
            fill_value=np.nan if dtype.kind == "f" else 0,  # A lost chunk is read as NaN, which features must not contain.
        )  # fmt: skip


def _without_text(values: np.ndarray) -> np.ndarray:
    """Zarr has no fixed-length text that every reader knows, so the bytes are stored."""
    if values.dtype.kind != "S":
        return values
    return np.ascontiguousarray(values).view(np.uint8).reshape(len(values), values.dtype.itemsize)


def _axes(name: str, dtype: np.dtype, axes: Sequence[str]) -> Sequence[str]:
    return (*axes, f"{name}_bytes") if dtype.kind == "S" else axes


class _NewTable:
    def __init__(self, data: zarr.Array, block_rows: int, folder: Path | None) -> None:
        self._data, self.block_rows, self._folder = data, block_rows, folder
        self.chunk_rows: int = data.chunks[0]

    def write(self, rows: slice, values: np.ndarray) -> None:
        values = _without_text(values)
        try:
            self._data[rows] = values
        except damage() as error:
            begin = rows.start // self.block_rows * self.block_rows
            if self._folder is None or begin == rows.start or isinstance(error, OSError):
                raise
            # Zarr reads of a shard that was copied its index and a last chunk, also one that is replaced: they may be damaged.
            name, kept = f"/{self._data.path}", self._data.__getitem__
            before = StoredArray(name, self._data.shape, self._data.dtype, kept)[begin : rows.start]
            shard_of(self._data, self._folder, begin).unlink()
            self._data[begin : rows.stop] = np.concatenate([before, values])

    def keep(self, source: ArrayLike, rows: slice) -> bool:
        return self._folder is not None and keep_shards(source, self._data, self._folder, rows)


def num_bytes_of(folder: Path) -> int:
    """Size of all files in a folder. Raises `NotAStore` for a link, which could lead a reader out of the store, and `OSError` for other
    files than regular ones, whose reading might never end."""
    if folder.is_symlink():
        raise NotAStore(f"{folder} is a link")
    total = 0
    try:
        entries = os.scandir(folder)
    except FileNotFoundError:  # It is noticed when it is read.
        return 0
    with entries:
        for entry in entries:
            if entry.is_symlink():
                raise NotAStore(f"{entry.path} is a link")
            if entry.is_dir(follow_symlinks=False):
                total += num_bytes_of(Path(entry.path))
            elif not entry.is_file(follow_symlinks=False):
                require_regular(Path(entry.path))  # Says what it is.
            else:
                total += entry.stat(follow_symlinks=False).st_size
    return total


class Group:
    def __init__(self, group: zarr.Group, folder: Path | None) -> None:
        self._group, self._folder = group, folder
        self.name = f"/{group.path.partition('/')[2]}"
        self.attributes: Mapping[str, object] = dict(group.attrs)

    def _member(self, name: str, kind: type) -> Any:
        try:
            child = self._group[name]
        except KeyError:
            raise NotAStore(f"{self.name.rstrip('/')}/{name} is missing") from None
        if not isinstance(child, kind):
            raise NotAStore(f"{self.name.rstrip('/')}/{name} is not a {kind.__name__.lower()}")
        return child

    def child(self, name: str) -> Group:
        return Group(self._member(name, zarr.Group), self._folder and self._folder / name)

    def names(self) -> Sequence[str]:
        return sorted(name for name, _ in self._group.groups())

    def array(self, name: str, kinds: str, num_axes: int) -> ArrayLike:
        array = self._member(name, zarr.Array)
        full_name = f"{self.name.rstrip('/')}/{name}"
        is_text = kinds == "S"
        own_kinds, own_axes = ("u", 2) if is_text else (kinds, num_axes)
        check_array(full_name, array.shape, array.chunks, array.dtype, own_kinds, own_axes)
        _check_codecs_and_chunks(full_name, array)
        num_bytes = int(np.prod(array.shape, dtype=float)) * array.dtype.itemsize
        # Equal features can be compressed beyond any limit; they are only read on request.
        if self._folder is not None:
            stored = num_bytes_of(self._folder / name)
            if name != "features":
                check_bytes(full_name, array.shape, num_bytes, stored)
        origin = self._folder and StoredShards(array, self._folder / name)
        read = partial(_read, array, self._folder and self._folder / name)
        if not is_text:
            return StoredArray(full_name, array.shape, array.dtype, read, origin=origin)
        text = np.dtype(f"S{max(1, array.shape[1])}")
        # Writers whose text may lack the NUL had a folder for each row of chunks.
        return StoredArray(
            full_name, array.shape[:1], text, lambda key: read(key).view(text).reshape(-1),
            origin=origin, is_terminated=array.metadata.encode_chunk_key((0, 0)) == "c.0.0",
        )  # fmt: skip


def _read(array: zarr.Array, folder: Path | None, key: slice) -> np.ndarray:
    values = np.ascontiguousarray(array[key])
    # Zarr takes lost files for fill values, which would look like damage.
    if folder is not None and not folder.is_dir():
        raise NotAStore(
            "the store was published again, and what this reader had opened is removed: open the store again"
        )
    return values


def _check_codecs_and_chunks(name: str, array: zarr.Array) -> None:
    """Refuse codecs, sizes and numbers of chunks that our writer does not make, before anything is read."""
    codecs = list(array.metadata.codecs)
    for codec in codecs:
        if isinstance(codec, ShardingCodec):
            codecs += [*codec.codecs, *codec.index_codecs]
        if not isinstance(codec, KNOWN_CODECS):
            raise NotAStore(f"{name} uses the codec {type(codec).__name__}, which is not supported")
    whole = array.shards or array.chunks
    if any(size < 1 for size in array.chunks) or int(np.prod(whole, dtype=float)) * array.dtype.itemsize > 1 << 30:
        raise NotAStore(f"{name} declares chunks of {whole}")
    if np.prod([-(-size // chunk) for size, chunk in zip(array.shape, array.chunks)], dtype=float) > MAX_CHUNKS:
        raise NotAStore(f"{name} declares more than {MAX_CHUNKS} chunks")
