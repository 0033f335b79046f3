"""A store as a Zarr v3 hierarchy: many files or objects, for object stores and HTTP.

Nothing in it is changed in place either. Every writing makes a new generation, a group of its own, and publishes it by one
write of the root's `zarr.json`, which names the generation and holds the metadata of all its arrays: a reader opens a store with
one request. Generations that were replaced stay for a while, for readers that have them open.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from uuid import uuid4

import numpy as np
import zarr
from zarr.abc.store import Store as Files
from zarr.codecs import BloscCodec, BytesCodec, Crc32cCodec, GzipCodec, ShardingCodec, ZstdCodec
from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import sync as wait_for
from zarr.errors import ZarrUserWarning
from zarr.storage import FsspecStore, LocalStore

from longtake.features.columns import ArrayLike
from longtake.features.errors import InvalidFeatures, NotAStore
from longtake.features.formats.hdf5 import sync
from longtake.features.formats.tree import (
    DAMAGED,
    MAGIC,
    MAX_CHUNK_BYTES,
    Opened,
    check_array,
    check_bytes,
    read_store,
    write_tree,
)
from longtake.features.remote import failures, plain_errors
from longtake.features.store import BLOCK_BYTES, Storage, Store
from longtake.files import Writer, is_url

COMPRESSIONS = {
    "default": (ZstdCodec(level=1),),
    "zstd": (ZstdCodec(level=1),),
    "gzip": (GzipCodec(level=4),),
    "none": (),
}
KNOWN_CODECS = (BloscCodec, BytesCodec, Crc32cCodec, GzipCodec, ShardingCodec, ZstdCodec)
"""What a store may ask a reader to run."""
COLUMN_ROWS = 1 << 16
"""Columns are cut into files of so many rows."""
PIECE_ROWS = 1 << 9
"""And those that are read by row, into pieces inside."""
GRACE_SECONDS = 60.0
"""A replaced generation is removed by the first writing after this time."""
MAX_CHUNKS = 1 << 20
"""A reader makes a list of the chunks that it needs."""


def write_file(path: Path | str, *, storage: Storage, **content: object) -> None:
    """Write a new generation and publish it by one write of the root's metadata. Readers see the old store or the new."""
    if storage.compression not in COMPRESSIONS:
        raise InvalidFeatures(f"Zarr stores take compression {', '.join(COMPRESSIONS)}, not {storage.compression}")
    generation = f"{uuid4().hex[:8]}.{Writer.current()}"
    # Zarr would write metadata of every parent, so the generation is a hierarchy of its own until it is published.
    inside = path / generation if isinstance(path, Path) else f"{path.rstrip('/')}/{generation}"
    with _opened(path, read_only=False) as files, _opened(inside, read_only=False) as new:
        root = _read_root(files)
        before, one_before = (_generation(root.get(name)) for name in ("current", "previous"))
        try:
            zarr.create_group(new)
            write_tree(_NewGroup(new, ""), storage=storage, **content)
            zarr.consolidate_metadata(new)
            metadata = json.loads(_get(new, "zarr.json"))
            if isinstance(inside, Path):
                _sync_tree(inside)
            _put(files, "zarr.json", _root_metadata(generation, before, metadata))
        except BaseException:
            wait_for(files.delete_dir(generation))
            if isinstance(path, Path) and not before:
                with suppress(OSError):
                    path.rmdir()
            raise
        if isinstance(path, Path):
            sync(path / "zarr.json")
            sync(path)
            if before and (path / before).exists():
                os.utime(path / before)
            _clear(path, current=generation)
        elif one_before:
            # Far away nobody can tell when a generation was replaced, so one is kept.
            wait_for(files.delete_dir(one_before))


def exists(path: Path | str) -> bool:
    if isinstance(path, Path):
        return (path / "zarr.json").exists()
    with _opened(path, read_only=True) as files:
        return _get(files, "zarr.json") is not None


@contextmanager
def _opened(path: Path | str, *, read_only: bool) -> Iterator[Files]:
    """The files of a store. What is particular about our use of zarr is said here."""
    with warnings.catch_warnings(), plain_errors(path) if is_url(path) else nullcontext():
        # The warning that consolidated metadata are no part of the specification yet: FORMAT.md says what they hold.
        warnings.simplefilter("ignore", ZarrUserWarning)
        with zarr.config.set({"array.write_empty_chunks": True, "json_indent": None}):
            yield (
                FsspecStore.from_url(path, read_only=read_only)
                if is_url(path)
                else LocalStore(path, read_only=read_only)
            )


