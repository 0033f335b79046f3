"""What a file holds, by name: arrays, numbers and texts of `.npy`, `.npz`, `.pt`, `.pkl`, `.h5`, `.mat` and `.csv` files.

The first bytes decide how a file is read. Files are untrusted: no pickle is run, and declared sizes are compared with the stored bytes
before anything is allocated.
"""

from __future__ import annotations

import csv
import io
import re
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import compress
from pathlib import Path
from typing import IO

import numpy as np

from longtake.errors import ManifestError
from longtake.features.errors import InvalidFeatures
from longtake.features.imports.growth import SPARE_BYTES
from longtake.features.imports.hdf5_entries import hdf5_entries
from longtake.features.imports.mat_entries import mat_entries
from longtake.features.imports.safe_pickle import MAX_BYTES, is_pickle, read_values
from longtake.files import require_regular
from longtake.manifests.sheet import DECIMAL_COMMA, PERHAPS_THOUSANDS, read_text, with_point

SUFFIXES = (".npy", ".npz", ".pt", ".pth", ".pkl", ".pickle", ".h5", ".hdf5", ".mat", ".csv", ".tsv")
"""Of files that are taken from a folder if the user gives no pattern."""
MOST_SHOWN = 8
LOOKED_AT = 20
"""Lines that say how the cells of a table are separated."""
_WHOLE = re.compile(r"[+-]?[0-9]+|nan", re.IGNORECASE)


@dataclass(frozen=True)
class Entry:
    """One value in a file."""

    shape: tuple[int, ...] | None
    """Of an array; None for a number or a text."""
    kind: str
    """What it is, for messages: `float32 (12, 1024)`."""
    read: Callable[[], object]

    @property
    def may_be_features(self) -> bool:
        return (
            self.shape is not None
            and len(self.shape) > 1
            and self.kind.startswith(("float", "double", "single", ">f", "<f"))
        )


def entries_of(path: Path) -> Mapping[str, Entry]:
    """Name -> entry. The only array of a file has the name `""`; names of nested values are joined by `/`. Raises `InvalidFeatures`."""
    try:
        stamp = require_regular(path).stat()
        with path.open("rb") as file:
            begin = file.read(520)
    except OSError as error:
        raise InvalidFeatures(f"cannot read {path}: {error.strerror or error}") from error
    return _entries(path, begin, (stamp.st_size, stamp.st_mtime_ns))


@lru_cache(maxsize=4)  # A file of many videos is read once.
def _entries(path: Path, begin: bytes, _stamp: tuple[int, int]) -> Mapping[str, Entry]:
    found: Mapping[str, tuple[tuple[int, ...] | None, str, Callable[[], object]]]
    if begin.startswith(b"\x89HDF\r\n\x1a\n"):
        found = hdf5_entries(path)
    elif begin.startswith(b"MATLAB 7.3") or begin[512:520] == b"\x89HDF\r\n\x1a\n":
        found = hdf5_entries(path, is_matlab=True)
    elif begin.startswith(b"MATLAB 5.0"):
        found = mat_entries(path)
    elif begin.startswith(b"PK\x03\x04") and (arrays := _arrays_of_zip(path)):
        found = arrays
    elif begin.startswith((b"\x93NUMPY", b"PK\x03\x04")) or is_pickle(begin):
        return _named_in(path, read_values(path))
    elif path.suffix.lower() in (".csv", ".tsv", ".txt"):
        return _named_in(path, _table(path))
    else:
        found = {"": (None, "", partial(read_values, path))}
        read_values(path)  # raises, and says what is there
    return {name: Entry(*one) for name, one in found.items()}


def _named_in(path: Path, value: object) -> dict[str, Entry]:
    try:
        return _flat(value, 8 * path.stat().st_size + SPARE_BYTES)
    except InvalidFeatures as error:
        raise InvalidFeatures(f"{path}: {error}") from error


