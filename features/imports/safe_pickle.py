"""Read arrays and labels from untrusted files without executing code from them.

Released files are `.npy`, torch files and pickles under any suffix, so the first bytes decide how to read them. A torch file is a zip
with a pickle inside, and a `.npy` of dictionaries is a pickle too. Pickles are read by an unpickler that accepts only the few names
that arrays and tensors need, so a file can describe values and do nothing else. What it describes may not grow without bound: `growth`.
"""

from __future__ import annotations

import io
import math
import pickle
import struct
import tokenize
import zipfile
import zlib
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np

from longtake.features.errors import InvalidFeatures
from longtake.features.imports.growth import MOST_VALUES, Budget, refuse_growth
from longtake.files import require_regular

_DAMAGED = (
    pickle.UnpicklingError, zipfile.BadZipFile, zlib.error, struct.error, ArithmeticError, AttributeError, EOFError,
    LookupError, MemoryError, OSError, RuntimeError, SyntaxError, TypeError, ValueError, tokenize.TokenError,
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
    "ShortStorage": "<i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "?",
}

_BFLOAT16 = np.dtype([("upper", "<u2")])
"""The upper half of a float32."""

_OLD_PICKLES = (b"(dp", b"(lp", b"}q", b"]q", b"cnumpy", b"ccollections")
"""First bytes of dictionaries, lists and arrays in pickles of protocols 0 and 1, which Python 2 writes."""

_OLD_TORCH = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8"
"""First bytes of a torch file of the old format, which is not a zip."""


def read_array(path: Path) -> np.ndarray:
    """The only array of a file. Raises `InvalidFeatures` for any other content."""
    value = read_values(path)
    if not isinstance(value, np.ndarray):
        raise InvalidFeatures(f"{path} holds a {type(value).__name__}, not one array")
    return value


def read_values(path: Path) -> object:
    """The content of a `.npy`, torch or pickle file: an array, or dictionaries, lists and tuples of arrays, text and numbers.

    Recognised by the first bytes. Raises `InvalidFeatures`.
    """
    try:
        with require_regular(path).open("rb") as file:
            magic = file.read(12)
    except OSError as error:
        raise InvalidFeatures(f"cannot read {path}: {error.strerror}") from error
    if magic[:6] == b"\x93NUMPY":
        return _read_npy(path)
    if magic[:4] == b"PK\x03\x04":
        return _read_torch(path)
    if magic.startswith(_OLD_TORCH):
        raise InvalidFeatures(f"{path} was saved by a torch older than 1.6; load it there and save it again")
    if is_pickle(magic):
        return _read_pickle(path)
    raise InvalidFeatures(
        f"{path} is neither a .npy, a torch file nor a pickle (it starts with {magic[:6]!r})"
        if magic
        else f"{path} is empty"
    )


def is_pickle(begin: bytes) -> bool:
    """Whether a file with these first bytes, at least 12 of them, is a pickle."""
    return begin.startswith((b"\x80", *_OLD_PICKLES))


def _read_npy(path: Path) -> object:
    try:
        # A memory map first: a header that declares more than the file holds is refused before it is allocated.
        return np.array(np.load(path, mmap_mode="r", allow_pickle=False))
    except _DAMAGED as error:
        reason = error
    try:
        with path.open("rb") as file:
            version = np.lib.format.read_magic(file)
            read_header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
            shape, _, dtype = read_header[version](file)
            if dtype.hasobject and shape == ():
                return _load_plain(file)
            if dtype.hasobject:
                reason = InvalidFeatures(
                    f"it holds Python objects {shape}; save what is inside as one array of numbers, such as numpy.stack(list(objects)), or one file for each video"
                )
    except _DAMAGED as error:
        reason = error
    raise InvalidFeatures(f"{path} is not a plain array: {reason}") from reason


def _read_pickle(path: Path) -> object:
    try:
        with path.open("rb") as file:
            return _load_plain(file)
    except _DAMAGED as error:
        raise InvalidFeatures(f"{path} does not hold plain values: {error}") from error