def _root_metadata(generation: str, before: str | None, metadata: dict) -> bytes:
    """The root group: which generation is current, and all of its metadata under names as seen from the root."""
    inside = metadata.pop("consolidated_metadata")["metadata"]
    root = {
        "zarr_format": 3,
        "node_type": "group",
        "attributes": {"format": MAGIC, "current": generation, "previous": before},
        "consolidated_metadata": {
            "kind": "inline",
            "must_understand": False,
            "metadata": {generation: metadata, **{f"{generation}/{name}": value for name, value in inside.items()}},
        },
    }
    return json.dumps(root).encode()


def _get(files: Files, key: str) -> bytes | None:
    found = wait_for(files.get(key, default_buffer_prototype()))
    return None if found is None else found.to_bytes()


def _put(files: Files, key: str, value: bytes) -> None:
    wait_for(files.set(key, default_buffer_prototype().buffer.from_bytes(value)))


def _read_root(files: Files) -> Mapping[str, object]:
    """Attributes of the root; none where there is no store."""
    try:
        found = json.loads(_get(files, "zarr.json") or "{}")["attributes"]
    except (ValueError, KeyError, TypeError):
        return {}
    return found if isinstance(found, dict) else {}


def _generation(name: object) -> str | None:
    """A name that a store gives to a generation, if it is one that our writers make: it may come from a stranger."""
    return name if isinstance(name, str) and re.fullmatch(r"[0-9a-f]{8}\.\d+@[^/\\]+", name) else None


def _sync_tree(folder: Path) -> None:
    for parent, _, names in os.walk(folder):
        for name in names:
            sync(Path(parent, name))
        sync(Path(parent))


def _clear(path: Path, current: str) -> None:
    """Remove generations that were replaced some time ago, and what writers that were killed have left."""
    for entry in path.iterdir():
        writer = Writer.parse(entry.name.partition(".")[2])
        if entry.suffix == ".partial":
            entry.unlink(missing_ok=True)
        elif entry.name == current or writer is None:
            continue
        elif _is_complete(entry):
            if time.time() - entry.stat().st_mtime >= GRACE_SECONDS:
                shutil.rmtree(entry, ignore_errors=True)
        elif writer.is_dead():
            shutil.rmtree(entry, ignore_errors=True)


def _is_complete(generation: Path) -> bool:
    try:
        return "consolidated_metadata" in json.loads((generation / "zarr.json").read_bytes())
    except (OSError, ValueError):
        return False


