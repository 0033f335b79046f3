"""Hostile stores are refused with one line: they do not fill the memory, run code or lead out of the store."""

import json
import os
import shutil
import tracemalloc
import warnings

import h5py
import numpy as np
import pytest
import zarr
from click.testing import CliRunner

from longtake.errors import LongtakeError
from longtake.features.cli import main
from longtake.features.store import open_store
from longtake.files import Writer
from tests.features import raw

HUGE = (1 << 40, 6)


def touch_everything(path):
    with open_store(path) as store:
        assert len(store.labels) == 4
        for stream in store.streams:
            stream.read_all()
            assert len(stream.records) == len(stream.videos.checksums)
            for video_id in stream.videos.video_ids:
                stream.read(video_id)


def refused(path, words=None):
    """With one line, when the store is opened or the faulty value is read, and by the command too."""
    tracemalloc.start()
    with pytest.raises(LongtakeError, match=words) as caught:
        touch_everything(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 200e6, f"{peak / 1e6:.0f} MB were taken"
    assert "\n" not in str(caught.value).strip() and str(caught.value)
    done = CliRunner().invoke(main, ["verify", str(path)])
    assert done.exit_code in (1, 2) and "Traceback" not in done.output, done.output


def stream_of(tree):
    return next(iter(tree["streams"].values()))


def changed(change):
    def make(path):
        tree = raw.example()
        change(tree)
        raw.write(path, tree)

    return make


def put(name, value):
    *groups, last = name.split("/")

    def change(tree):
        node = stream_of(tree)
        for group in groups:
            node = node[group]
        node[last] = value(node[last]) if callable(value) else value

    return changed(change)


def boundaries(values):
    def change(tree):
        raw.with_stages(tree)["labels"]["boundary_seconds"] = values

    return changed(change)


BOTH = {
    "wrong magic": changed(lambda tree: tree["@"].update(format="something else")),
    "another version": changed(lambda tree: tree["@"].update(format_version=2)),
    "no labels": changed(lambda tree: tree.pop("labels")),
    "labels of another length": changed(lambda tree: tree["labels"].update(split=raw.text(["a"]))),
    "a video labelled twice": changed(lambda tree: tree["labels"].update(video_id=raw.text(["a", "a", "b", "c"]))),
    "scores of text": changed(lambda tree: tree["labels"].update(scores=raw.text(["1"] * 4))),
    "boundaries of another length": boundaries(np.zeros((3, 2))),
    "boundaries that go back": boundaries(np.array([[2.0, 1.0]] * 4)),
    "boundaries after a missing one": boundaries(np.array([[np.nan, 1.0]] * 4)),
    "boundaries that never come": boundaries(np.array([[1.0, np.inf]] * 4)),
    "boundaries of text": boundaries(raw.text(["1"] * 4)),
    "boundaries without their array": changed(lambda tree: tree["labels"]["@"].update(num_boundaries=2)),
    "offsets beyond": put("offsets", np.array([0, 3, 203, 203, 999])),
    "offsets negative": put("offsets", np.array([0, -3, 203, 203, 204])),
    "offsets enormous": put("offsets", np.array([0, 3, 1 << 62, 1 << 62, 204])),
    "offsets of floats": put("offsets", np.array([0, np.nan, 203, 203, 204])),
    "no offsets": put("offsets", np.zeros(0, np.int64)),
    "features of integers": put("features", lambda values: values.astype(np.int32)),
    "features with NaN": put("features", lambda values: values * np.nan),
    "features too narrow": put("features", lambda values: values[:, :5]),
    "an id that leaves": put("videos/video_id", raw.text(["../../x", "b", "c", "d"])),
    "an absolute id": put("videos/video_id", raw.text(["/etc/passwd", "b", "c", "d"])),
    "an id that is not text": put("videos/video_id", np.array([b"\xff\xfe", b"b", b"c", b"d"])),
    "an unknown status": put("videos/status", raw.text(["ok", "ok", "perhaps", "ok"])),
    "a column of another length": put("videos/fps", np.zeros(7)),
    "times of another length": put("start_seconds", np.zeros(7)),
    "a missing column": changed(lambda tree: stream_of(tree)["videos"].pop("error_stage")),
    "a recipe that is not JSON": changed(lambda tree: stream_of(tree)["@"].update(header="{")),
    "a recipe of another release": changed(lambda tree: stream_of(tree)["@"].update(header='{"format_version": 9}')),
    "a recipe of lists": changed(lambda tree: stream_of(tree)["@"].update(header="[1]")),
    **{
        f"a card that is {what}": changed(lambda tree, text=text: tree.update(card=raw.text([text])))
        for what, text in {"no card": '{"name": 3}', "cut off": '{"name": "rg"', "a long number": "1" * 5000}.items()
    },
}


@pytest.mark.parametrize("suffix", [".h5", ".zarr"])
@pytest.mark.parametrize("what", BOTH)
def test_false_declarations_of_both_kinds(tmp_path, what, suffix):
    path = tmp_path / f"s{suffix}"
    BOTH[what](path)
    if what.startswith("a card"):
        with pytest.raises(LongtakeError), open_store(path) as store:
            assert store.card
        return
    refused(path)


@pytest.mark.parametrize("suffix", [".h5", ".zarr"])
def test_the_unchanged_example_is_not_refused(tmp_path, suffix):
    raw.write(tmp_path / f"s{suffix}", raw.example())
    touch_everything(tmp_path / f"s{suffix}")


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
    raw.write(path, raw.example())
    with h5py.File(path, "r+") as file:
        change(file, next(iter(file["streams"].values())))
    refused(path, words)


@pytest.mark.parametrize("share", [0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99])
def test_truncated_hdf5(tmp_path, share):
    path = tmp_path / "s.h5"
    raw.write(path, raw.example())
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    refused(path)


def root_of(path):
    return json.loads((path / "zarr.json").read_text())


def metadata(name, **changes):
    """Change the metadata of an array of the stream in the root."""

    def change(path):
        root = root_of(path)
        nodes = root["consolidated_metadata"]["metadata"]
        (key,) = [key for key in nodes if key.endswith("/" + name) and "/streams/" in key]
        nodes[key] |= changes
        (path / "zarr.json").write_text(json.dumps(root))

    return change


def with_root(change):
    def make(path):
        root = root_of(path)
        change(root)
        (path / "zarr.json").write_text(json.dumps(root))

    return make


def chunk_of(path, name):
    (found,) = [p for p in path.rglob(f"{name}/c/**/*") if p.is_file() and "streams" in str(p)][:1]
    return found


def link(path):
    chunk = chunk_of(path, "features")
    chunk.unlink()
    chunk.symlink_to("/etc/passwd")


def grid(*shape):
    return {"name": "regular", "configuration": {"chunk_shape": list(shape)}}


ZARR = {
    "no root": lambda path: (path / "zarr.json").unlink(),
    "a root that is cut": lambda path: (path / "zarr.json").write_text((path / "zarr.json").read_text()[:200]),
    "a root of nothing": lambda path: (path / "zarr.json").write_text("{}"),
    "a root that is a list": lambda path: (path / "zarr.json").write_text("[]"),
    "a current that leaves": with_root(lambda root: root["attributes"].update(current="../../etc")),
    "a current that is nowhere": with_root(lambda root: root["attributes"].update(current="other")),
    "no metadata of arrays": with_root(lambda root: root.pop("consolidated_metadata")),
    "enormous": metadata("features", shape=list(HUGE)),
    "negative": metadata("features", shape=[-204, 6]),
    "large and never written": metadata("features", shape=[1 << 30, 6], chunk_grid=grid(1 << 20, 6)),
    "large ids": metadata("videos/video_id", shape=[1 << 30, 100]),
    "enormous chunks": metadata("features", chunk_grid=grid(1 << 30, 6)),
    "a billion chunks": metadata("features", shape=[1 << 30, 6], chunk_grid=grid(1, 1)),
    "an unknown codec": metadata("features", codecs=[{"name": "my_codec", "configuration": {}}]),
    "a codec that others have": metadata(
        "features", codecs=[{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "numcodecs.bz2"}]
    ),
    "objects": metadata("videos/status", data_type="string", codecs=[{"name": "vlen-utf8"}], fill_value=""),
    "another type than was written": metadata("offsets", data_type="int8", fill_value=0),
    "a lost chunk of features": lambda path: chunk_of(path, "features").unlink(),
    "a lost chunk of offsets": lambda path: chunk_of(path, "offsets").unlink(),
    "a cut chunk": lambda path: chunk_of(path, "features").write_bytes(chunk_of(path, "features").read_bytes()[:50]),
    "a chunk of something else": lambda path: chunk_of(path, "features").write_bytes(b"hello"),
    "a chunk that leads elsewhere": link,
    "a folder that is empty": lambda path: (shutil.rmtree(path), path.mkdir()),
}


@pytest.mark.parametrize("ours", [False, True])
@pytest.mark.parametrize("what", ZARR)
def test_false_declarations_of_zarr(tmp_path, what, ours):
    from longtake.features.tools.convert import convert

    path = tmp_path / "s.zarr"
    raw.write(path, raw.example())
    if ours:
        path = tmp_path / "ours.zarr"
        convert(tmp_path / "s.zarr", path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ZARR[what](path)
        refused(path)


def values_of(store):
    """Name -> array, of all arrays of a store."""
    labels = store.labels
    found = {name: getattr(labels, name) for name in ("video_ids", "splits", "categories", "scores", "boundaries")}
    for stream in store.streams:
        found |= {name: getattr(stream, name)[:] for name in ("offsets", "features", "start_seconds", "end_seconds")}
        found |= {f"videos/{name}": column[:] for name, column in stream.videos.columns.items()}
    for text in store.texts:
        found |= {f"text/{name}": getattr(text, name) for name in ("texts", "groups", "features")}
    return {name: np.asarray(values) for name, values in found.items()}


def test_damage_anywhere_in_a_zarr_store(tmp_path, monkeypatch):
    """Flipped bits in any file: all values are still correct, or one of our errors is raised."""
    import random

    from longtake.features.tools.convert import convert
    from longtake.features.tools.inspect import verify

    # The same bits in every run: the name of a generation contains the process.
    monkeypatch.setattr("longtake.features.formats.zarr3.Writer.current", lambda: Writer(1234567, "host"))
    path = tmp_path / "s.zarr"
    raw.write(tmp_path / "raw.zarr", raw.with_stages(raw.example()))
    convert(tmp_path / "raw.zarr", path)
    with open_store(path) as store:
        expected = values_of(store)
    root, *others = sorted((p for p in path.rglob("*") if p.is_file()), key=lambda p: p != path / "zarr.json")
    chunks = [p for p in others if p.name != "zarr.json"]
    assert len(expected) > 20 and len(chunks) > 20
    rng = random.Random(0)
    noticed = 0
    # Readers find the metadata of each array in the root.
    for file in [root] * len(chunks) + chunks * 3 + rng.sample(others, 5):
        whole = file.read_bytes()
        damaged = bytearray(whole)
        damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
        file.write_bytes(damaged)
        try:
            with warnings.catch_warnings(), open_store(path) as store:
                warnings.simplefilter("ignore")
                found, faults = values_of(store), verify(store)
                noticed += bool(faults)
                wrong = [
                    name
                    for name in expected
                    if not np.array_equal(found[name], expected[name], equal_nan=expected[name].dtype.kind == "f")
                ]
                assert faults or not wrong, (file, wrong)
        except LongtakeError:
            noticed += 1
        file.write_bytes(whole)
    assert noticed > 3 * len(chunks)
    assert zarr.open_group(path, mode="r")
