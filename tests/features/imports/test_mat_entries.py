"""MATLAB files of version 5."""

import numpy as np
import pytest
import scipy.io

from longtake.features.errors import InvalidFeatures
from longtake.features.imports import growth
from longtake.features.imports.mat_entries import mat_entries


@pytest.mark.parametrize("compressed", [True, False])
def test_arrays(tmp_path, compressed):
    array = np.arange(6.0).reshape(2, 3)
    values = {
        "x": array,
        "y": array.astype(np.float32),
        "cell": np.array([[1, "a"]], object),
        "s": {"a": array},
        "t": "text",
    }
    scipy.io.savemat(tmp_path / "a.mat", values, do_compression=compressed)
    found = mat_entries(tmp_path / "a.mat")
    assert found.keys() == {"x", "y"} and found["y"][:2] == ((2, 3), "single (2, 3)")
    np.testing.assert_array_equal(found["x"][2](), array)


def test_what_unpacks_to_too_much(tmp_path, monkeypatch):
    monkeypatch.setattr(growth, "SPARE_BYTES", 1000)
    scipy.io.savemat(tmp_path / "a.mat", {"x": np.zeros((1000, 1000))}, do_compression=True)
    with pytest.raises(InvalidFeatures, match="take more than"):
        mat_entries(tmp_path / "a.mat")
