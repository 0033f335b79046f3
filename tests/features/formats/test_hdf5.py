"""Damaged and hostile HDF5 files are refused with one message."""

import errno
import os

import h5py
import numpy as np
import pytest

from longtake.errors import LongtakeError
from longtake.features.formats import hdf5
from longtake.features.store import open_store
from tests.features import raw
from tests.features.fakes import make_store
from tests.features.formats.hostile import HUGE, refused


def reason(path):
    """When it is opened, or, for what is read only when it is asked for, when all of it is asked for."""
    with pytest.raises(LongtakeError) as caught, open_store(path) as store:
        assert len(store.labels) == len(store.stream().records) == 2
        store.stream().read_all()
    assert "\n" not in str(caught.value).strip()
    return str(caught.value)


def test_files_that_are_not_stores(tmp_path):
    assert "no feature store" in reason(tmp_path / "none.h5")
    (tmp_path / "text.h5").write_text("hello")
    assert "not an HDF5 file" in reason(tmp_path / "text.h5")
    (tmp_path / "folder.h5").mkdir()
    assert "is a folder" in reason(tmp_path / "folder.h5")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = 1
    assert "does not say that it is one" in reason(tmp_path / "other.h5")


def _set(name, value):
    def change(file, stream):
        del stream[name]
        stream[name] = value

    return change


OF_THREE = (1 << 40, 3)


HOSTILE = {
    "another version": lambda file, stream: file.attrs.__setitem__("format_version", 9),
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
        stream.__delitem__("features"), stream.create_dataset("features", OF_THREE, "f4", chunks=(128, 3))),
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
    path = raw.as_version_1(make_store(tmp_path / "s.h5", {"a": 5, "b": 4}))
    with h5py.File(path, "r+") as file:
        HOSTILE[what](file, next(iter(file["streams"].values())))
    reason(path)


def bomb(file, stream):
    """A chunk of a thousand bytes more than it should be is refused before it is inflated."""
    del stream["features"]
    data = stream.create_dataset("features", (204, 6), "f4", chunks=(204, 6), compression="gzip")
    import zlib

    data.id.write_direct_chunk((0, 0), zlib.compress(os.urandom(20_000)) + bytes(1000))


def unknown_filter(file, stream):
    del stream["features"]
    creation = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    creation.set_chunk((204, 6))
    creation.set_filter(32001, h5py.h5z.FLAG_OPTIONAL, (1, 2))
    space = h5py.h5s.create_simple((204, 6))
    data = h5py.h5d.create(stream.id, b"features", h5py.h5t.IEEE_F32LE, space, creation)
    data.write_direct_chunk((0, 0), bytes(204 * 6 * 4), filter_mask=0)


def replaced(name, *arguments, **options):
    def change(file, stream):
        del stream[name]
        stream.create_dataset(name, *arguments, **options)

    return change


def list_attribute(file, stream):
    """As damage to the type of a text makes it. HDF5 follows the pointers in it."""
    lists = np.empty(1, object)
    lists[0] = np.array([1, 2], np.int32)
    stream.attrs.create("header", lists, dtype=h5py.vlen_dtype(np.int32))


def linked(name, link):
    def change(file, stream):
        group = stream if name in stream else file
        del group[name]
        group[name] = link

    return change


