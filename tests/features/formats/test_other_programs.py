"""Stores open whole in other programs, and the blocks of docs/format-for-others.md read them. The conformance kit compares values."""

import json
import re
import subprocess
import sys
import warnings
from pathlib import Path

import h5py
import numpy as np
import pytest
import zarr

from tests.features import raw
from tests.features.fakes import make_store
from tests.features.formats.test_conformance import copy

PAGE = Path(__file__).parents[3] / "docs" / "format-for-others.md"
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S)


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """A store with all that a store can have, in both formats, written from one of an earlier writer, whose texts are padded."""
    folder = tmp_path_factory.mktemp("others")
    tree = raw.with_groups(raw.with_stages(raw.example()))
    raw.write(folder / "raw.h5", tree)
    for suffix in (".h5", ".zarr"):
        copy(folder / "raw.h5", folder / f"s{suffix}")
    return folder, tree


def variables(tree):
    """Every array of an xarray tree: path -> names of axes and values."""
    return {
        f"{group.path}/{name}".lstrip("/"): (variable.dims, variable.values)
        for group in tree.subtree
        for name, variable in group.to_dataset(inherit=False).variables.items()
    }


def require_all(found, tree, text=lambda values: values):
    """All arrays of the reference tree, with names of axes of one meaning and the same values."""
    names = {"one", "sum", "video", "score", "boundary", "clip", "feature", "offset", "prompt"}
    expected = {path: values for path, values in raw.parts_of(tree) if not path.endswith("@")}
    assert expected.keys() == {path for path in found if not path.startswith("checksums/")}
    for path, values in expected.items():
        dims, own = found[path]
        if values.dtype.kind == "S":
            values, own = (
                [value.decode() for value in values.tolist()],
                [one.decode() if isinstance(one, bytes) else one for one in text(own).tolist()],
            )
            assert values == own, path
        else:
            np.testing.assert_array_equal(own, values, err_msg=path)
        assert names >= {name for name in dims if not name.endswith("_bytes")}, (path, dims)
    (stream,) = (path for path in expected if path.endswith("/features") and path.startswith("streams/"))
    assert found[stream][0] == ("clip", "feature") and found["labels/scores"][0] == ("video", "score")


@pytest.mark.parametrize("engine", ["h5netcdf", "netcdf4"])
def test_xarray_opens_hdf5(stores, engine):
    xarray = pytest.importorskip("xarray")
    pytest.importorskip({"h5netcdf": "h5netcdf", "netcdf4": "netCDF4"}[engine])
    with xarray.open_datatree(stores[0] / "s.h5", engine=engine) as tree:
        assert json.loads(tree["labels"].attrs["score_names"]) == ["total", "ärger"]
        require_all(variables(tree), stores[1])


def test_xarray_opens_zarr(stores):
    xarray = pytest.importorskip("xarray")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        root = xarray.open_datatree(stores[0] / "s.zarr", engine="zarr")
    found = variables(root[root.attrs["current"]])
    begin = f"{root.attrs['current']}/"
    require_all(
        {path.removeprefix(begin): value for path, value in found.items()},
        stores[1],
        lambda values: np.char.decode(values.view(f"S{values.shape[1]}")[:, 0], "utf-8"),
    )


def test_pytables_opens_every_array(stores):
    tables = pytest.importorskip("tables")
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # Such as that of an array which cannot be opened.
        for known in (tables.exceptions.DataTypeWarning, tables.NaturalNameWarning):
            warnings.simplefilter("ignore", known)
        with tables.open_file(stores[0] / "s.h5") as file:
            found = {node._v_pathname.lstrip("/"): node.read() for node in file.walk_nodes("/", "Leaf")}
    for path, values in raw.parts_of(stores[1]):
        if not path.endswith("@"):
            np.testing.assert_array_equal(found[path], values, err_msg=path)


@pytest.mark.parametrize("lengths", [{}, {"failed": 0}], ids=["no video", "no clip"])
@pytest.mark.parametrize("suffix", [".h5", ".zarr"])
def test_empty_stores_open(tmp_path, suffix, lengths):
    xarray = pytest.importorskip("xarray")
    pytest.importorskip("h5netcdf")
    path = make_store(tmp_path / f"s{suffix}", lengths)
    tree = xarray.open_datatree(path, engine="h5netcdf" if suffix == ".h5" else "zarr")
    found = variables(tree if suffix == ".h5" else tree[tree.attrs["current"]])
    (features,) = (values for path, (_, values) in found.items() if re.search("streams/.*/features$", path))
    assert features.shape == (0, 3)


def test_texts_of_hdf5_end_at_a_nul(stores):
    """h5dump shows the padding of other texts."""
    folder, _ = stores
    with h5py.File(folder / "s.h5", "r") as file:
        texts = []
        file.visititems(
            lambda name, item: texts.append(item) if getattr(item, "dtype", np.dtype("f")).kind == "S" else None
        )
        assert len(texts) > 15
        for text in texts:
            kind = text.id.get_type()
            assert kind.get_strpad() == h5py.h5t.STR_NULLTERM and kind.get_cset() == h5py.h5t.CSET_UTF8
            assert max(map(len, text[()].tolist())) < kind.get_size(), text.name
        longest = max(len(name.encode()) for name in raw.IDS)
        assert file["labels/video_id"].dtype.itemsize == longest + 1
    copy(folder / "s.h5", folder / "again.h5")
    with h5py.File(folder / "again.h5", "r") as file:
        assert file["labels/video_id"].dtype.itemsize == longest + 1, "a copy does not make texts longer"


def test_names_of_axes_are_of_the_lengths_of_their_arrays(stores):
    with h5py.File(stores[0] / "s.h5", "r") as file:
        stream = next(iter(file["streams"].values()))
        assert [axis[0].name.rsplit("/", 1)[1] for axis in stream["features"].dims] == ["clip", "feature"]
        assert [axis[0].shape for axis in stream["features"].dims] == [(size,) for size in stream["features"].shape]
    root = zarr.open_group(stores[0] / "s.zarr", mode="r")
    stream = next(group for _, group in root[root.attrs["current"]]["streams"].groups())
    assert stream["features"].metadata.dimension_names == ("clip", "feature")


@pytest.mark.parametrize(
    "block", BLOCKS, ids=[re.search(r"xarray.*zarr|xr|netCDF4|tables|pandas", b, re.S)[0][:8] for b in BLOCKS]
)
def test_the_blocks_of_the_page_print_what_is_there(tmp_path, block):
    for package in re.findall(r"^import (\w+)", block, re.M):
        pytest.importorskip(package)
    for engine in re.findall(r'engine="(h5netcdf)"', block):
        pytest.importorskip(engine)
    for suffix in (".h5", ".zarr"):
        make_store(tmp_path / "features" / f"demo{suffix}", {"first": 5, "second": 4})
    done = subprocess.run([sys.executable, "-c", block], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0 and "Error" not in done.stderr, done.stderr
    if "pandas" in block:
        assert [line.split()[1:] for line in done.stdout.splitlines()[1:]] == [
            ["first", "train", "A", "0.0"], ["second", "train", "A", "1.0"]
        ]  # fmt: skip
    else:
        assert done.stdout.startswith("first ") and "5" in done.stdout and "3" in done.stdout, done.stdout
