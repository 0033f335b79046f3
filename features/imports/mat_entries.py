"""Arrays of `.mat` files of version 5, by scipy, after the sizes that they declare were checked."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from longtake.features.errors import InvalidFeatures
from longtake.features.imports.growth import Budget
from longtake.features.stream import require_memory

_COMPRESSED = 15
_NUMBERS = ("double", "single", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "logical")
_STEP = 1 << 20


def mat_entries(path: Path) -> dict[str, tuple[tuple[int, ...], str, Callable[[], object]]]:
    """Name -> shape, kind and what reads it. Structures and cells have no entries. Raises `InvalidFeatures`."""
    from scipy.io import whosmat

    _refuse_growth(path)
    try:
        listed = whosmat(str(path))
    except Exception as error:  # for a damaged file, scipy can raise anything
        raise InvalidFeatures(f"{path} is not a whole .mat file: {error}") from error
    return {
        name: (tuple(shape), f"{kind} {tuple(shape)}", partial(_read, path, name, tuple(shape)))
        for name, shape, kind in listed
        if kind in _NUMBERS
    }


def _read(path: Path, name: str, shape: tuple[int, ...]) -> np.ndarray:
    from scipy.io import loadmat

    try:
        num_bytes = 8 * int(np.prod(shape, dtype=float))
        Budget(path.stat().st_size).take(num_bytes // 8)
        require_memory(f"{path}: {name}", 2 * num_bytes)
        value = loadmat(str(path), variable_names=[name])[name]
    except InvalidFeatures:
        raise
    except Exception as error:  # as above
        raise InvalidFeatures(f"{path}: {name} cannot be read: {error}") from error
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "fiub":
        raise InvalidFeatures(f"{path}: {name} is a {type(value).__name__}, not an array of numbers")
    return value


def _refuse_growth(path: Path) -> None:
    """Unpack compressed variables once without keeping them: a thousand bytes may unpack to a million."""
    budget = Budget(path.stat().st_size)
    try:
        with path.open("rb") as file:
            order = "little" if file.read(128)[126:128] == b"IM" else "big"
            while len(head := file.read(8)) == 8:
                kind, size = int.from_bytes(head[:4], order), int.from_bytes(head[4:], order)  # type: ignore[arg-type]
                end = file.tell() + size
                if kind == _COMPRESSED:
                    unpack, left = zlib.decompressobj(), size
                    while left > 0 and (packed := file.read(min(left, _STEP))):
                        left -= len(packed)
                        while packed:
                            budget.take(len(unpack.decompress(packed, _STEP)))
                            packed = unpack.unconsumed_tail
                file.seek(end)
    except Exception as error:  # zlib, or the budget
        raise InvalidFeatures(f"{path} cannot be unpacked: {error}") from error