class _NewGroup:
    def __init__(self, files: Files, path: str) -> None:
        self._files, self._path = files, path
        self._group = zarr.open_group(files, path=path, mode="a", use_consolidated=False)

    def child(self, name: str) -> _NewGroup:
        self._group.create_group(name)
        return _NewGroup(self._files, f"{self._path}/{name}".lstrip("/"))

    def attribute(self, name: str, value: str | int) -> None:
        self._group.attrs[name] = value

    def array(self, name: str, values: np.ndarray, *, by_row: bool = False) -> None:
        if values.dtype.kind == "S":
            # Zarr has no fixed-length text that every reader knows; its bytes are kept as they are.
            values = np.ascontiguousarray(values).view(np.uint8).reshape(len(values), values.dtype.itemsize)
        width = tuple(max(1, size) for size in values.shape[1:])
        rows, shards = max(1, min(COLUMN_ROWS, len(values))), None
        if by_row and len(values) > PIECE_ROWS:
            rows, shards = PIECE_ROWS, (COLUMN_ROWS, *width)
        self._create(name, values.shape, values.dtype, (rows, *width), shards, COMPRESSIONS["gzip"])[...] = values

    def table(self, name: str, shape: tuple[int, int], dtype: np.dtype, storage: Storage) -> _NewTable:
        rows = max(1, min(storage.chunk_rows, shape[0]))
        per_shard = max(1, BLOCK_BYTES // (rows * shape[1] * dtype.itemsize))
        per_shard = min(per_shard, max(1, -(-shape[0] // rows)))
        shards = (rows * per_shard, shape[1])
        compressors = COMPRESSIONS[storage.compression]
        return _NewTable(self._create(name, shape, dtype, (rows, shape[1]), shards, compressors), shards[0])

    def _create(self, name, shape, dtype, chunks, shards, compressors) -> zarr.Array:
        # A chunk that is lost shows as NaN, which no feature may be.
        fill = np.nan if dtype.kind == "f" else 0
        return self._group.create_array(
            name, shape=shape, dtype=dtype.newbyteorder("="), chunks=chunks, shards=shards, compressors=compressors,
            fill_value=fill,
        )  # fmt: skip


class _NewTable:
    def __init__(self, data: zarr.Array, block_rows: int) -> None:
        self._data, self.block_rows = data, block_rows

    def __setitem__(self, key: slice, rows: np.ndarray) -> None:
        self._data[key] = rows


def open_file(path: Path | str) -> Store:
    """Open for reading. Raises `NotAStore` with one line for whatever is wrong with the store."""
    if isinstance(path, Path) and not path.exists():
        raise NotAStore(f"no feature store at {path}")
    if isinstance(path, Path) and not path.is_dir():
        raise NotAStore(f"{path} is a file; a Zarr store is a folder")
    try:
        with _opened(path, read_only=True) as files:
            root = zarr.open_group(files, mode="r", use_consolidated=True)
            if root.attrs.get("format") != MAGIC:
                raise NotAStore("it does not say that it is one (attribute 'format')")
            current = str(root.attrs["current"])
            folder = path / current if isinstance(path, Path) else None
            tree = _Group(root[current], folder)
    except FileNotFoundError as error:
        raise NotAStore(f"no feature store at {path}: it has no zarr.json") from error
    except (*DAMAGED, *failures()) as error:
        raise NotAStore(f"{path} is not a Longtake feature store, or is damaged: {_line(error)}") from error
    return read_store(path, Opened(tree, files.close, _num_bytes(folder) if folder else None))


def _line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _num_bytes(folder: Path) -> int:
    """Of all files in a folder. Raises `NotAStore` for a link, which could lead a reader out of the store."""
    total = 0
    for parent, folders, names in os.walk(folder):
        for name in (*folders, *names):
            path = Path(parent, name)
            if path.is_symlink():
                raise NotAStore(f"{path} is a link")
            total += path.stat().st_size if name in names else 0
    return total


class _Group:
    def __init__(self, group: zarr.Group, folder: Path | None) -> None:
        self._group, self._folder = group, folder
        self.name = f"/{group.path.partition('/')[2]}"
        self.attributes = dict(group.attrs)

    def _member(self, name: str, kind: type) -> zarr.Group | zarr.Array:
        try:
            child = self._group[name]
        except KeyError:
            raise NotAStore(f"{self.name.rstrip('/')}/{name} is missing") from None
        if not isinstance(child, kind):
            raise NotAStore(f"{self.name.rstrip('/')}/{name} is not a {kind.__name__.lower()}")
        return child

    def child(self, name: str) -> _Group:
        return _Group(self._member(name, zarr.Group), self._folder and self._folder / name)

    def names(self) -> Sequence[str]:
        return sorted(name for name, _ in self._group.groups())

    def array(self, name: str, kinds: str, num_axes: int) -> ArrayLike:
        array = self._member(name, zarr.Array)
        full_name = f"{self.name.rstrip('/')}/{name}"
        is_text = kinds == "S"
        check_array(full_name, array.shape, array.dtype, "u" if is_text else kinds, 2 if is_text else num_axes)
        _check_chunks(full_name, array)
        num_bytes = int(np.prod(array.shape, dtype=float)) * array.dtype.itemsize
        # The features may be all alike, and then zstd makes them smaller than any bound; they are never read unasked.
        if self._folder is not None:
            stored = _num_bytes(self._folder / name)
            if name != "features":
                check_bytes(full_name, array.shape, num_bytes, stored)
        return _Array(full_name, array, is_text)


def _check_chunks(name: str, array: zarr.Array) -> None:
    """Codecs, sizes and numbers that our writer would never make are refused before anything is read."""
    codecs = list(array.metadata.codecs)
    for codec in codecs:
        if isinstance(codec, ShardingCodec):
            codecs += [*codec.codecs, *codec.index_codecs]
        if not isinstance(codec, KNOWN_CODECS):
            raise NotAStore(f"{name} asks for the codec {type(codec).__name__}, which stores do not use")
    whole = array.shards or array.chunks
    if any(size < 1 for size in array.chunks) or int(np.prod(whole, dtype=float)) * array.dtype.itemsize > 1 << 30:
        raise NotAStore(f"{name} declares chunks of {whole}")
    if int(np.prod(array.chunks, dtype=float)) * array.dtype.itemsize > MAX_CHUNK_BYTES:
        raise NotAStore(f"{name} declares chunks of {array.chunks}, more than {MAX_CHUNK_BYTES >> 20} MiB")
    if np.prod([-(-size // chunk) for size, chunk in zip(array.shape, array.chunks)], dtype=float) > MAX_CHUNKS:
        raise NotAStore(f"{name} declares more than {MAX_CHUNKS} chunks")


class _Array:
    """An array whose reading fails in one way only, and whose text looks like text."""

    def __init__(self, name: str, array: zarr.Array, is_text: bool) -> None:
        self._name, self._array, self._is_text = name, array, is_text
        self.shape = array.shape[:1] if is_text else array.shape
        self.dtype = np.dtype(f"S{max(1, array.shape[1])}") if is_text else array.dtype

    def __getitem__(self, key: slice) -> np.ndarray:
        try:
            values = np.ascontiguousarray(self._array[key])
        except (*DAMAGED, *failures()) as error:
            raise NotAStore(f"{self._name} cannot be read: {_line(error)}") from error
        return values.view(self.dtype).reshape(-1) if self._is_text else values
