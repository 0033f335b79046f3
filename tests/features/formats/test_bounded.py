"""A chunk of a Zarr store that expands beyond its declared size is refused before the memory is taken."""

import gzip
import tracemalloc

import google_crc32c
import numcodecs
import numpy as np
import pytest
import zarr
from zarr.codecs import BloscCodec, GzipCodec, ZstdCodec

from longtake.features.content import Storage
from longtake.features.errors import NotAStore
from longtake.features.formats.bounded import READ_WITH, zstd_bytes
from longtake.features.store import open_store
from longtake.features.tools.convert import convert
from tests.features.fakes import header, make_store

MEGABYTES = 300
BOMB = bytes(MEGABYTES << 20)


def packed(name, content):
    if name == "gzip":
        return gzip.compress(content, 1)
    return {"zstd": numcodecs.Zstd(1), "blosc": numcodecs.Blosc("zstd", 1)}[name].encode(content)


@pytest.mark.parametrize("name", ["gzip", "zstd", "blosc"])
def test_a_bomb_is_refused_without_its_memory(tmp_path, name):
    codec = {"gzip": GzipCodec(), "zstd": ZstdCodec(), "blosc": BloscCodec()}[name]
    with zarr.config.set(READ_WITH):
        array = zarr.create_array(tmp_path / "a", shape=(8, 3), chunks=(4, 3), dtype="float32", compressors=[codec])
        array[...] = np.arange(24).reshape(8, 3)
        opened = zarr.open_array(tmp_path / "a", mode="r")
    np.testing.assert_array_equal(opened[...], np.arange(24).reshape(8, 3))
    chunk = next(path for path in (tmp_path / "a").rglob("*") if path.is_file() and path.name == "0")
    chunk.write_bytes(packed(name, BOMB))
    assert chunk.stat().st_size < 2 << 20
    tracemalloc.start()
    with pytest.raises(ValueError, match=r"expands to more than its declared shape \(4, 3\)"):
        opened[...]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20e6, f"{peak / 1e6:.0f} MB were taken"


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_a_store_with_a_bomb_says_so(tmp_path, compression):
    make_store(tmp_path / "a.h5", {"a": 40}, head=header(dim=8))
    convert(tmp_path / "a.h5", tmp_path / "a.zarr", storage=Storage(compression=compression))
    (chunk,) = (
        path
        for path in (tmp_path / "a.zarr").rglob("*")
        if "/features/c." in str(path) and path.is_file() and "streams" in str(path)
    )
    inner = packed(compression, bytes(64 << 20))
    # A shard of one chunk: the chunk, then where it is, and the checksum of that.
    index = np.array([0, len(inner)], "<u8").tobytes()
    chunk.write_bytes(inner + index + np.uint32(google_crc32c.value(index)).tobytes())
    with (
        open_store(tmp_path / "a.zarr") as store,
        pytest.raises(NotAStore, match="features cannot be read: a chunk expands to more"),
    ):
        store.stream().read("a")


@pytest.mark.parametrize("size", [0, 5, 255, 256, 300, 65_791, 65_792, 100_000, 1 << 20])
def test_the_stated_size_of_a_frame(size):
    frame = numcodecs.Zstd(1).encode(bytes(size)) if size else b""
    assert zstd_bytes(bytes(frame[:18])) == (size if size else -1)
    assert zstd_bytes(b"\x28\xb5\x2f\xfd\x00\x58" + bytes(9)) == -1, "a frame that does not state its size"


def test_other_users_of_zarr_keep_their_codecs(tmp_path):
    array = zarr.create_array(tmp_path / "a", shape=(4,), dtype="int8", compressors=[GzipCodec()])
    assert type(zarr.open_array(tmp_path / "a").metadata.codecs[-1]) is GzipCodec and array.shape == (4,)
