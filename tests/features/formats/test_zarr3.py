"""Damaged and hostile Zarr stores are refused with one line."""

import json
import os
import shutil
import warnings

import numpy as np
import pytest
import zarr

from longtake.errors import LongtakeError
from longtake.features.store import open_store
from longtake.files import Writer
from tests.features import raw
from tests.features.formats.hostile import HUGE, refused


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
    """The first, in a folder of its own or not."""
    found = [
        p for p in (*path.rglob(f"{name}/c.*"), *path.rglob(f"{name}/c/**/*")) if p.is_file() and "streams" in str(p)
    ]
    return found[0]


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


def test_a_generation_that_is_a_link_or_holds_a_pipe(tmp_path):
    """A link would lead a reader out of the store, and a pipe would keep it waiting forever."""
    for number, change in enumerate(("link", "pipe", "root")):
        path = tmp_path / f"{number}.zarr"
        raw.write(path, raw.example())
        if change == "link":
            (path / "any name").rename(tmp_path / "elsewhere")
            (path / "any name").symlink_to(tmp_path / "elsewhere")
        else:
            file = path / "zarr.json" if change == "root" else chunk_of(path, "features")
            file.unlink()
            os.mkfifo(file)
        refused(path, "is a link" if change == "link" else "not a regular file but a named pipe")
