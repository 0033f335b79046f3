"""Read arrays and labels from untrusted files without executing code from them.

Released files are `.npy`, torch files and pickles under any suffix, so the first bytes decide how to read them. A torch file is a zip
with a pickle inside, and a `.npy` of dictionaries is a pickle too. Pickles are read by an unpickler that accepts only the few names
that arrays and tensors need, so a file can describe values and do nothing else. Before that, its instructions are counted: a value that
is stored once and used many times inside others grows without bound in a file of a hundred bytes.
"""

from __future__ import annotations

import io
import pickle
import pickletools
import struct
import tokenize
import zipfile
import zlib
from collections import OrderedDict
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np

from longtake.features.errors import InvalidFeatures
from longtake.files import require_regular

_DAMAGED = (
    pickle.UnpicklingError, zipfile.BadZipFile, zlib.error, struct.error, ArithmeticError, AttributeError, EOFError,
    LookupError, MemoryError, OSError, RuntimeError, SyntaxError, TypeError, ValueError, tokenize.TokenError,
)  # fmt: skip
"""What reading a damaged or hostile file can raise."""

MAX_BYTES = 1 << 32
"""Files that declare more than 4 GiB are not the features of one video or one prompt set."""

MOST_VALUES, MOST_DEPTH = 10_000_000, 50
"""Of a pickle, with everything that is used again counted again. Annotations of 3,000 dives with a label for each frame are 500,000 values,
in 6 levels."""

_STORAGE_DTYPES = {
    "FloatStorage": "<f4",
    "DoubleStorage": "<f8",
    "HalfStorage": "<f2",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
}

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
    if magic[:1] == b"\x80":
        return _read_pickle(path)
    raise InvalidFeatures(f"{path} is neither a .npy, a torch file nor a pickle (it starts with {magic[:6]!r})")


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
            return _TensorUnpickler(archive, name[: -len("data.pkl")]).load()
    except InvalidFeatures:
        raise
    except _DAMAGED as error:
        raise InvalidFeatures(f"{path} does not hold plain tensors: {error}") from error


def _load_plain(file: BinaryIO) -> object:
    begin = file.tell()
    _refuse_growth(file)
    file.seek(begin)
    return _plain(_PlainUnpickler(file).load())


def _refuse_growth(file: BinaryIO) -> None:
    """Run the instructions of a pickle on sizes and depths instead of values. Raises `UnpicklingError` for more than `MOST_VALUES` or
    `MOST_DEPTH`. A list or dictionary that grows after it was used counts as it was; `_plain` finds those."""
    stack: list[tuple[int, int] | None] = []  # size and depth of each value; None is a mark
    memo: dict[int, tuple[int, int] | None] = {}
    for code, argument, _ in pickletools.genops(file):
        if code.name == "MARK":
            stack.append(None)
        elif code.name in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"):
            memo[len(memo) if code.name == "MEMOIZE" else int(str(argument))] = stack[-1]
        elif code.name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(memo[int(str(argument))])
        elif code.name == "DUP":
            stack.append(stack[-1])
        else:
            taken = _taken(stack, code)
            size, depth = 1 + sum(one[0] for one in taken), 1 + max((one[1] for one in taken), default=0)
            if size > MOST_VALUES or depth > MOST_DEPTH:
                raise pickle.UnpicklingError(
                    f"its values grow beyond {MOST_VALUES} or are nested more than {MOST_DEPTH} deep when they are read"
                )
            # A longer list or dictionary is not a deeper one.
            depth = max((one[1] for one in taken), default=0) if code.name in _ADDS else depth
            stack += [(size, depth)] * len(code.stack_after)


_ADDS = ("APPEND", "APPENDS", "SETITEM", "SETITEMS", "ADDITEMS", "BUILD")


def _taken(stack: list[tuple[int, int] | None], code: pickletools.OpcodeInfo) -> list[tuple[int, int]]:
    """What an instruction takes from the stack."""
    before = list(code.stack_before)
    taken: list[tuple[int, int]] = []
    if pickletools.markobject in before:
        while (one := stack.pop()) is not None:
            taken.append(one)
        before = before[: before.index(pickletools.markobject)]
    for _ in before:
        one = stack.pop()
        if one is None:
            raise pickle.UnpicklingError("it is damaged")
        taken.append(one)
    return taken


class _PlainUnpickler(pickle.Unpickler):
    """Accepts arrays, dtypes and scalars of numpy only, and builds checked substitutes for them."""

    def find_class(self, module: str, name: str) -> object:
        known = {
            ("numpy", "ndarray"): _PlainArray,
            ("numpy", "dtype"): _PlainDtype,
            ("numpy.core.multiarray", "_reconstruct"): _PlainArray,
            ("numpy.core.multiarray", "scalar"): _scalar,
            ("numpy.core.numeric", "_frombuffer"): _from_buffer,
            # Bytes in pickles of protocol 2.
            ("_codecs", "encode"): lambda text, _encoding: text.encode("latin1"),
            ("collections", "OrderedDict"): OrderedDict,
        }
        found = known.get((module.replace("numpy._core", "numpy.core"), name))
        if found is None:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}; only arrays and plain values are read")
        return found


class _PlainDtype:
    def __init__(self, name: object, *_: object) -> None:
        self._name = str(name)
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
    def __init__(self, *_: object, value: object = None) -> None:
        self.value = value

    def __setstate__(self, state: tuple) -> None:
        _version, shape, dtype, is_fortran, content = state
        made = dtype.made()
        if made.hasobject:
            if shape != () or not isinstance(content, list) or len(content) != 1:
                raise pickle.UnpicklingError(f"an array of objects of shape {shape}")
            self.value = content[0]
            return
        # frombuffer does not copy, and refuses a size that the content does not have.
        flat = np.frombuffer(content if isinstance(content, bytes) else content.encode("latin1"), made)
        self.value = flat.reshape(shape, order="F" if is_fortran else "C")


def _from_buffer(content: bytes, dtype: _PlainDtype, shape: tuple, order: str) -> _PlainArray:
    """Arrays in pickles of protocol 5."""
    flat = np.frombuffer(bytes(content), dtype.made())
    return _PlainArray(value=flat.reshape(shape, order="F" if order == "F" else "C"))


def _scalar(dtype: _PlainDtype, content: bytes) -> object:
    return np.frombuffer(content, dtype.made())[0].item()


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


class _TensorUnpickler(pickle.Unpickler):
    """Accepts tensors only."""

    def __init__(self, archive: zipfile.ZipFile, prefix: str) -> None:
        content = archive.read(prefix + "data.pkl")
        _refuse_growth(io.BytesIO(content))
        super().__init__(io.BytesIO(content))
        self._archive, self._prefix = archive, prefix

    def find_class(self, module: str, name: str) -> object:
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _rebuild
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if module == "torch" and name in _STORAGE_DTYPES:
            return np.dtype(_STORAGE_DTYPES[name])
        raise pickle.UnpicklingError(f"it asks for {module}.{name}; only tensors are read")

    def persistent_load(self, key: Any) -> np.ndarray:
        kind, dtype, name, _location, num_values = key
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
