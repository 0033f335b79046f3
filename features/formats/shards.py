"""Shards of a Zarr array that a new generation takes over from the one before, as the same files.

A file is linked into the folder of the new generation. Neither generation ever writes to it, and the file system frees it when the last
generation that has it is removed. Where links are not supported, the kernel copies the bytes, as it does for a last shard that will get more rows:
Zarr adds them to the copy without encoding again what is there.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import zarr

from longtake.features.columns import ArrayLike
from longtake.features.formats.disk import copy_file
from longtake.features.formats.tree import origin_of


@dataclass(frozen=True)
class StoredShards:
    """An array of a generation on this machine."""

    array: zarr.Array
    folder: Path

    @property
    def generation(self) -> Path:
        return self.folder.parents[len(Path(self.array.path).parts) - 2]

    def shard_of(self, row: int) -> Path:
        return self.folder / _key(self.array, row)


def keep_shards(source: ArrayLike, data: zarr.Array, generation: Path, rows: slice) -> bool:
    """Take the shards of these rows of `source` into `data`, an array of a new `generation` of the same store. False if they are encoded
    in another way, incomplete, or of another store; then nothing was done. Raises `OSError`, such as for a full disk."""
    origin = origin_of(source)
    if not isinstance(origin, StoredShards) or _encoding(origin.array) != _encoding(data):
        return False
    if os.path.realpath(origin.generation.parent) != os.path.realpath(generation.parent):
        return False
    size = (data.shards or data.chunks)[0]
    is_all = rows.stop == data.shape[0] == origin.array.shape[0]
    if rows.stop % data.chunks[0] and not is_all:
        return False
    pairs = []
    for index in range(rows.start // size, -(-rows.stop // size)):
        pairs.append((origin.shard_of(index * size), shard_of(data, generation, index * size)))
    if not all(old.is_file() for old, _ in pairs):
        return False
    for folder in {new.parent for _, new in pairs}:
        folder.mkdir(parents=True, exist_ok=True)
    will_grow = rows.stop % size > 0 and not is_all
    for number, (old, new) in enumerate(pairs, 1):
        copy_file(old, new) if will_grow and number == len(pairs) else _link(old, new)
    return True


def shard_of(array: zarr.Array, generation: Path, row: int) -> Path:
    """The file of an array of a generation that has this row."""
    return generation / array.path / _key(array, row)


def _key(array: zarr.Array, row: int) -> str:
    index = row // (array.shards or array.chunks)[0]
    return array.metadata.encode_chunk_key((index, *(0,) * (len(array.shape) - 1)))


def _encoding(array: zarr.Array) -> str:
    """All that decides the bytes of a shard, as JSON."""
    metadata = array.metadata.to_dict()
    kept = ("data_type", "chunk_grid", "codecs", "fill_value")
    return json.dumps([array.shape[1:], *(metadata[name] for name in kept)], sort_keys=True, default=str)


def _link(old: Path, new: Path) -> None:
    with suppress(OSError):  # Not supported here, too many links of the file, or the file is of another user.
        os.link(old, new, follow_symlinks=False)
        return
    copy_file(old, new)
