"""Arrays out of files from strangers, without running a line of theirs.

Feature files in circulation are `.npy`, or torch files that end in `.npy`; the first bytes say which, the name never does.
A torch file is a zip with a pickle inside. That pickle is read by an unpickler that knows the few names a tensor needs
and refuses all others, so it can describe an array and do nothing else.
"""

from __future__ import annotations

import io
import pickle
import struct
import tokenize
import zipfile
import zlib
from collections import OrderedDict
from pathlib import Path

import numpy as np

from features.errors import InvalidFeatures

_DAMAGED = (
    pickle.UnpicklingError, zipfile.BadZipFile, zlib.error, struct.error, ArithmeticError, AttributeError, EOFError,
    LookupError, OSError, RuntimeError, SyntaxError, TypeError, ValueError, tokenize.TokenError,
)  # fmt: skip
"""What reading a damaged or hostile file can raise."""

MAX_BYTES = 1 << 32
"""Files that declare more than 4 GiB are not the features of one video or one prompt set."""

_STORAGE_DTYPES = {
    "FloatStorage": "<f4",
    "DoubleStorage": "<f8",
    "HalfStorage": "<f2",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
}


def read_array(path: Path) -> np.ndarray:
    """The one array of a file, `.npy` or torch, recognised by its first bytes. Raises `InvalidFeatures`."""
    try:
        with path.open("rb") as file:
            magic = file.read(6)
    except OSError as error:
        raise InvalidFeatures(f"cannot read {path}: {error.strerror}") from error
    if magic == b"\x93NUMPY":
        return _read_npy(path)
    if magic[:4] == b"PK\x03\x04":
        return _read_torch(path)
    raise InvalidFeatures(f"{path} is neither a .npy nor a torch file (it starts with {magic!r})")


def _read_npy(path: Path) -> np.ndarray:
    try:
        # A memory map first: a header that declares more than the file holds is refused before it is allocated.
        return np.array(np.load(path, mmap_mode="r", allow_pickle=False))
    except _DAMAGED as error:
        raise InvalidFeatures(f"{path} is not a plain array: {error}") from error


def _read_torch(path: Path) -> np.ndarray:
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(info.file_size for info in archive.infolist()) > MAX_BYTES:
                raise InvalidFeatures(f"{path} declares more than {MAX_BYTES >> 30} GiB")
            (name,) = [name for name in archive.namelist() if name.endswith("data.pkl")]
            value = _TensorUnpickler(archive, name[: -len("data.pkl")]).load()
    except _DAMAGED as error:
        raise InvalidFeatures(f"{path} does not hold one plain tensor: {error}") from error
    if not isinstance(value, np.ndarray):
        raise InvalidFeatures(f"{path} holds a {type(value).__name__}, not one tensor")
    return value


class _TensorUnpickler(pickle.Unpickler):
    """Knows tensors and nothing else."""

    def __init__(self, archive: zipfile.ZipFile, prefix: str) -> None:
        super().__init__(io.BytesIO(archive.read(prefix + "data.pkl")))
        self._archive, self._prefix = archive, prefix

    def find_class(self, module: str, name: str) -> object:
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _rebuild
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if module == "torch" and name in _STORAGE_DTYPES:
            return np.dtype(_STORAGE_DTYPES[name])
        raise pickle.UnpicklingError(f"it asks for {module}.{name}; only tensors are read")

    def persistent_load(self, key: object) -> np.ndarray:
        kind, dtype, name, _location, num_values = key  # type: ignore[misc]
        if kind != "storage" or not isinstance(dtype, np.dtype):
            raise pickle.UnpicklingError(f"it refers to a {kind!r}")
        data = np.frombuffer(self._archive.read(f"{self._prefix}data/{name}"), dtype)
        if len(data) != num_values:
            raise pickle.UnpicklingError(f"a storage of {num_values} values holds {len(data)}")
        return data


def _rebuild(storage: np.ndarray, offset: int, shape: tuple, stride: tuple, *_: object) -> np.ndarray:
    if min((offset, *shape, *stride), default=0) < 0:
        raise pickle.UnpicklingError("a tensor with a negative size")
    last = offset + sum((size - 1) * step for size, step in zip(shape, stride))
    if 0 not in shape and last >= len(storage):
        raise pickle.UnpicklingError("a tensor larger than its storage")
    view = np.lib.stride_tricks.as_strided(
        storage[offset:], shape, tuple(step * storage.itemsize for step in stride), writeable=False
    )
    if view.size * view.itemsize > max(MAX_BYTES // 64, 8 * storage.nbytes):
        raise pickle.UnpicklingError(f"a tensor of shape {shape} over {len(storage)} stored values")
    return np.array(view)
