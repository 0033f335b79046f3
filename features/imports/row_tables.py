"""Tables with a row for each video or each clip: Parquet, Arrow, folders of Hugging Face datasets, and CSV."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np

from longtake.features.errors import FeaturesError, InvalidFeatures
from longtake.features.imports.entries import column_of, table_cells
from longtake.features.imports.growth import SPARE_BYTES
from longtake.files import require_regular
from longtake.packages import needs

SUFFIXES = (".parquet", ".arrow", ".csv", ".tsv")
SPLIT = "{split}"
"""A column made of the names that Hugging Face datasets give their files and folders."""
ROWS = 64


def table_files(source: Path) -> list[Path]:
    """The files of one table. Raises `FeaturesError` for a folder with files of several kinds."""
    if not source.is_dir():
        return [source]
    found = [
        path
        for path in sorted(source.rglob("*"))
        if path.suffix.lower() in SUFFIXES and not path.name.startswith((".", "cache-"))
    ]
    kinds = sorted({path.suffix.lower() for path in found})
    if len(kinds) != 1:
        raise FeaturesError(
            f"{source} holds {' and '.join(kinds) or 'no table'}; a table is one file, or a folder of files of one kind: {', '.join(SUFFIXES)}"
        )
    return found


def split_of(path: Path) -> str:
    """`train` of `train-00000-of-00002.parquet` and of `train/data-00000-of-00001.arrow`; empty where there is none."""
    for name in (path.name.partition("-")[0], path.parent.name):
        if name in ("train", "test", "validation", "val"):
            return "val" if name == "validation" else name
    return ""


def rows_of(path: Path, columns: Sequence[str], texts: Sequence[str] = ()) -> Iterator[tuple[int, dict[str, Any]]]:
    """Number from 1 and values of each row, by column; lists may be nested. Cells of a CSV are numbers where a column has no others, except in
    the columns `texts`: an id `007` is not the number 7. Raises `InvalidFeatures`."""
    if path.suffix.lower() in (".csv", ".tsv"):
        names, cells = table_cells(path)
        chosen = {}
        for name in choose(path, names or [], columns):
            own = [row[(names or []).index(name)] for row in cells]
            chosen[name] = own if name in texts else column_of(own).tolist()
        for number, values in enumerate(zip(*chosen.values()), 1):
            yield number, dict(zip(chosen, values))
        return
    number = 0
    for batch in _batches(path, columns):
        for row in batch.to_pylist():
            number += 1
            yield number, row


def column_names(path: Path) -> list[str]:
    if path.suffix.lower() in (".csv", ".tsv"):
        return table_cells(path)[0] or []
    with _opened(path) as (_, schema):
        names = list(schema.names)
    if twice := next((name for name, count in Counter(names).items() if count > 1), None):
        raise InvalidFeatures(f"{path}: two columns have the name {twice!r}")
    return names


def choose(path: Path, names: Sequence[str], wanted: Sequence[str]) -> list[str]:
    chosen = [name for pattern in wanted for name in names if fnmatchcase(name, pattern)]
    for pattern in wanted:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise InvalidFeatures(f"{path} has no column {pattern!r}; it has {', '.join(names[:40])}")
    return list(dict.fromkeys(chosen))


def in_order(path: Path, names: Sequence[str], first: Sequence[str]) -> list[str]:
    """The columns of features in the order that the first file has; `first` is empty for that file. Raises `InvalidFeatures` for others."""
    if first and sorted(names) != sorted(first):
        one = next(iter(set(first) ^ set(names)), names[0])
        raise InvalidFeatures(f"{path} and the first file differ in the columns of features, such as {one!r}")
    return list(first or names)


class _opened:
    """The batches of a Parquet or Arrow file and its schema."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> tuple[Any, Any]:
        with needs(
            lambda name: FeaturesError(
                f"{self._path} needs {name}, which is not installed: python -m pip install 'longtake[tables]'"
            )
        ):
            import pyarrow
            import pyarrow.parquet
        try:
            require_regular(self._path)
            if self._path.suffix.lower() == ".parquet":
                self._file = pyarrow.parquet.ParquetFile(self._path)
                return self._file, self._file.schema_arrow
            self._file = pyarrow.memory_map(str(self._path))
            try:
                reader = pyarrow.ipc.open_stream(self._file)
            except pyarrow.ArrowInvalid:
                self._file.seek(0)
                reader = pyarrow.ipc.open_file(self._file)
            return reader, reader.schema
        except (pyarrow.ArrowException, OSError, ValueError) as error:
            raise InvalidFeatures(f"{self._path} is not a whole Parquet or Arrow file: {error}") from error

    def __exit__(self, *_: object) -> None:
        self._file.close()


def _batches(path: Path, columns: Sequence[str]) -> Iterator[Any]:
    with _opened(path) as (file, schema):
        import pyarrow

        names = choose(path, schema.names, columns)
        limit = left = 8 * path.stat().st_size + SPARE_BYTES
        try:
            if hasattr(file, "iter_batches"):
                _refuse_growth(path, file.metadata, limit)
                batches = file.iter_batches(batch_size=ROWS, columns=names)
            elif hasattr(file, "num_record_batches"):
                batches = (file.get_batch(index) for index in range(file.num_record_batches))
            else:
                batches = iter(file)
            for batch in batches:
                batch = batch.select(names)
                left -= batch.nbytes
                if left < 0:
                    raise InvalidFeatures(
                        f"{path} unpacks to more than {limit} bytes, 8 times its size and {SPARE_BYTES >> 20} MiB"
                    )
                for first in range(0, batch.num_rows, ROWS):
                    yield batch.slice(first, ROWS)
        except (pyarrow.ArrowException, OSError, ValueError, OverflowError) as error:
            if isinstance(error, InvalidFeatures):
                raise
            raise InvalidFeatures(f"{path} is not a whole Parquet or Arrow file: {error}") from error


def _refuse_growth(path: Path, metadata: Any, limit: int) -> None:
    """A thousand bytes may declare a million equal values."""
    for group in range(metadata.num_row_groups):
        chunks = (metadata.row_group(group).column(index) for index in range(metadata.num_columns))
        if sum(4 * chunk.num_values + chunk.total_uncompressed_size for chunk in chunks) > 2 * limit:
            raise InvalidFeatures(f"{path} declares more values than its {path.stat().st_size} bytes should hold")


def array_of(path: Path, row: int, values: Sequence[object]) -> np.ndarray:
    """Numbers, or lists of them, of one row, with one axis at least. Raises `InvalidFeatures` for lists of unequal lengths and for what is not a number."""
    value = values[0] if len(values) == 1 else list(values)
    try:
        array = np.atleast_1d(np.asarray(value, np.float64))
    except (ValueError, TypeError) as error:
        raise InvalidFeatures(f"{path}, row {row}: not numbers, or lists of unequal lengths") from error
    return array.astype(np.float32) if np.array_equal(array.astype(np.float32), array, equal_nan=True) else array
