"""What files hold, by name."""

import pickle
import zipfile

import h5py
import numpy as np
import pytest
import scipy.io
import torch

from longtake.features.errors import InvalidFeatures
from longtake.features.imports import entries, hdf5_entries
from longtake.features.imports.entries import entries_of, shown
from tests.features.imports.trees import h5

ARRAY = np.arange(6, dtype=np.float32).reshape(2, 3)


def read(path):
    return {name: entry.read() for name, entry in entries_of(path).items()}


def test_nested_values(tmp_path):
    torch.save({"a": {"x": torch.from_numpy(ARRAY)}, "n": 5}, tmp_path / "t.pt")
    found = read(tmp_path / "t.pt")
    np.testing.assert_array_equal(found["a/x"], ARRAY)
    assert found["n"] == 5 and shown(entries_of(tmp_path / "t.pt")) == "a/x float32 (2, 3), n int"


def test_two_values_of_one_name_are_refused(tmp_path):
    for content in ({1: ARRAY, "1": ARRAY}, {"a/b": ARRAY, "a": {"b": ARRAY}}):
        (tmp_path / "a.pkl").write_bytes(pickle.dumps(content))
        with pytest.raises(InvalidFeatures, match="a.pkl: it holds two values named"):
            read(tmp_path / "a.pkl")


def test_a_file_that_changes_is_read_again(tmp_path):
    np.save(tmp_path / "a.npy", ARRAY)
    read(tmp_path / "a.npy")
    np.save(tmp_path / "a.npy", np.vstack([ARRAY, ARRAY]))
    assert read(tmp_path / "a.npy")[""].shape == (4, 3)


def test_tables_with_and_without_names(tmp_path):
    (tmp_path / "a.csv").write_text("1,2,3\n4,5,6\n")
    np.testing.assert_array_equal(read(tmp_path / "a.csv")[""], [[1, 2, 3], [4, 5, 6]])
    (tmp_path / "b.csv").write_text("time;f0\n1;2\n4;5\n")
    assert {name: values.tolist() for name, values in read(tmp_path / "b.csv").items()} == {
        "time": [1, 4],
        "f0": [2, 5],
    }


def test_headers_that_pandas_gives_arrays_are_not_clips(tmp_path):
    for text in ("0,1,2\n4,5,6\n7,8,9\n", ",0,1,2\n0,4,5,6\n1,7,8,9\n"):
        (tmp_path / "a.csv").write_text(text)
        np.testing.assert_array_equal(read(tmp_path / "a.csv")[""], [[4, 5, 6], [7, 8, 9]])
    (tmp_path / "times.csv").write_text("0,1\n1,2\n")
    assert read(tmp_path / "times.csv")[""].shape == (2, 2)


@pytest.mark.parametrize(
    "text, words",
    [
        ("1,2\n3\n", "line 2: 1 cells"),
        ("1,2\nx,3\n", "line 2: not all"),
        ("", "is empty"),
        ("a,a\n1,2\n", "two columns"),
    ],
)
def test_tables_that_are_refused(tmp_path, text, words):
    (tmp_path / "c.csv").write_text(text)
    with pytest.raises(InvalidFeatures, match=words):
        read(tmp_path / "c.csv")


def test_arrays_of_npz_that_are_refused(tmp_path):
    """One declares more than it holds, the other has objects."""
    np.savez_compressed(tmp_path / "a.npz", x=np.zeros((1000, 1000)))
    assert read(tmp_path / "a.npz")["x"].shape == (1000, 1000)
    np.save(tmp_path / "x.npy", ARRAY)
    header = (tmp_path / "x.npy").read_bytes().replace(b"(2, 3), }      ", b"(2000, 3000), }")
    assert b"3000" in header
    with zipfile.ZipFile(tmp_path / "b.npz", "w") as archive:
        archive.writestr("x.npy", header)
    np.savez(tmp_path / "c.npz", x=np.array([{"a": 1}], object))
    for name in ("b.npz", "c.npz"):
        with pytest.raises(InvalidFeatures, match="plain arrays are read"):
            read(tmp_path / name)


