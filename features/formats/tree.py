"""A store as a tree of groups and arrays, which HDF5 and Zarr keep in different ways, and the limits that readers check.

`tree_writer.py` and `tree_reader.py` follow FORMAT.md over any such tree.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Protocol

import numpy as np

from longtake.features.columns import ArrayLike
from longtake.features.content import Storage
from longtake.features.errors import NotAStore
from longtake.features.remote import failures, reason
from longtake.features.stream import require_memory

MAGIC = "longtake-features"
NUM_BOUNDARIES = "num_boundaries"
"""Attribute of labels that have boundaries of stages; other labels have neither this attribute nor the array."""
GROUP_NAMES = "group_names"
"""Attribute of labels that have groups, a JSON list; other labels have neither this attribute nor the arrays."""
LATER_COLUMNS = {name: f"has_{name}" for name in ("decoder", "damaged_frames", "pixel_aspect", "transfer")}
"""Column -> attribute of the table of videos; stores of earlier writers have neither the attribute nor the column."""
PIECE_ROWS = 512
"""Rows per chunk, and per checksum, of columns that are read by row."""
COLUMN_ROWS = 1 << 13
"""Rows of a column that a growing store keeps or writes together, and per checksum of a column that is read as a whole."""
MAX_ROWS = 1 << 31
"""A store that declares more videos or clips is refused before anything is allocated."""
MAX_CHUNK_BYTES = 1 << 26
"""Readers refuse larger chunks, so a writer puts fewer rows into a chunk than requested if it would become larger."""
MAX_INFLATION = 1100
"""The highest compression ratio of gzip. A declared size that the stored bytes cannot hold even at this ratio is false."""


def damage() -> tuple[type[Exception], ...]:
    """What reading a damaged or hostile tree can raise, in addition to `NotAStore`."""
    local = (ArithmeticError, AttributeError, EOFError, LookupError, MemoryError, OSError, RuntimeError, TypeError)
    return (*local, ValueError, zlib.error, *failures())


def one_line(error: BaseException) -> str:
    """The message of an error; the lines of a list of faults are separated by semicolons."""
    text = reason(error) or (error.strerror if isinstance(error, OSError) and error.strerror else str(error))
    return " ".join(text.replace(":\n", ": ").replace("\n", "; ").split()) or type(error).__name__


class Tree(Protocol):
    """A group, to be read."""

    @property
    def name(self) -> str: ...

    @property
    def attributes(self) -> Mapping[str, object]: ...

    def child(self, name: str) -> Tree:
        """Raises `NotAStore` if the group is missing or is a link."""

    def names(self) -> Sequence[str]:
        """Names of the groups in it, sorted."""

    def array(self, name: str, kinds: str, num_axes: int) -> ArrayLike:
        """An array that is not read yet; fixed-length text has one axis and kind `S`. Raises `NotAStore` for an array of another type,
        with its data in another file, or with a declared size that the stored bytes cannot hold."""


class NewTree(Protocol):
    """A group, to be written."""

    def child(self, name: str) -> NewTree: ...

    def attribute(self, name: str, value: str | int) -> None: ...

    def array(self, name: str, values: np.ndarray, axes: Sequence[str]) -> None:
        """A whole array and the names of its axes, each of one length in a group; fixed-length text has one axis."""

    def column(
        self, name: str, num_rows: int, dtype: np.dtype, axes: Sequence[str], *, is_whole: bool = False
    ) -> NewTable:
        """Numbers or fixed-length text, one for each row, cut into small pieces, since it is read by row, unless it `is_whole`. Text that is
        read by row is compressed, since the longest value sets the length of all."""

    def table(
        self, name: str, shape: tuple[int, int], dtype: np.dtype, axes: Sequence[str], storage: Storage
    ) -> NewTable: ...


class NewTable(Protocol):
    """A table to be written in blocks, in order."""

    @property
    def block_rows(self) -> int:
        """How many rows to write at a time, so that no chunk is written twice."""

    @property
    def chunk_rows(self) -> int:
        """How many rows are encoded together. A block has a whole number of such chunks."""

    def write(self, rows: slice, values: np.ndarray) -> None:
        """`values` must not be kept: other rows come in the same array."""

    def keep(self, source: ArrayLike, rows: slice) -> bool:
        """Take whole chunks from the start of a block on, or all rows up to the end, from the same rows of a table of the store that is being
        replaced, without reading them. False where that is not possible; then nothing was done."""


ReadInto = Callable[[np.ndarray, int], None]
"""Fills an array with the rows of another from a row on."""


class StoredArray:
    """An array in a file that raises only `NotAStore` when it is read."""

    def __init__(
        self, name: str, shape: tuple[int, ...], dtype: np.dtype, read: Callable[[slice], np.ndarray],
        read_into: ReadInto | None = None, origin: object = None, is_terminated: bool = False,
    ) -> None:  # fmt: skip
        """`read_into` is there where reading a few rows at a time is as fast as reading all. `origin` is for a writer of the same format,
        which may take rows from there without reading them. `is_terminated` says of text that it was stored with a NUL after the longest value,
        as not all earlier writers did."""
        self._name, self.shape, self.dtype, self._read, self.read_into = name, shape, dtype, read, read_into
        self.origin, self.is_terminated = origin, is_terminated

    def __getitem__(self, key: slice) -> np.ndarray:
        with self._readable():
            return self._read(key)

    def fill(self, rows: np.ndarray, first: int) -> None:
        assert self.read_into is not None
        with self._readable():
            self.read_into(rows, first)

    @contextmanager
    def _readable(self) -> Iterator[None]:
        try:
            yield
        except damage() as error:
            raise NotAStore(f"{self._name} cannot be read: {one_line(error)}") from error


def stored_of(array: ArrayLike) -> StoredArray | None:
    """A stored array behind the checks of its checksums; None for other arrays."""
    while not isinstance(array, StoredArray):
        behind = getattr(array, "unchecked", None)
        if behind is None:
            return None
        array = behind
    return array


def origin_of(array: ArrayLike) -> object:
    stored = stored_of(array)
    return None if stored is None else stored.origin


def check_array(
    name: str, shape: Sequence[int], chunks: Sequence[int], dtype: np.dtype, kinds: str, num_axes: int
) -> None:
    if len(shape) != num_axes or dtype.kind not in kinds:
        raise NotAStore(f"{name} has type {dtype} and {len(shape)} axes; {num_axes} axes of kind {kinds} expected")
    if max(shape, default=0) > MAX_ROWS:
        raise NotAStore(f"{name} declares an impossible shape {tuple(shape)}")
    if kinds != "f" or num_axes < 2:
        # Everything except the features is read as a whole.
        require_memory(name, 4 * int(np.prod(shape, dtype=float)) * dtype.itemsize)
    if int(np.prod(chunks, dtype=float)) * dtype.itemsize > MAX_CHUNK_BYTES:
        raise NotAStore(f"{name} declares chunks of {tuple(chunks)}, more than {MAX_CHUNK_BYTES >> 20} MiB")


def check_bytes(name: str, shape: Sequence[int], num_bytes: int, stored_bytes: int) -> None:
    """Refuse a declared size that the stored bytes cannot hold: reading would allocate it."""
    if num_bytes > max(1 << 20, MAX_INFLATION * stored_bytes):
        raise NotAStore(f"{name} declares {tuple(shape)} but stores {stored_bytes} bytes")
