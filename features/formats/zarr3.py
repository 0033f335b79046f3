"""A store as a Zarr v3 hierarchy: many files or objects, for object stores and HTTP.

Published data are never changed. Each write makes a new generation, a group of its own, and publishes it by one write of the root's
`zarr.json`, which names the generation and holds the metadata of all its arrays, so a reader opens a store with one request.
Replaced generations are kept for a while, for readers that have them open. On a disk, shards that do not change are files of both
generations, so a store grows by what is new (`shards.py`).
"""

from __future__ import annotations

import json
import os
import re
import shutil
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext, suppress
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import zarr
from zarr.abc.store import Store as Files
from zarr.codecs import BloscCodec, BytesCodec, Crc32cCodec, GzipCodec, ShardingCodec, ZstdCodec
from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import sync as wait_for
from zarr.errors import ZarrUserWarning
from zarr.storage import LocalStore

from longtake.features.columns import ArrayLike
from longtake.features.content import Content, Storage
from longtake.features.errors import InvalidFeatures, NotAStore
from longtake.features.formats.bounded import READ_WITH
from longtake.features.formats.disk import sync
from longtake.features.formats.remote_files import open_files
from longtake.features.formats.shards import StoredShards, keep_shards
from longtake.features.formats.tree import (
    COLUMN_ROWS,
    MAGIC,
    PIECE_ROWS,
    StoredArray,
    check_array,
    check_bytes,
    damage,
    one_line,
)
from longtake.features.formats.tree_reader import read_store
from longtake.features.formats.tree_writer import write_tree
from longtake.features.remote import plain_errors, require_bounded
from longtake.features.store import Store
from longtake.features.stream import BLOCK_BYTES
from longtake.files import Writer, require_regular

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
SYNCED_AT_ONCE = 16
GRACE_SECONDS = 60.0
"""A replaced generation is removed by the first write after this time."""
MAX_CHUNKS = 1 << 20
"""Chunks of an array that a reader accepts, since it lists those it needs."""


def write_file(path: Path | str, content: Content) -> None:
    """Write a new generation and publish it by one write of the root's metadata. Readers see the old store or the new one."""
    compression = content.storage.compression
    if compression not in COMPRESSIONS:
        raise InvalidFeatures(f"compression of a Zarr store must be {', '.join(COMPRESSIONS)}, got {compression}")
    generation = f"{uuid4().hex[:8]}.{Writer.current()}"
    # Zarr would write metadata of every parent group, so the generation is a separate hierarchy until it is published.
    inside = path / generation if isinstance(path, Path) else f"{path.rstrip('/')}/{generation}"
    with _opened(path, read_only=False) as files, _opened(inside, read_only=False) as new:
        root = _read_root(files)
        before, one_before = (_generation(root.get(name)) for name in ("current", "previous"))
        try:
            zarr.create_group(new)
            write_tree(_NewGroup(new, "", inside if isinstance(inside, Path) else None), content)
            zarr.consolidate_metadata(new)
            metadata = json.loads(_get(new, "zarr.json") or b"{}")
            if isinstance(inside, Path):
                _sync_tree(inside)
            _publish(files, path, _root_metadata(generation, before, metadata))
        except BaseException:
            wait_for(files.delete_dir(generation))
            if isinstance(path, Path) and not before:
                with suppress(OSError):
                    path.rmdir()
            raise
        if isinstance(path, Path):
            sync(path)
            if before and (path / before).exists():
                with suppress(PermissionError):  # Of another user, who alone can remove it.
                    os.utime(path / before, follow_symlinks=False)
            _clear(path, current=generation)
        elif one_before:
            # At a URL the time of replacement is unknown, so one generation is kept.
            wait_for(files.delete_dir(one_before))


def exists(path: Path | str) -> bool:
    if isinstance(path, Path):
        return (path / "zarr.json").exists()
    with _opened(path, read_only=True) as files:
        return _get(files, "zarr.json") is not None


@contextmanager
def _opened(path: Path | str, *, read_only: bool) -> Iterator[Files]:
    """The files of a store, with zarr set up as we need it."""
    if isinstance(path, Path) and (path / "zarr.json").exists():
        require_regular(path / "zarr.json")
    with warnings.catch_warnings(), plain_errors(path) if isinstance(path, str) else nullcontext():
        # Zarr warns that consolidated metadata are not yet in its specification. FORMAT.md describes them.
        warnings.simplefilter("ignore", ZarrUserWarning)
        with zarr.config.set({"array.write_empty_chunks": True, "json_indent": None, **READ_WITH}):
            if isinstance(path, str):
                if read_only:
                    require_bounded(f"{path.rstrip('/')}/zarr.json")
                yield open_files(path, read_only=read_only)
            else:
                yield LocalStore(path, read_only=read_only)


def _root_metadata(generation: str, before: str | None, metadata: dict) -> bytes:
    """The root group: which generation is current, and all of its metadata with paths relative to the root."""
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


def _publish(files: Files, path: Path | str, root: bytes) -> None:
    """Replace the root's metadata in one step. On a disk they are synced before they get their name: after a power failure it would name an
    empty file on some file systems."""
    if isinstance(path, str):
        wait_for(files.set("zarr.json", default_buffer_prototype().buffer.from_bytes(root)))
        return
    temporary = path / f"zarr.{uuid4().hex}.partial"
    try:
        temporary.write_bytes(root)
        sync(temporary)
        os.replace(temporary, path / "zarr.json")
    finally:
        temporary.unlink(missing_ok=True)


def _get(files: Files, key: str) -> bytes | None:
    found = wait_for(files.get(key, default_buffer_prototype()))
    return None if found is None else found.to_bytes()