HDF5 = {
    "labels linked outside": (linked("labels", h5py.ExternalLink("/etc/passwd", "/")), "labels is missing or a link"),
    "features linked": (linked("features", h5py.SoftLink("/card")), "features is missing or a link"),
    "enormous": (replaced("features", HUGE, "f4", chunks=(128, 6)), "features declares an impossible shape"),
    "large and never written": (
        replaced("features", (1 << 30, 6), "f4", chunks=(128, 6)), r"declares \(1073741824, 6\) but stores 0 bytes"),
    "large ids": (
        replaced("videos/video_id", (1 << 30,), "S100", chunks=(128,)), "video_id: 429 GB, but|video_id declares .* 0 bytes"),
    "enormous chunks": (
        replaced("features", (204, 6), "f4", chunks=(1 << 24, 6), maxshape=(None, 6)),
        r"declares chunks of \(16777216, 6\), more than 64 MiB"),
    "kept elsewhere": (
        replaced("features", (204, 6), "f4", external=[("/etc/passwd", 0, 4896)]), "keeps its data in another file"),
    "objects": (replaced("videos/status", data=["ok"] * 4, dtype=h5py.string_dtype()), "status has type object"),
    "references": (replaced("offsets", (5,), dtype=h5py.ref_dtype), "offsets has type object"),
    "an attribute of lists": (list_attribute, "the attribute 'header' is neither text nor a number"),
    "a bomb": (bomb, "features stores a chunk of 2.... bytes; at most 8992 are possible"),
    "a header that changed": (
        lambda file, stream: stream.attrs.__setitem__("header", stream.attrs["header"].replace('"clip_stride":8', '"clip_stride":9')),
        "has the header of net@.*: one of the two is damaged"),
    "a filter that is not there": (unknown_filter, "features cannot be read"),
}  # fmt: skip


@pytest.mark.parametrize("what", HDF5)
def test_false_declarations_of_hdf5(tmp_path, what):
    """The message shows that the intended check refuses it. Memory that HDF5 takes is not measured here."""
    change, words = HDF5[what]
    path = tmp_path / "s.h5"
    raw.write(path, raw.example(version=1))
    with h5py.File(path, "r+") as file:
        change(file, next(iter(file["streams"].values())))
    refused(path, words)


@pytest.mark.parametrize("share", [0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99])
def test_truncated_hdf5(tmp_path, share):
    path = tmp_path / "s.h5"
    raw.write(path, raw.example())
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    refused(path)


def chunk_of(path, name):
    (found,) = [p for p in path.rglob(f"{name}/c/**/*") if p.is_file() and "streams" in str(p)][:1]
    return found


def link(path):
    chunk = chunk_of(path, "features")
    chunk.unlink()
    chunk.symlink_to("/etc/passwd")


def test_only_regular_files_are_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe.h5")
    refused(tmp_path / "pipe.h5", "not a regular file but a named pipe")
    (tmp_path / "device.h5").symlink_to("/dev/zero")
    refused(tmp_path / "device.h5", "not a regular file but a device")


def test_a_store_behind_a_link_is_rewritten(tmp_path):
    path = make_store(tmp_path / "real.h5", {"a": 3})
    (tmp_path / "link.h5").symlink_to("real.h5")
    make_store(tmp_path / "link.h5", {"a": 3, "b": 2})
    assert (tmp_path / "link.h5").is_symlink()
    with open_store(path) as store:
        assert store.stream().videos.video_ids == ("a", "b")


def test_who_closes_a_replaced_file_does_not_wait_for_its_blocks(tmp_path, monkeypatch):
    later = []
    monkeypatch.setattr(hdf5, "close_later", later.append)
    path = make_store(tmp_path / "s.h5", {"a": 3})
    with open_store(path):
        pass
    assert not later
    with open_store(path) as old:
        make_store(path, {"b": 3})
        assert old.stream().read("a").features.shape[0] == 3
    assert [os.fstat(file).st_nlink for file in later] == [0]
    os.close(later[0])
    old.close()


def test_a_failure_to_write_is_not_published(tmp_path, monkeypatch):
    """Of what is written before the file is complete, the kernel speaks at the sync alone."""
    path = make_store(tmp_path / "s.h5", {"a": 3})

    def failed(file):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", failed)
    with pytest.raises(OSError, match="Input/output"):
        make_store(path, {"b": 3})
    assert [one.name for one in tmp_path.iterdir()] == ["s.h5"]
    with open_store(path) as store:
        assert store.stream().videos.video_ids == ("a",)
