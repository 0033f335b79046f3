"""Arrays are read from untrusted files, and no code in them is executed."""

import os
import pickle
import random
import zipfile

import numpy as np
import pytest
import torch

from longtake.features.errors import InvalidFeatures
from longtake.features.imports import growth, safe_pickle
from longtake.features.imports.safe_pickle import read_array, read_values

TABLE = np.arange(12, dtype=np.float32).reshape(4, 3)


class Payload:
    """Unpickled by an ordinary reader, it makes the folder."""

    def __init__(self, marker):
        self.marker = str(marker)

    def __reduce__(self):
        return os.mkdir, (self.marker,)


@pytest.mark.parametrize("dtype", ["<f4", "<f2", ">f4", "<f8"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_npy(tmp_path, dtype, order):
    np.save(tmp_path / "a.npy", np.asarray(TABLE, dtype=dtype, order=order))
    np.testing.assert_array_equal(read_array(tmp_path / "a.npy"), TABLE)


@pytest.mark.parametrize("name", ["a.pt", "a.npy"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.float64])
@pytest.mark.parametrize("change", [lambda t: t, lambda t: t.T.contiguous().T, lambda t: torch.cat([t, t])[4:]])
def test_torch_files_under_any_name(tmp_path, name, dtype, change):
    torch.save(change(torch.from_numpy(TABLE)).to(dtype), tmp_path / name)
    np.testing.assert_array_equal(read_array(tmp_path / name), TABLE)


def test_bfloat16(tmp_path):
    """numpy has no such type; each value is a float32 without its lower half."""
    tensor = torch.randn(6, 4).bfloat16()
    torch.save({"whole": tensor, "turned": tensor.T, "part": tensor[2:4, 1:3]}, tmp_path / "a.pt")
    found = read_values(tmp_path / "a.pt")
    for name, expected in (("whole", tensor), ("turned", tensor.T), ("part", tensor[2:4, 1:3])):
        np.testing.assert_array_equal(found[name], expected.float().numpy())
        assert found[name].dtype == np.float32


def test_the_payload_works_in_an_ordinary_reader(tmp_path):
    pickle.loads(pickle.dumps(Payload(tmp_path / "ran")))
    assert (tmp_path / "ran").exists()


def test_a_pickle_in_npy_is_not_run(tmp_path):
    np.save(tmp_path / "a.npy", np.array([Payload(tmp_path / "ran")], dtype=object))
    with pytest.raises(InvalidFeatures, match="not a plain array"):
        read_array(tmp_path / "a.npy")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("wrap", [lambda p: p, lambda p: {"tensor": p}, lambda p: [torch.zeros(2), p]])
def test_a_pickle_in_a_torch_file_is_not_run(tmp_path, wrap):
    torch.save(wrap(Payload(tmp_path / "ran")), tmp_path / "a.pt")
    with pytest.raises(InvalidFeatures, match="only tensors, arrays and plain values are read"):
        read_array(tmp_path / "a.pt")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "value", [{"a": torch.zeros(2)}, [torch.zeros(2)], 3, "text", torch.zeros(2, dtype=torch.complex64)]
)
def test_other_things_than_one_tensor(tmp_path, value):
    torch.save(value, tmp_path / "a.pt")
    with pytest.raises(InvalidFeatures):
        read_array(tmp_path / "a.pt")


def test_a_header_that_declares_more_than_the_file_holds(tmp_path):
    np.save(tmp_path / "a.npy", TABLE)
    content = (tmp_path / "a.npy").read_bytes()
    declared = content.replace(b"(4, 3), }         ", b"(99999999999, 3), }")
    assert declared != content
    (tmp_path / "a.npy").write_bytes(declared)
    with pytest.raises(InvalidFeatures, match="not a plain array"):
        read_array(tmp_path / "a.npy")


def test_a_view_far_larger_than_its_storage(tmp_path):
    """Strides of 0 make a terabyte of one stored value."""
    torch.save(torch.zeros(1).expand(1 << 20, 1 << 20), tmp_path / "a.pt")
    with pytest.raises(InvalidFeatures, match="its values take more than"):
        read_array(tmp_path / "a.pt")


@pytest.mark.parametrize("content", [b"", b"hello", b"\x93NUMPY", b"PK\x03\x04", b"\x80\x04."])
def test_files_of_another_kind(tmp_path, content):
    (tmp_path / "a.npy").write_bytes(content)
    with pytest.raises(InvalidFeatures):
        read_array(tmp_path / "a.npy")


@pytest.mark.parametrize(
    "save", [lambda path: np.save(path, TABLE), lambda path: torch.save(torch.from_numpy(TABLE), path)]
)
def test_damaged_anywhere(tmp_path, save):
    """Truncated or with flipped bytes: the correct numbers, or one of our errors."""
    path = tmp_path / "a.npy"
    save(path)
    content, rng = path.read_bytes(), random.Random(0)
    refused = 0
    for _ in range(300):
        changed = bytearray(content[: rng.randrange(len(content))] if rng.random() < 0.3 else content)
        for _ in range(rng.choice([1, 4])):
            if changed:
                changed[rng.randrange(len(changed))] = rng.randrange(256)
        path.write_bytes(changed)
        try:
            assert isinstance(read_array(path), np.ndarray)
        except InvalidFeatures:
            refused += 1
    assert refused > 50


def test_an_archive_that_declares_gigabytes(tmp_path, monkeypatch):
    monkeypatch.setattr("longtake.features.imports.safe_pickle.MAX_BYTES", 1 << 20)
    with zipfile.ZipFile(tmp_path / "a.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data.pkl", b"0" * (2 << 20))
    assert (tmp_path / "a.pt").stat().st_size < 1 << 14
    with pytest.raises(InvalidFeatures, match="declares 2097152 bytes of tensors, more than"):
        read_array(tmp_path / "a.pt")


def shared(levels, start, wrap):
    """A value that contains the one before twice, and so on: a few bytes for each level."""
    value = start
    for _ in range(levels):
        value = wrap(value)
    return value


def pairs():
    return shared(12, (1,), lambda v: (v, v))


GROWING = {
    "a key of tuples": lambda: {pairs(): 1},
    "a field of tuples": lambda: {("a", 1): (pairs(), 2.0)},
    "lists": lambda: shared(40, [], lambda v: [v, v]),
    "dictionaries": lambda: shared(40, {}, lambda v: {1: v, 2: v}),
    "a key that is nested deeply": lambda: {shared(60, (1,), lambda v: (v,)): 1},
    "a key of a tuple in a tuple": lambda: {(1, (2, 3)): 1},
}


@pytest.mark.parametrize("what", GROWING)
def test_small_pickles_cannot_grow(tmp_path, monkeypatch, what):
    monkeypatch.setattr(safe_pickle, "MOST_VALUES", 1000)
    monkeypatch.setattr(growth, "MOST_VALUES", 1000)
    content = pickle.dumps(GROWING[what](), 2)
    assert len(content) < 1000
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(InvalidFeatures, match="grow beyond|holds more than|neither text nor a number"):
        read_values(tmp_path / "x")


def test_annotations_of_usual_size_are_read(tmp_path):
    value = {
        ("event", number): {"frames_labels": [7] * 200, "score": 1.0, "array": np.zeros(3)} for number in range(50)
    }
    (tmp_path / "x").write_bytes(pickle.dumps(value))
    read = read_values(tmp_path / "x")
    assert read.keys() == value.keys() and read["event", 3]["frames_labels"] == [7] * 200


def test_a_pipe_is_refused(tmp_path):
    os.mkfifo(tmp_path / "x.npy")
    with pytest.raises(InvalidFeatures, match="not a regular file but a named pipe"):
        read_array(tmp_path / "x.npy")


@pytest.fixture
def small_budget(monkeypatch):
    monkeypatch.setattr(growth, "SPARE_BYTES", 1 << 16)


TEXT = "x" * 10_000


def reduced(function, *arguments):
    """An object that is pickled as a call of a function."""

    class Call:
        def __reduce__(self):
            return function, arguments

    return Call()


def write_calls(path, num_calls, function, *arguments, protocol=4):
    """Calls that share their arguments."""
    path.write_bytes(pickle.dumps([reduced(function, *arguments) for _ in range(num_calls)], protocol))


def text_calls():
    from _codecs import encode

    return encode, TEXT, "latin1"


def scalar_calls():
    scalar, _ = np.float32(0).__reduce__()
    return scalar, np.dtype("U2500"), bytes(10_000)


def buffer_calls():
    function, *_ = np.zeros(1).__reduce_ex__(5)
    return function, bytes(10_000), np.dtype("f4"), (2500,), "C"


def ordered_calls():
    from collections import OrderedDict

    return OrderedDict, [(number, None) for number in range(100)]


@pytest.mark.parametrize("calls", [text_calls, scalar_calls, buffer_calls, ordered_calls])
def test_calls_that_share_their_arguments_are_limited(tmp_path, small_budget, calls):
    """Each is a few bytes of the file, and takes 10 kB."""
    write_calls(tmp_path / "few", 3, *calls())
    assert len(read_values(tmp_path / "few")) == 3
    write_calls(tmp_path / "many", 1000, *calls())
    with pytest.raises(InvalidFeatures, match="its values take more than") as caught:
        read_values(tmp_path / "many")
    assert "\n" not in str(caught.value)


def test_arrays_whose_text_is_shared_are_limited(tmp_path, small_budget):
    """Old pickles keep the bytes of an array as text, which each of them copies."""
    reconstruct, arguments, _ = np.zeros(1).__reduce__()

    class Array:
        def __reduce__(self):
            return reconstruct, arguments, state

    state = (1, (2500,), np.dtype("f4"), False, TEXT)
    (tmp_path / "few").write_bytes(pickle.dumps([Array() for _ in range(3)], 4))
    assert [len(one) for one in read_values(tmp_path / "few")] == [2500] * 3
    (tmp_path / "many").write_bytes(pickle.dumps([Array() for _ in range(1000)], 4))
    with pytest.raises(InvalidFeatures, match="its values take more than"):
        read_values(tmp_path / "many")


def test_an_array_of_a_number_of_zeros(tmp_path):
    """`bytes(number)` makes that many."""
    function, _, *more = buffer_calls()
    write_calls(tmp_path / "x", 1, function, 1 << 40, *more)
    with pytest.raises(InvalidFeatures, match="an array of int"):
        read_values(tmp_path / "x")


def test_tensors_that_share_a_storage_are_limited(tmp_path, small_budget):
    """Each within the limit for one tensor: the sum counts."""
    torch.save([torch.zeros(1).expand(1000 + number) for number in range(5)], tmp_path / "few.pt")
    assert [len(one) for one in read_values(tmp_path / "few.pt")] == [1000, 1001, 1002, 1003, 1004]
    torch.save([torch.zeros(1).expand(10_000 + number) for number in range(50)], tmp_path / "many.pt")
    with pytest.raises(InvalidFeatures, match="its values take more than"):
        read_values(tmp_path / "many.pt")


def test_a_storage_is_read_once(tmp_path, monkeypatch):
    shared = torch.arange(1000.0)
    torch.save([shared[first:] for first in range(5)], tmp_path / "a.pt")
    read, names = zipfile.ZipFile.read, []
    monkeypatch.setattr(zipfile.ZipFile, "read", lambda archive, name: (names.append(name), read(archive, name))[1])
    values = read_values(tmp_path / "a.pt")
    assert [float(one[0]) for one in values] == [0, 1, 2, 3, 4]
    assert len([name for name in names if "/data/" in name]) == 1


def of_python_2(array, protocol):
    """An array as Python 2 pickles it: its bytes are a text."""
    content = array.tobytes()
    text = b"T" + len(content).to_bytes(4, "little") + content
    shape = b"".join(b"K" + bytes([size]) for size in array.shape)
    begin = b"\x80\x02" if protocol == 2 else b""
    return (
        begin + b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00tU\x01btR(K\x01(" + shape + b"tcnumpy\ndtype\n"
        b"(U\x02f4K\x00K\x01tR(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89" + text + b"tb."
    )  # fmt: skip


@pytest.mark.parametrize("protocol", [1, 2])
def test_arrays_of_python_2(tmp_path, protocol):
    table = TABLE + 0.1  # bytes above 127
    (tmp_path / "a.pkl").write_bytes(of_python_2(table, protocol))
    np.testing.assert_array_equal(read_array(tmp_path / "a.pkl"), table)


def test_arrays_parameters_and_masks_in_torch_files(tmp_path):
    tensor = torch.from_numpy(TABLE)
    value = {
        "array": TABLE,
        "parameter": torch.nn.Parameter(tensor),
        "mask": tensor > 5,
        "small": tensor.to(torch.uint8),
    }
    torch.save(value, tmp_path / "a.pt")
    found = read_values(tmp_path / "a.pt")
    for name in ("array", "parameter", "small"):
        np.testing.assert_array_equal(found[name], TABLE)
    np.testing.assert_array_equal(found["mask"], TABLE > 5)


def test_objects_and_empty_files_are_named(tmp_path):
    np.save(tmp_path / "a.npy", np.array([*TABLE, None], dtype=object)[:-1], allow_pickle=True)
    with pytest.raises(InvalidFeatures, match=r"it holds Python objects \(4,\); save what is inside as one array"):
        read_array(tmp_path / "a.npy")
    (tmp_path / "a.npy").write_bytes(b"")
    with pytest.raises(InvalidFeatures, match="a.npy is empty"):
        read_array(tmp_path / "a.npy")