@pytest.mark.parametrize("kind", ["npz", "h5"])
def test_what_unpacks_to_too_much(tmp_path, monkeypatch, kind):
    path = tmp_path / f"a.{kind}"
    if kind == "npz":
        np.savez_compressed(path, x=np.zeros((1000, 1000)))
    else:
        with h5py.File(path, "w") as file:
            file.create_dataset("x", data=np.zeros((1000, 1000)), compression="gzip")
    for module in (entries, hdf5_entries):
        monkeypatch.setattr(module, "SPARE_BYTES", 1000)
    with pytest.raises(InvalidFeatures, match="unpacks to"):
        read(path)


@pytest.mark.parametrize("name", ["a.npz", "a.h5", "a.mat", "a.csv"])
def test_damaged_anywhere(tmp_path, name):
    """Any error is ours."""
    path = tmp_path / name
    write = {
        "a.npz": lambda: np.savez_compressed(path, x=ARRAY),
        "a.h5": lambda: h5(path, x=ARRAY),
        "a.mat": lambda: scipy.io.savemat(path, {"x": ARRAY}, do_compression=True),
        "a.csv": lambda: path.write_text("1,2\n3,4\n"),
    }
    write[name]()
    content = path.read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(60):
        changed = bytearray(content[: rng.integers(1, len(content) + 1)])
        changed[rng.integers(len(changed))] ^= 1 << rng.integers(8)
        (tmp_path / f"b{path.suffix}").write_bytes(changed)
        try:
            read(tmp_path / f"b{path.suffix}")
        except InvalidFeatures:
            pass


SAVED = {
    "as numpy.savetxt": "1.5e+00 -2 3\n4 5 6\n",
    "decimal commas": "1,5;-2;3\n4;5;6\n",
    "tabs and decimal commas": "1,5\t-2\t3\n4\t5\t6\n",
    "blank lines of Windows": "1.5,-2,3\r\n\r\n4,5,6\r\n",
}


@pytest.mark.parametrize("how", SAVED)
def test_numbers_as_programs_save_them(tmp_path, how):
    (tmp_path / "a.csv").write_text(SAVED[how], newline="")
    np.testing.assert_array_equal(read(tmp_path / "a.csv")[""], [[1.5, -2, 3], [4, 5, 6]])


def test_a_column_after_a_mark_of_comments_keeps_its_name(tmp_path):
    """Otherwise, the pattern `f*` would find one column less."""
    np.savetxt(tmp_path / "a.csv", ARRAY, delimiter=",", header="f0,f1,f2")
    assert list(read(tmp_path / "a.csv")) == ["f0", "f1", "f2"]


def test_commas_that_may_be_thousands_stay(tmp_path):
    (tmp_path / "a.csv").write_text("time\tf0\n1\t1,234\n2\t2,345\n")
    assert read(tmp_path / "a.csv")["f0"].tolist() == ["1,234", "2,345"]


def test_lists_of_rows_are_arrays(tmp_path):
    content = {b"a": list(ARRAY), "b": ARRAY.tolist(), "uneven": [[1.0], [1.0, 2.0]], "names": ["x"], "empty": []}
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(content))
    found = entries_of(tmp_path / "a.pkl")
    assert [found[name].shape for name in content if isinstance(name, str)] == [(2, 3), None, None, None]
    np.testing.assert_array_equal(found["a"].read(), ARRAY)
    np.testing.assert_array_equal(found["b"].read(), ARRAY)


def test_a_list_that_repeats_an_array_cannot_grow(tmp_path, monkeypatch):
    monkeypatch.setattr(entries, "SPARE_BYTES", 1 << 10)
    row = np.zeros(1000, np.float32)
    (tmp_path / "a.pkl").write_bytes(pickle.dumps([row] * 1000))
    assert entries_of(tmp_path / "a.pkl")[""].shape is None