def _read_torch(path: Path) -> object:
    try:
        with zipfile.ZipFile(path) as archive:
            # torch stores its files without compression, so they cannot be larger than the archive.
            declared = sum(info.file_size for info in archive.infolist())
            if declared > min(MAX_BYTES, path.stat().st_size):
                raise InvalidFeatures(
                    f"{path} declares {declared} bytes of tensors, more than it holds or than {MAX_BYTES >> 30} GiB"
                )
            (name,) = [name for name in archive.namelist() if name.endswith("data.pkl")]
            content = archive.read(name)
            refuse_growth(io.BytesIO(content))
            budget = Budget(path.stat().st_size)
            return _plain(_TensorUnpickler(content, archive, name[: -len("data.pkl")], budget).load())
    except InvalidFeatures:
        raise
    except _DAMAGED as error:
        raise InvalidFeatures(f"{path} does not hold plain tensors: {error}") from error


def _load_plain(file: BinaryIO) -> object:
    begin = file.tell()
    refuse_growth(file)
    budget = Budget(file.seek(0, io.SEEK_END))
    file.seek(begin)
    return _plain(_PlainUnpickler(file, budget).load())


class _PlainUnpickler(pickle.Unpickler):
    """Accepts arrays, dtypes and scalars of numpy only, and builds checked substitutes for them, by bound methods: on a class, a pickle
    could set attributes."""

    READS = "arrays and plain values"

    def __init__(self, file: BinaryIO, budget: Budget) -> None:
        # Arrays of Python 2 are texts, of which each letter is a byte.
        super().__init__(file, encoding="latin1")
        self._budget = budget

    def find_class(self, module: str, name: str) -> object:
        known = {
            ("numpy", "ndarray"): self._array,
            ("numpy", "dtype"): self._dtype,
            ("numpy.core.multiarray", "_reconstruct"): self._array,
            ("numpy.core.multiarray", "scalar"): self._scalar,
            ("numpy.core.numeric", "_frombuffer"): self._from_buffer,
            # Bytes in pickles of protocol 2.
            ("_codecs", "encode"): self._encode,
            ("collections", "OrderedDict"): self._budget.ordered,
        }
        found = known.get((module.replace("numpy._core", "numpy.core"), name))
        if found is None:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}; only {self.READS} are read")
        return found

    def _array(self, *_: object) -> _PlainArray:
        return _PlainArray(self._budget)

    def _dtype(self, name: str, *_: object) -> _PlainDtype:
        return _PlainDtype(name)

    def _scalar(self, dtype: _PlainDtype, content: bytes | str) -> object:
        made = dtype.made()
        self._budget.take(made.itemsize)
        return np.frombuffer(content.encode("latin1") if isinstance(content, str) else content, made)[0].item()

    def _from_buffer(self, content: bytes | bytearray, dtype: _PlainDtype, shape: tuple, order: str) -> _PlainArray:
        """Arrays in pickles of protocol 5."""
        if not isinstance(content, bytes | bytearray):
            raise pickle.UnpicklingError(f"an array of {type(content).__name__}")
        self._budget.take(len(content))
        flat = np.frombuffer(bytes(content), dtype.made())
        return _PlainArray(self._budget, flat.reshape(shape, order="F" if order == "F" else "C"))

    def _encode(self, text: str, _encoding: object = None) -> bytes:
        self._budget.take(len(text))
        return text.encode("latin1")


class _PlainDtype:
    def __init__(self, name: str) -> None:
        if not isinstance(name, str):
            raise pickle.UnpicklingError(f"a dtype of {type(name).__name__}")
        self._name = name
        self._order: Literal["<", ">", "="] = "="

    def __setstate__(self, state: tuple) -> None:
        self._order = "<" if state[1] == "<" else ">" if state[1] == ">" else "="

    def made(self) -> np.dtype:
        if self._name.startswith("O"):
            return np.dtype(object)
        made = np.dtype(self._name).newbyteorder(self._order)
        if made.kind not in "fiubU":
            raise pickle.UnpicklingError(f"an array of {made}")
        return made


class _PlainArray:
    def __init__(self, budget: Budget, value: object = None) -> None:
        self._budget, self.value = budget, value

    def __setstate__(self, state: tuple) -> None:
        _version, shape, dtype, is_fortran, content = state
        made = dtype.made()
        if made.hasobject:
            if shape != () or not isinstance(content, list) or len(content) != 1:
                raise pickle.UnpicklingError(f"an array of objects of shape {shape}")
            self.value = content[0]
            return
        if not isinstance(content, bytes):
            self._budget.take(len(content))
            content = content.encode("latin1")
        # frombuffer does not copy, and refuses a size that the content does not have.
        flat = np.frombuffer(content, made)
        self.value = flat.reshape(shape, order="F" if is_fortran else "C")