def _flat(value: object, limit: int, name: str = "") -> dict[str, Entry]:
    """`limit`: bytes that a list of arrays may take as one array."""
    if isinstance(value, dict):
        found: dict[str, Entry] = {}
        for part, one in value.items():
            key = part.decode("utf-8", "replace") if isinstance(part, bytes) else part
            inside = _flat(one, limit, f"{name}/{key}".lstrip("/"))
            if twice := found.keys() & inside.keys():
                raise InvalidFeatures(f"it holds two values named {min(twice)!r}, such as under the keys '1' and 1")
            found |= inside
        return found
    if isinstance(value, np.ndarray) and value.ndim:
        return {name: Entry(value.shape, f"{value.dtype} {value.shape}", lambda: value)}
    if isinstance(value, list | tuple) and (rows := _rows(value, limit)):
        return {
            name: Entry(
                (len(rows), *rows[0].shape),
                f"{rows[0].dtype} list {len(rows)} x {rows[0].shape}",
                lambda: np.stack(rows),
            )
        }
    plain = value.item() if isinstance(value, np.ndarray | np.generic) else value
    return {name: Entry(None, type(plain).__name__, lambda: plain)}


def _rows(parts: Sequence[object], limit: int) -> list[np.ndarray]:
    """A list of equally long rows of numbers, as of one clip each; empty for other lists."""
    if not all(isinstance(part, np.ndarray | list) for part in parts):
        return []
    try:
        rows = [np.asarray(part) for part in parts]
    except ValueError:  # lists of unequal lengths inside a row
        return []
    kinds = {(row.dtype, row.shape) for row in rows}
    is_numbers = len(kinds) == 1 and rows[0].ndim > 0 and rows[0].dtype.kind == "f"
    return rows if is_numbers and sum(row.nbytes for row in rows) <= limit else []


def _arrays_of_zip(path: Path) -> dict[str, tuple[tuple[int, ...], str, Callable[[], object]]]:
    """The arrays of an `.npz`; none for a torch file."""
    try:
        found: dict[str, tuple[tuple[int, ...], str, Callable[[], object]]] = {}
        with zipfile.ZipFile(path) as archive:
            members = [info for info in archive.infolist() if info.filename.endswith(".npy")]
            limit = min(MAX_BYTES, 8 * path.stat().st_size + SPARE_BYTES)
            if sum(info.file_size for info in members) > limit:
                raise InvalidFeatures(
                    f"{path} unpacks to more than {limit} bytes, 8 times its size and {SPARE_BYTES >> 20} MiB"
                )
            for info in members:
                with archive.open(info) as file:
                    shape, dtype = _npy_header(file)
                name = info.filename.removesuffix(".npy")
                found[name] = shape, f"{dtype} {shape}", partial(_read_member, path, info.filename)
            return found
    except (zipfile.BadZipFile, zlib.error, ValueError, OSError, EOFError, NotImplementedError, SyntaxError) as error:
        raise InvalidFeatures(f"{path} is not a whole .npz or torch file: {error}") from error


def _npy_header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype]:
    version = np.lib.format.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"an array of format {version}")
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(file)
    return shape, dtype


def _read_member(path: Path, member: str) -> np.ndarray:
    try:
        with zipfile.ZipFile(path) as archive:
            content = archive.read(member)  # no more than the archive declares, which was checked
        shape, dtype = _npy_header(io.BytesIO(content))
        if dtype.hasobject or int(np.prod(shape, dtype=float)) * dtype.itemsize > len(content):
            raise ValueError(f"{dtype} {shape} in {len(content)} bytes; plain arrays are read")
        return np.asarray(np.lib.format.read_array(io.BytesIO(content), allow_pickle=False))
    except (zipfile.BadZipFile, zlib.error, ValueError, OSError, EOFError, KeyError, MemoryError, SyntaxError) as error:
        raise InvalidFeatures(f"{path}: {member} is not a plain array: {error}") from error


