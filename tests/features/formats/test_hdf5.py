"""Damaged and hostile HDF5 files are refused with one message."""

import h5py
import numpy as np
import pytest

from longtake.errors import LongtakeError
from longtake.features.store import open_store
from tests.features.fakes import make_store


def refused(path):
    """When it is opened, or, for what is read only when it is asked for, when all of it is asked for."""
    with pytest.raises(LongtakeError) as caught, open_store(path) as store:
        assert len(store.labels) == len(store.stream().records) == 2
        store.stream().read_all()
    assert "\n" not in str(caught.value).strip()
    return str(caught.value)


def test_files_that_are_not_stores(tmp_path):
    assert "no feature store" in refused(tmp_path / "none.h5")
    (tmp_path / "text.h5").write_text("hello")
    assert "not an HDF5 file" in refused(tmp_path / "text.h5")
    (tmp_path / "folder.h5").mkdir()
    refused(tmp_path / "folder.h5")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = 1
    assert "does not say that it is one" in refused(tmp_path / "other.h5")


@pytest.mark.parametrize("share", [0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99])
def test_truncated(tmp_path, share):
    data = make_store(tmp_path / "s.h5", {"a": 40, "b": 50}).read_bytes()
    (tmp_path / "cut.h5").write_bytes(data[: int(len(data) * share)])
    refused(tmp_path / "cut.h5")


def _set(name, value):
    def change(file, stream):
        del stream[name]
        stream[name] = value

    return change


HUGE = (1 << 40, 3)


HOSTILE = {
    "another version": lambda file, stream: file.attrs.__setitem__("format_version", 2),
    "no labels": lambda file, stream: file.__delitem__("labels"),
    "labels linked outside": lambda file, stream: (
        file.__delitem__("labels"), file.__setitem__("labels", h5py.ExternalLink("/etc/passwd", "/"))),
    "features linked": lambda file, stream: (
        stream.__delitem__("features"), stream.__setitem__("features", h5py.SoftLink("/card"))),
    "offsets beyond": _set("offsets", np.array([0, 5, 99])),
    "offsets negative": _set("offsets", np.array([0, -5, 9])),
    "offsets of floats": _set("offsets", np.array([np.nan, 5, 9])),
    "no offsets": _set("offsets", np.zeros(0, int)),
    "enormous": lambda file, stream: (
        stream.__delitem__("features"), stream.create_dataset("features", HUGE, "f4", chunks=(128, 3))),
    "large and never written": lambda file, stream: (
        stream.__delitem__("features"), stream.create_dataset("features", (1 << 30, 3), "f4", chunks=(128, 3))),
    "large ids": lambda file, stream: (
        stream.__delitem__("videos/video_id"),
        stream.create_dataset("videos/video_id", (1 << 30,), "S100", chunks=(128,))),
    "kept elsewhere": lambda file, stream: (
        stream.__delitem__("features"),
        stream.create_dataset("features", (9, 3), "f4", external=[("/etc/passwd", 0, 108)])),
    "objects": lambda file, stream: (
        stream.__delitem__("videos/status"),
        stream.create_dataset("videos/status", data=["ok", "ok"], dtype=h5py.string_dtype())),
    "an id that leaves": lambda file, stream: (
        stream.__delitem__("videos/video_id"), stream.__setitem__("videos/video_id", np.array([b"../../x", b"b"]))),
    "wrong width": _set("features", np.zeros((9, 4), np.float32)),
    "header is not JSON": lambda file, stream: stream.attrs.__setitem__("header", "{"),
    "header of another release": lambda file, stream: stream.attrs.__setitem__("header", '{"format_version": 1, "x": 1}'),
    "a table of another length": _set("videos/fps", np.zeros(7)),
}  # fmt: skip


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_stores_are_refused(tmp_path, what):
    path = make_store(tmp_path / "s.h5", {"a": 5, "b": 4})
    with h5py.File(path, "r+") as file:
        HOSTILE[what](file, next(iter(file["streams"].values())))
    refused(path)
