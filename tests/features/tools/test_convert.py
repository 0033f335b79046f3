"""Copies of stores in another form."""

import hashlib
import json

import h5py
import numpy as np
import pytest

from longtake.features.content import Storage
from longtake.features.errors import FeaturesError, InvalidFeatures, NotAStore
from longtake.features.store import open_store, write_store
from longtake.features.tools.convert import convert
from longtake.features.tools.inspect import verify
from longtake.features.tools.merge import merge
from tests.features import raw
from tests.features.fakes import KINDS, make_store, run, store_of


@pytest.mark.parametrize("source, target", [(a, b) for a in KINDS for b in KINDS])
@pytest.mark.parametrize("storage", [Storage(), Storage(3, "gzip"), Storage(1, "none")])
def test_converting_loses_nothing(tmp_path, source, target, storage):
    tree = raw.example()
    raw.write(tmp_path / f"a{source}", tree)
    done = convert(tmp_path / f"a{source}", tmp_path / f"b{target}", storage=storage)
    assert done.largest_change == 0
    tree["@"] |= {"chunk_rows": storage.chunk_rows, "compression": storage.compression}
    assert raw.same(raw.read(tmp_path / f"b{target}"), tree) == []


def test_narrower_numbers(tmp_path):
    one = raw.as_version_1(make_store(tmp_path / "1.h5", {"a": 50, "b": 0}))
    output = run("convert", one, tmp_path / "2.zarr", "--dtype", "float16")
    assert "largest change" in output
    with open_store(one) as wide, open_store(tmp_path / "2.zarr") as narrow:
        assert narrow.stream().features.dtype == np.float16 and verify(narrow) == []
        expected = wide.stream().read_all().astype(np.float16)
        np.testing.assert_array_equal(narrow.stream().read_all(), expected)
        assert json.loads(run("convert", one, tmp_path / "3.h5", "--dtype", "float16", "--json"))[
            "largest_change"
        ] == pytest.approx(float(np.abs(wide.stream().read_all() - expected).max()))
    with h5py.File(one, "r+") as file:
        stream = next(iter(file["streams"].values()))
        stream["features"][0, 0] = 1e6
        stream["videos/features_sha256"][0] = hashlib.sha256(stream["features"][:50].astype("<f4")).hexdigest().encode()
    with open_store(one) as store:
        assert verify(store) == []
    with pytest.raises(InvalidFeatures, match="a: values up to 1e\\+06 do not fit float16"):
        convert(one, tmp_path / "4.h5", dtype="float16")
    assert not (tmp_path / "4.h5").exists()


def test_a_conversion_that_goes_wrong_is_noticed(tmp_path, monkeypatch):
    """The disk returns other values than were written."""
    one = make_store(tmp_path / "1.h5", {"a": 50})
    real = write_store

    def spoiled(path, **content):
        real(path, **content)
        with h5py.File(path, "r+") as file:
            next(iter(file["streams"].values()))["features"][20, 1] += 1

    monkeypatch.setattr("longtake.features.tools.convert.write_store", spoiled)
    with pytest.raises(FeaturesError, match="does not hold what was written:\n.*fake@.* a: its features do not match"):
        convert(one, tmp_path / "2.h5")


def test_damage_is_not_copied(tmp_path):
    """No command writes a new store from features that do not match their checksum."""
    one = make_store(tmp_path / "1.h5", {"a": 50, "b": 9})
    with h5py.File(one, "r+") as file:
        next(iter(file["streams"].values()))["features"][20, 1] += 1
    copies = (
        lambda out: convert(one, out), lambda out: convert(one, out, dtype="float16"), lambda out: merge([one], out),
    )  # fmt: skip
    for copy in copies:
        with pytest.raises(NotAStore, match="1.h5: fake@.* a: its features do not match their checksum"):
            copy(tmp_path / "2.h5")
        assert not (tmp_path / "2.h5").exists()


@pytest.mark.parametrize("suffix", KINDS)
def test_chunks_are_no_larger_than_readers_take(tmp_path, monkeypatch, suffix):
    for module in ("tree_writer", "tree"):
        monkeypatch.setattr(f"longtake.features.formats.{module}.MAX_CHUNK_BYTES", 6 * 4 * 80)
    raw.write(tmp_path / "a.h5", raw.example())
    run("convert", tmp_path / "a.h5", tmp_path / f"b{suffix}", "--chunk-rows", 65536, "--compression", "gzip")
    with open_store(tmp_path / f"b{suffix}") as store:
        assert verify(store) == [] and store.storage.chunk_rows == 65536


@pytest.mark.parametrize("copy", [lambda source, out: merge([source], out), convert])
def test_a_compression_that_the_other_kind_does_not_have(tmp_path, copy):
    one = store_of(tmp_path / "1.h5", "abc")
    convert(one, tmp_path / "2.zarr", storage=Storage(3, "zstd"))
    for suffix, storage in ((".zarr", Storage(3, "zstd")), (".h5", Storage(3))):
        copy(tmp_path / "2.zarr", tmp_path / f"3{suffix}")
        with open_store(tmp_path / f"3{suffix}") as store:
            assert store.storage == storage and verify(store) == []


def test_numbers_too_small_for_a_narrower_type_are_counted(tmp_path):
    path = raw.as_version_1(make_store(tmp_path / "1.h5", {"a": 4}))
    with h5py.File(path, "r+") as file:
        stream = next(iter(file["streams"].values()))
        stream["features"][0, :] = [1e-9, 0, -1e-9]
        stream["videos/features_sha256"][0] = hashlib.sha256(stream["features"][:].astype("<f4")).hexdigest().encode()
    assert "2 values became 0" in run("convert", path, tmp_path / "2.h5", "--dtype", "float16")


@pytest.mark.parametrize("dtype", [None, "float16"])
@pytest.mark.parametrize("source, target", [(a, b) for a in KINDS for b in KINDS])
def test_damaged_videos_become_failures_if_asked(tmp_path, source, target, dtype):
    """The others are copied, and a later part replaces the failure."""
    lengths = {"a": 6, "b": 4, "c": 5, "none": 0}
    tree = raw.read(make_store(tmp_path / f"whole{source}", lengths))
    ((name, stream),) = tree["streams"].items()
    sealed = raw.sealed(tree)
    stream["features"][7, 0] += 1
    raw.write(tmp_path / f"s{source}", sealed, seal=False)
    more = ["--dtype", dtype] if dtype else []
    run("convert", tmp_path / f"s{source}", tmp_path / f"no{target}", *more, status=2)
    said = run("convert", tmp_path / f"s{source}", tmp_path / f"t{target}", "--drop-damaged", *more, status=1)
    assert f"damaged, now failed: {name} b" in said and said.count("now failed") == 1
    with open_store(tmp_path / f"whole{source}") as whole, open_store(tmp_path / f"t{target}") as copy:
        assert verify(copy) == []
        for video_id in "ac":
            expected = whole.stream().read(video_id).features.astype(dtype or "float32")
            np.testing.assert_array_equal(copy.stream().read(video_id).features, expected)
        record = copy.stream().read("b").record
        assert (record.status, record.error_stage, record.error_type) == ("failed", "store", "Damaged")
        assert "checksum" in record.error_message


def test_a_server_that_fails_is_no_damage(tmp_path):
    said = run("convert", "https://lab.example/s.zarr", tmp_path / "t.h5", "--drop-damaged", status=2)
    assert "are found on a disk only: copy the store there first" in said