def table_cells(path: Path) -> tuple[list[str] | None, list[list[str]]]:
    """The names of the columns of a CSV, None where the first row is numbers, and the cells of its rows. Raises `InvalidFeatures`."""
    try:
        rows = [(number, row) for number, row in enumerate(_rows_of(read_text(path, "table")), 1) if any(row)]
    except (ManifestError, csv.Error) as error:
        raise InvalidFeatures(str(error)) from error
    if not rows:
        raise InvalidFeatures(f"{path} is empty")
    width, first = len(rows[0][1]), rows[0][1]
    # As numpy.savetxt writes a header.
    first[0] = first[0].removeprefix("#").lstrip()
    for number, row in rows:
        if len(row) != width:
            raise InvalidFeatures(f"{path}, line {number}: {len(row)} cells where the first row has {width}")
    if skipped := _unnamed(first):
        names, rows = None, [(number, row[skipped - 1 :]) for number, row in rows[1:]]
    else:
        names = None if all(map(_is_number, first)) else [name.strip() for name in rows.pop(0)[1]]
    if names and len(set(names)) != width:
        raise InvalidFeatures(f"{path}: two columns have one name")
    if not names:
        if wrong := next((number for number, row in rows if not all(map(_is_number, row))), None):
            raise InvalidFeatures(f"{path}, line {wrong}: not all cells are numbers with a decimal point")
    return names, [[cell.strip() for cell in row] for _, row in rows]


def _rows_of(text: str) -> list[list[str]]:
    """The cells of a table whose first lines say how they are separated: by semicolons, tabs or commas or, of numbers alone, by blanks as
    numpy.savetxt writes them. Other than commas, they may have decimal commas, which become points. Raises `csv.Error`."""
    begin = [line for line in text.splitlines() if line.strip()][:LOOKED_AT]
    for separator in ";\t,":
        widths = {len(row) for row in csv.reader(begin, delimiter=separator)}
        if len(widths) == 1 and widths != {1}:
            break
    else:
        split = [line.split() for line in text.splitlines()]
        if begin and all(_is_number(cell) for row in split for cell in row):
            return split
        separator = max(",;\t", key=text[:10_000].count)
    rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True))
    return rows if separator == "," else _with_points(rows, separator)


def _with_points(rows: list[list[str]], separator: str) -> list[list[str]]:
    """Columns of numbers with decimal commas, with points. A column with both stays, as does one between tabs whose commas may be of
    thousands."""
    filled = [row for row in rows if row]
    if len({len(row) for row in filled}) != 1:
        return rows
    for column in range(len(filled[0])):
        name, *cells = [row[column] for row in filled]
        cells = [cell for cell in cells + [name] * _may_be_number(name) if cell]
        commas = [bool(DECIMAL_COMMA.fullmatch(cell)) for cell in cells]
        are_thousands = separator == "\t" and all(map(PERHAPS_THOUSANDS.fullmatch, compress(cells, commas)))
        if not are_thousands and all(map(_may_be_number, cells)):
            for row in filled:
                row[column] = with_point(row[column])
    return rows


def _may_be_number(cell: str) -> bool:
    """Without a decimal point."""
    return bool(DECIMAL_COMMA.fullmatch(cell) or _WHOLE.fullmatch(cell))


def _unnamed(header: list[str]) -> int:
    """How many cells come before the first column of values, and one, if pandas wrote this header for columns without names: their numbers,
    after an empty cell for the numbers of the rows. 0 for other rows."""
    for before in (0, 1):
        columns = header[before:]
        if len(columns) > 2 and not any(header[:before]) and columns == [str(n) for n in range(len(columns))]:
            return before + 1
    return 0


def _table(path: Path) -> object:
    """A CSV of numbers, one row for each clip: an array, or a dictionary of columns where the first row names them."""
    names, rows = table_cells(path)
    if not names:
        return np.array(rows, np.float64)
    return {name: column_of([row[index] for row in rows]) for index, name in enumerate(names)}


def column_of(cells: list[str]) -> np.ndarray:
    """Numbers where all cells are numbers, else texts."""
    return np.array(cells, np.float64 if all(map(_is_number, cells)) else np.str_)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return "_" not in cell


def shown(entries: Mapping[str, Entry]) -> str:
    """The entries of a file for a message: `rgb float32 (12, 1024), fps float`."""
    first = [f"{name or 'one array'} {entry.kind}" for name, entry in list(entries.items())[:MOST_SHOWN]]
    return (
        ", ".join(first) + (f" and {len(entries) - MOST_SHOWN} more" if len(entries) > MOST_SHOWN else "") or "nothing"
    )
