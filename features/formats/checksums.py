"""Checksums of every array and attribute of a store, over any tree, as FORMAT.md describes them.

The writer's tree collects XXH3-64 sums of blocks of rows and writes them at the end. The reader's tree compares them whenever rows are
read, so no reader can use values that have changed since they were written.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xxhash

from longtake.checks import read_json, read_value, refuse
from longtake.errors import MOST_NAMES
from longtake.features.columns import CHECKSUM, ArrayLike, VideoTable, decode, encode
from longtake.features.content import Storage
from longtake.features.errors import Damaged, NotAStore
from longtake.features.formats.tree import COLUMN_ROWS, PIECE_ROWS, NewTable, NewTree, StoredArray, Tree
from longtake.features.stream import require_memory
from longtake.features.types import canonical_json, sha256_of

GROUP, INDEX, SUMS = "checksums", "index", "xxh3_64"
ROOT_SUM = "checksum"
"""Attribute of the root: the sum of the index and the sums, in hexadecimal."""
BLOCK_BYTES = 1 << 18
"""Of a block of features, about: reading one video reads whole blocks."""
STEP_BYTES = 1 << 22
"""Read at a time, before it is hashed."""


def _bytes(values: np.ndarray) -> Any:
    """The array whose buffer has the values as little-endian bytes in row order; no copy on usual machines."""
    if values.dtype.byteorder == ">" or not np.little_endian:
        values = values.astype(values.dtype.newbyteorder("<"))
    return np.ascontiguousarray(values)


def _sum_of_attributes(attributes: Mapping[str, object]) -> int:
    plain = {name: value.item() if isinstance(value, np.generic) else value for name, value in attributes.items()}
    return xxhash.xxh3_64_intdigest(canonical_json(plain).encode())


def _sum_of_all(index: np.ndarray, sums: np.ndarray) -> str:
    return xxhash.xxh3_64_hexdigest(_bytes(index).tobytes() + _bytes(sums).tobytes())


class SummedTree:
    """A group to be written, whose arrays and attributes get checksums. `finish` of the root writes them."""

    def __init__(self, group: NewTree, path: str = "", sums: dict[str, BlockSums] | None = None) -> None:
        self._group, self._path = group, path
        self._attributes: dict[str, str | int] = {}
        self._sums: dict[str, BlockSums] = {} if sums is None else sums
        """Path -> the sums of its blocks."""

    def child(self, name: str) -> SummedTree:
        return SummedTree(self._group.child(name), self._inside(name), self._sums)

    def _inside(self, name: str) -> str:
        return f"{self._path}/{name}".lstrip("/")

    def attribute(self, name: str, value: str | int) -> None:
        self._group.attribute(name, value)
        self._attributes[name] = value
        self._sums[f"{self._path}@"] = BlockSums(0, [_sum_of_attributes(self._attributes)])

    def array(self, name: str, values: np.ndarray, axes: Sequence[str]) -> None:
        blocks = BlockSums(max(1, len(values)))
        blocks.add(values)
        self._sums[self._inside(name)] = blocks
        self._group.array(name, values, axes)

    def column(
        self, name: str, num_rows: int, dtype: np.dtype, axes: Sequence[str], *, is_whole: bool = False
    ) -> NewTable:
        blocks = BlockSums(COLUMN_ROWS if is_whole else PIECE_ROWS)
        return self._summed(name, self._group.column(name, num_rows, dtype, axes, is_whole=is_whole), blocks)

    def table(
        self, name: str, shape: tuple[int, int], dtype: np.dtype, axes: Sequence[str], storage: Storage
    ) -> NewTable:
        chunk_bytes = storage.chunk_rows * shape[1] * dtype.itemsize
        blocks = BlockSums(storage.chunk_rows * max(1, BLOCK_BYTES // chunk_bytes))
        return self._summed(name, self._group.table(name, shape, dtype, axes, storage), blocks)

    def _summed(self, name: str, table: NewTable, blocks: BlockSums) -> NewTable:
        self._sums[self._inside(name)] = blocks
        return _SummedTable(table, blocks)

    def finish(self) -> None:
        found = {path: blocks.finish() for path, blocks in self._sums.items()}
        index = encode([json.dumps({path: [rows, len(sums)] for path, (rows, sums) in found.items()})])
        sums = np.array([one for _, many in found.values() for one in many], "<u8")
        group = self._group.child(GROUP)
        group.array(INDEX, index, ("one",))
        group.array(SUMS, sums, ("sum",))
        self._group.attribute(ROOT_SUM, _sum_of_all(index, sums))


class _SummedTable:
    def __init__(self, table: NewTable, blocks: BlockSums) -> None:
        self._table, self._blocks = table, blocks

    @property
    def block_rows(self) -> int:
        return self._table.block_rows

    @property
    def chunk_rows(self) -> int:
        return self._table.chunk_rows

    def write(self, rows: slice, values: np.ndarray) -> None:
        self._blocks.add(values)
        self._table.write(rows, values)

    def keep(self, source: ArrayLike, rows: slice) -> bool:
        """With the checksums that the rows have, so what has changed since they were stored is still noticed by whoever reads them."""
        array = source.summed if isinstance(source, VideoRows) else source
        if not isinstance(array, CheckedArray) or array.sums.rows != self._blocks.rows:
            return False
        # Blocks that these rows share with others; they are read before anything is kept, since they may be damaged.
        size = array.sums.rows
        first, last = -(-rows.start // size), rows.stop // size
        if first > last:
            first = last = 0
            begin, end = source[rows.start : rows.stop], None
        else:
            begin, end = source[rows.start : first * size], source[last * size : rows.stop]
        if not self._table.keep(source, rows):
            return False
        self._blocks.add(begin)
        self._blocks.add_sums(array.sums.blocks[first:last].tolist())
        if end is not None:
            self._blocks.add(end)
        return True


class BlockSums:
    """The sums of blocks of rows that come a few at a time."""

    def __init__(self, rows: int, sums: Sequence[int] = ()) -> None:
        self.rows, self._left = rows, rows
        self._sums = list(sums)
        self._hash = xxhash.xxh3_64()

    def add(self, values: np.ndarray) -> None:
        while len(values):
            taken = values[: self._left]
            self._hash.update(_bytes(taken))
            self._left -= len(taken)
            values = values[len(taken) :]
            if not self._left:
                self._sums.append(self._hash.intdigest())
                self._hash, self._left = xxhash.xxh3_64(), self.rows

    def add_sums(self, sums: Sequence[int]) -> None:
        """Of whole blocks."""
        assert not sums or self._left == self.rows
        self._sums += sums

    def finish(self) -> tuple[int, list[int]]:
        """Rows per block, and the sums so far, that of an incomplete block included."""
        return self.rows, self._sums + ([self._hash.intdigest()] if self._left < self.rows else [])


@dataclass(frozen=True)
class Sums:
    """The checksums of an array: of each block of `rows` rows."""

    rows: int
    blocks: np.ndarray

    def wrong(self, values: np.ndarray, first: int) -> list[int]:
        """Blocks whose rows have changed; `values` are the rows of whole blocks, from block `first`."""
        plain, digest = _bytes(values), xxhash.xxh3_64_intdigest
        found = [digest(plain[begin : begin + self.rows]) for begin in range(0, len(plain), self.rows)]
        different = np.flatnonzero(np.array(found, np.uint64) != self.blocks[first : first + len(found)])
        return [first + int(index) for index in different]


class CheckedTree:
    """A group to be read, whose arrays and attributes are compared with their checksums. Raises `NotAStore` where they differ."""

    def __init__(self, where: str, group: Tree, sums: Mapping[str, Sums], path: str = "") -> None:
        self._where, self._group, self._sums, self._path = where, group, sums, path
        self.name = group.name
        self.attributes = {name: value for name, value in group.attributes.items() if path or name != ROOT_SUM}
        found = sums.get(f"{path}@")
        if self.attributes and (found is None or _sum_of_attributes(self.attributes) != found.blocks[0]):
            raise Damaged(f"the attributes of {self.name} do not match their checksum: damaged since they were stored")

    def _inside(self, name: str) -> str:
        return f"{self._path}/{name}".lstrip("/")

    def child(self, name: str) -> CheckedTree:
        return CheckedTree(self._where, self._group.child(name), self._sums, self._inside(name))

    def names(self) -> Sequence[str]:
        names = self._group.names()
        begin = f"{self._path}/"
        written = {path[len(begin) :].partition("/")[0].rstrip("@") for path in self._sums if path.startswith(begin)}
        if missing := written.symmetric_difference(names):
            raise NotAStore(f"{self.name} does not hold the groups that were written: {', '.join(sorted(missing))}")
        return names

    def array(self, name: str, kinds: str, num_axes: int) -> ArrayLike:
        array = self._group.array(name, kinds, num_axes)
        path = self._inside(name)
        sums = self._sums.get(path)
        if sums is None or len(sums.blocks) != -(-array.shape[0] // sums.rows):
            raise NotAStore(f"/{path} has no checksums for its {array.shape[0]} rows")
        return CheckedArray(f"{self._where}: /{path}", array, sums)


class CheckedArray:
    """An array that is read in whole blocks, which are compared with their checksums."""

    def __init__(self, name: str, array: ArrayLike, sums: Sums) -> None:
        self._name, self.unchecked, self.sums = name, array, sums
        self.shape, self.dtype = array.shape, array.dtype

    def __getitem__(self, key: slice) -> np.ndarray:
        values, wrong = self.read(key)
        if wrong:
            rows = self.sums.rows
            last = min((wrong[0] + 1) * rows, self.shape[0])
            raise Damaged(
                f"{self._name}: rows {wrong[0] * rows} to {last} do not match their checksum: damaged since they were stored"
            )
        return values

    def read(self, key: slice) -> tuple[np.ndarray, list[int]]:
        """The rows, and the blocks that have changed."""
        begin, end, _ = key.indices(self.shape[0])
        if begin >= end:
            return np.empty((0, *self.shape[1:]), self.dtype), []
        rows = self.sums.rows
        first, last = begin // rows, -(-end // rows)
        from_row, to_row = first * rows, min(last * rows, self.shape[0])
        row_bytes = int(np.prod(self.shape[1:])) * self.dtype.itemsize
        require_memory(f"the rows of {self._name} that one checksum covers", (to_row - from_row) * row_bytes)
        if not isinstance(self.unchecked, StoredArray) or self.unchecked.read_into is None:
            values = np.asarray(self.unchecked[from_row:to_row])
            wrong = self.sums.wrong(values, first)
        else:
            values, wrong = np.empty((to_row - from_row, *self.shape[1:]), self.dtype), []
            # Blocks are hashed right after they are read, while they are in the processor's cache.
            step = max(1, STEP_BYTES // max(1, rows * row_bytes))
            for block in range(first, last, step):
                part = values[block * rows - from_row : (block + step) * rows - from_row]
                self.unchecked.fill(part, block * rows)
                wrong += self.sums.wrong(part, block)
        return values[begin - from_row : end - from_row], wrong


def checked(where: Path | str, root: Tree) -> CheckedTree:
    """The root of the store at `where`, with its checksums. Raises `NotAStore`."""
    group = root.child(GROUP)
    index, sums = (np.asarray(group.array(name, kind, 1)[:]) for name, kind in ((INDEX, "S"), (SUMS, "u")))
    if _sum_of_all(index, sums) != root.attributes.get(ROOT_SUM):
        raise Damaged("its checksums do not match their own checksum")
    return CheckedTree(str(where), root, _by_path("".join(decode(index)), sums))


def _by_path(index: str, sums: np.ndarray) -> dict[str, Sums]:
    faults: list[str] = []
    entries = read_value(dict[str, list[int]], read_json(index, "the index of checksums", NotAStore), "", faults)
    if not faults and any(len(entry) != 2 or min(entry) < 0 for entry in entries.values()):
        faults.append("an entry is not two numbers, rows and blocks")
    refuse(faults, "the index of checksums", NotAStore)
    made, first = {}, 0
    for path, (rows, count) in entries.items():
        made[path] = Sums(max(1, rows), sums[first : first + count])
        first += count
    return made


class VideoRows:
    """The features of a stream, compared with their checksums when they are read. Where a block has changed, or where the store has no
    sums of blocks, as in format version 1, the SHA-256 of each video decides."""

    def __init__(self, stream: str, array: ArrayLike, offsets: np.ndarray, videos: VideoTable) -> None:
        self._stream, self._array, self._offsets, self._videos = stream, array, offsets, videos
        self.shape, self.dtype = array.shape, array.dtype

    @property
    def summed(self) -> ArrayLike:
        """With sums of blocks, if the store has them."""
        return self._array

    @property
    def unchecked(self) -> ArrayLike:
        return self._array.unchecked if isinstance(self._array, CheckedArray) else self._array

    @property
    def reads_few_rows_fast(self) -> bool:
        """Whether a few rows, compared with their checksums, are read as fast as many: from a local file that keeps them one after the other."""
        stored = self.unchecked
        is_plain = isinstance(stored, StoredArray) and stored.read_into is not None
        return is_plain and isinstance(self._array, CheckedArray)

    def __getitem__(self, key: slice) -> np.ndarray:
        begin, end, _ = key.indices(self.shape[0])
        if isinstance(self._array, CheckedArray):
            values, wrong = self._array.read(key)
            if not wrong:
                return values
        return self._of_sound_videos(begin, max(begin, end))

    def _of_sound_videos(self, begin: int, end: int) -> np.ndarray:
        """Rows of whole videos, read and compared together; the rows that were asked for are in them."""
        first = int(np.searchsorted(self._offsets, begin, side="right")) - 1
        last = max(first, int(np.searchsorted(self._offsets, end, side="left")))
        from_row = int(self._offsets[first])
        rows = np.asarray(self.unchecked[from_row : int(self._offsets[last])])
        sums = decode(np.asarray(self._videos.columns[CHECKSUM][first:last]))
        wrong = [
            row
            for row in range(first, last)
            if sha256_of(rows[self._offsets[row] - from_row : self._offsets[row + 1] - from_row]) != sums[row - first]
        ]
        if wrong:
            names = [self._videos.record(row).video_id for row in wrong[:MOST_NAMES]]
            more = f" and {len(wrong) - len(names)} more" if len(wrong) > len(names) else ""
            whose = "its features do" if len(wrong) == 1 else "their features do"
            raise Damaged(
                f"{self._stream} {', '.join(names)}{more}: {whose} not match their checksum: damaged since they were stored. Take a copy of "
                f"the store that is whole, or keep the other videos with features convert --drop-damaged"
            )
        return rows[begin - from_row : end - from_row]