def _read_root(files: Files) -> Mapping[str, object]:
    """Attributes of the root; empty if there is no store."""
    try:
        found = json.loads(_get(files, "zarr.json") or "{}")["attributes"]
    except (ValueError, KeyError, TypeError):
        return {}
    return found if isinstance(found, dict) else {}


def _generation(name: object) -> str | None:
    """The name of a generation in an untrusted store, if it is one that our writers make."""
    return name if isinstance(name, str) and re.fullmatch(r"[0-9a-f]{8}\.[\d-]+@[^/\\]+", name) else None


def _sync_tree(folder: Path) -> None:
    new = []
    for parent, _, names in os.walk(folder):
        # Files that an older generation has too were synced with it.
        new += [file for file in (Path(parent, name) for name in names) if file.stat().st_nlink == 1]
        new.append(Path(parent))
    # Many at a time: a journal takes them together, where one after the other waits for a write each.
    with ThreadPoolExecutor(SYNCED_AT_ONCE) as threads:
        for _ in threads.map(sync, new):
            pass


def _clear(path: Path, current: str) -> None:
    """Remove generations that were replaced some time ago, and incomplete files of killed writers."""
    for entry in path.iterdir():
        writer = Writer.parse(entry.name.partition(".")[2])
        if entry.suffix == ".partial":
            with suppress(OSError):  # of another user
                entry.unlink()
        elif entry.name == current or writer is None:
            continue
        elif _is_complete(entry):
            if time.time() - entry.stat().st_mtime >= GRACE_SECONDS:
                shutil.rmtree(entry, ignore_errors=True)
        elif writer.is_dead(entry.stat().st_mtime):
            shutil.rmtree(entry, ignore_errors=True)


def _is_complete(generation: Path) -> bool:
    try:
        return "consolidated_metadata" in json.loads(require_regular(generation / "zarr.json").read_bytes())
    except (OSError, ValueError):
        return False


class _NewGroup:
    def __init__(self, files: Files, path: str, folder: Path | None) -> None:
        """`folder` is that of the generation; None at a URL."""
        self._files, self._path, self._folder = files, path, folder
        self._group = zarr.open_group(files, path=path, mode="a", use_consolidated=False)

    def child(self, name: str) -> _NewGroup:
        self._group.create_group(name)
        return _NewGroup(self._files, f"{self._path}/{name}".lstrip("/"), self._folder)

    def attribute(self, name: str, value: str | int) -> None:
        self._group.attrs[name] = value

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
        data = self._create(name, shape, dtype, (rows, shape[1]), shards, compressors, axes, separator="/")
        return _NewTable(data, shards[0], self._folder)

    def _create(
        self, name: str, shape: tuple[int, ...], dtype: np.dtype, chunks: tuple[int, ...],
        shards: tuple[int, ...] | None, compressors: tuple[object, ...], axes: Sequence[str], separator: str = ".",
    ) -> zarr.Array:  # fmt: skip
        return self._group.create_array(
            name, shape=shape, dtype=dtype.newbyteorder("="), chunks=chunks, shards=shards, compressors=compressors,
            dimension_names=axes,  # xarray needs them
            chunk_key_encoding={"name": "default", "separator": separator},  # Without folders, which take a sync each.
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

    def write(self, rows: slice, values: np.ndarray) -> None:
        self._data[rows] = _without_text(values)

    def keep(self, source: ArrayLike, rows: slice) -> bool:
        return self._folder is not None and keep_shards(source, self._data, self._folder, rows)


def open_file(path: Path | str) -> Store:
    """Open for reading. Raises `NotAStore` for anything that is wrong with the store."""
    if isinstance(path, Path) and not path.exists():
        raise NotAStore(f"no feature store at {path}")
    if isinstance(path, Path) and not path.is_dir():
        raise NotAStore(f"{path} is a file; a Zarr store is a folder")
    try:
        with _opened(path, read_only=True) as files:
            # Version 3 alone is one request; requests for version 2 would still be under way when the first has failed.
            root = zarr.open_group(files, mode="r", zarr_format=3, use_consolidated=True)
            if root.attrs.get("format") != MAGIC:
                raise NotAStore("it does not say that it is one (attribute 'format')")
            current = str(root.attrs["current"])
            if "/" in current or "\\" in current or current in ("", ".", ".."):
                raise NotAStore(f"its current generation is {current[:80]!r}, which is not the name of a folder in it")
            folder = path / current if isinstance(path, Path) else None
            num_bytes = _num_bytes(folder) if folder else None
            tree = _Group(root[current], folder)
    except FileNotFoundError as error:
        raise NotAStore(f"no feature store at {path}: it has no zarr.json") from error
    except damage() as error:
        if isinstance(error, NotAStore) and f"cannot read {path}" in str(error):
            raise
        raise NotAStore(f"{path} is not a Longtake feature store, or is damaged: {one_line(error)}") from error
    return read_store(path, tree, files.close, num_bytes)


def _num_bytes(folder: Path) -> int:
    """Size of all files in a folder. Raises `NotAStore` for a link, which could lead a reader out of the store, and `OSError` for other
    files than regular ones, whose reading might never end."""
    total = 0
    if folder.is_symlink():
        raise NotAStore(f"{folder} is a link")
    for parent, folders, names in os.walk(folder):
        for name in (*folders, *names):
            path = Path(parent, name)
            if path.is_symlink():
                raise NotAStore(f"{path} is a link")
            total += require_regular(path).stat().st_size if name in names else 0
    return total


class _Group:
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

    def child(self, name: str) -> _Group:
        return _Group(self._member(name, zarr.Group), self._folder and self._folder / name)

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
            stored = _num_bytes(self._folder / name)
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
