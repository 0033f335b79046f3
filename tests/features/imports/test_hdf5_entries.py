"""Any HDF5 file."""

import h5py
import numpy as np
import pytest

from longtake.features.errors import InvalidFeatures
from longtake.features.imports.hdf5_entries import hdf5_entries
from tests.features.imports.trees import h5


def test_arrays_and_attributes(tmp_path):
    path = h5(tmp_path / "a.h5", g__x=np.ones((2, 3), np.float32), at_name="demo", at_n=3, text="hello")
    with h5py.File(path, "r+") as file:
        file["g/x"].attrs["fps"] = 25.0
        file["loop"] = file["/"]
        file["soft"] = h5py.SoftLink("/g/x")
        file["outside"] = h5py.ExternalLink("b.h5", "/x")
    found = {name: read() for name, (_, _, read) in hdf5_entries(path).items()}
    assert found.keys() == {"g/x", "g/x@fps", "@name", "@n", "text"}
    assert (found["g/x@fps"], found["@name"], found["@n"], found["text"]) == (25.0, "demo", 3, "hello")


def test_data_elsewhere_and_false_sizes(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("external", (4,), "f4", external=[(str(tmp_path / "secret"), 0, 16)])
        file.create_dataset("large", (1 << 30, 64), "f4", chunks=(1, 64))
        layout = h5py.VirtualLayout((2,), "f4")
        layout[:] = h5py.VirtualSource(tmp_path / "b.h5", "x", (2,))
        file.create_virtual_dataset("virtual", layout)
    found = hdf5_entries(tmp_path / "a.h5")
    for name, words in (("external", "another file"), ("virtual", "another file"), ("large", "declares")):
        with pytest.raises(InvalidFeatures, match=words):
            found[name][2]()