def _plain(value: object) -> object:
    """Replace the substitutes by their arrays, through dictionaries, lists and tuples. A value that occurs many times is converted once;
    a value that contains itself ends in a recursion error, which is refused, as are too many values."""
    return _sized(value, {})[0]


def _sized(value: object, seen: dict[int, tuple[object, int]]) -> tuple[object, int]:
    """The plain value, and the number of values in it, each as often as it occurs."""
    if not isinstance(value, (_PlainArray, dict, list, tuple)):
        return value, 1
    if id(value) not in seen:
        made: object
        if isinstance(value, _PlainArray):
            made, count = _sized(value.value, seen)
        elif isinstance(value, dict):
            entries = [(_key(key), _sized(entry, seen)) for key, entry in value.items()]
            made, count = {key: entry for key, (entry, _) in entries}, sum(count for _, (_, count) in entries)
        else:
            parts = [_sized(entry, seen) for entry in value]
            made, count = type(value)(part for part, _ in parts), sum(count for _, count in parts)
        if count > MOST_VALUES:
            raise pickle.UnpicklingError(f"it holds more than {MOST_VALUES} values")
        seen[id(value)] = made, count + 1
    return seen[id(value)]


def _key(key: object) -> object:
    """A key of a dictionary, if it is one that annotations have."""
    if not is_plain_key(key):
        raise pickle.UnpicklingError("a key of a dictionary is neither text nor a number nor a tuple of these")
    return key


def is_plain_key(key: object) -> bool:
    """Text, a number, or a tuple of these."""
    parts = key if isinstance(key, tuple) else (key,)
    return all(isinstance(part, str | int | float | bytes | None) for part in parts)


class _TensorUnpickler(_PlainUnpickler):
    """Accepts tensors, too."""

    READS = "tensors, arrays and plain values"

    def __init__(self, content: bytes, archive: zipfile.ZipFile, prefix: str, budget: Budget) -> None:
        super().__init__(io.BytesIO(content), budget)
        self._archive, self._prefix = archive, prefix
        self._storages: dict[str, bytes] = {}

    def find_class(self, module: str, name: str) -> object:
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return self._rebuild
        if (module, name) == ("torch._utils", "_rebuild_parameter"):
            return self._parameter
        if module == "torch" and name in _STORAGE_DTYPES:
            return np.dtype(_STORAGE_DTYPES[name])
        if (module, name) == ("torch", "BFloat16Storage"):
            return _BFLOAT16
        return super().find_class(module, name)

    def persistent_load(self, key: Any) -> _PlainArray:
        kind, dtype, name, _location, num_values = key
        if kind != "storage" or not isinstance(dtype, np.dtype):
            raise pickle.UnpicklingError(f"it refers to a {kind!r}")
        if name not in self._storages:
            content = self._archive.read(f"{self._prefix}data/{name}")
            self._budget.take(len(content))
            self._storages[name] = content
        data = np.frombuffer(self._storages[name], dtype)
        if len(data) != num_values:
            raise pickle.UnpicklingError(f"a storage of {num_values} values holds {len(data)}")
        return _PlainArray(self._budget, data)

    def _parameter(self, tensor: object, *_: object) -> object:
        return tensor

    def _rebuild(self, stored: _PlainArray, offset: int, shape: tuple, stride: tuple, *_: object) -> _PlainArray:
        storage = stored.value
        if not isinstance(storage, np.ndarray) or storage.ndim != 1:
            raise pickle.UnpicklingError("a tensor of something other than a storage")
        if min((offset, *shape, *stride), default=0) < 0:
            raise pickle.UnpicklingError("a tensor with a negative size")
        last = offset + sum((size - 1) * step for size, step in zip(shape, stride))
        if 0 not in shape and last >= len(storage):
            raise pickle.UnpicklingError("a tensor larger than its storage")
        # Strides of 0 repeat one value as often as the shape says.
        self._budget.take(math.prod(shape) * storage.itemsize)
        view = np.lib.stride_tricks.as_strided(
            storage[offset:], shape, tuple(step * storage.itemsize for step in stride), writeable=False
        )
        if view.dtype == _BFLOAT16:
            self._budget.take(view.size * 2)
            return _PlainArray(self._budget, (view["upper"].astype(np.uint32) << 16).view(np.float32))
        return _PlainArray(self._budget, np.array(view))
