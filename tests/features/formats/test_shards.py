"""Shards that a new generation takes over. tests/features/formats/test_grown.py has whole stores."""

import os

import numpy as np
import pytest
import zarr

from longtake.features.formats.shards import StoredShards, keep_shards
from longtake.features.formats.tree import StoredArray

ROWS = np.arange(40, dtype="<f4").reshape(20, 2)


def array(store, generation, **changes):
    """20 rows in shards of 8, and where they are."""
    group = zarr.open_group(store / generation, mode="a")
    settings = dict(shape=(20, 2), dtype="<f4", chunks=(4, 2), shards=(8, 2), fill_value=np.nan, compressors=None)
    return group.create_array("features", **{**settings, **changes})


def stored(made, store):
    folder = store / "one" / "features"
    root = zarr.open_group(store, mode="r", use_consolidated=False)
    return StoredArray(
        "features", made.shape, made.dtype, made.__getitem__, origin=StoredShards(root["one/features"], folder)
    )


@pytest.fixture
def source(tmp_path):
    zarr.create_group(tmp_path / "s.zarr")
    made = array(tmp_path / "s.zarr", "one")
    made[:] = ROWS
    return stored(made, tmp_path / "s.zarr")


def test_shards_are_linked(tmp_path, source):
    store = tmp_path / "s.zarr"
    new = array(store, "two", shape=(30, 2))
    assert keep_shards(source, new, store / "two", slice(8, 16))
    np.testing.assert_array_equal(new[8:16], ROWS[8:16])
    old, linked = (store / name / "features" / "c" / "1" / "0" for name in ("one", "two"))
    assert os.path.samefile(old, linked) and len(list(linked.parent.parent.iterdir())) == 1
    assert not keep_shards(source, new, store / "two", slice(16, 18)), "a chunk would get rows that are not there"
    same = array(store, "three")
    assert keep_shards(source, same, store / "three", slice(0, 20))
    np.testing.assert_array_equal(same[:], ROWS)


def test_shards_in_folders_of_their_own_are_linked(tmp_path, source):
    """As stores of earlier releases have them."""
    new = array(tmp_path / "s.zarr", "two", chunk_key_encoding={"name": "default", "separator": "."})
    assert keep_shards(source, new, tmp_path / "s.zarr" / "two", slice(0, 20))
    np.testing.assert_array_equal(new[:], ROWS)
    old, linked = (tmp_path / "s.zarr" / name for name in ("one/features/c/1/0", "two/features/c.1.0"))
    assert os.path.samefile(old, linked)


def test_a_last_shard_gets_rows_in_a_copy(tmp_path, source):
    store = tmp_path / "s.zarr"
    new = array(store, "two", shape=(30, 2))
    assert keep_shards(source, new, store / "two", slice(8, 20))
    old, copied = (store / name / "features" / "c" / "2" / "0" for name in ("one", "two"))
    assert not os.path.samefile(old, copied)
    new[20:30] = 9
    np.testing.assert_array_equal(new[8:20], ROWS[8:])
    assert (new[20:] == 9).all()
    np.testing.assert_array_equal(source[:], ROWS, "the generation before is as it was")


@pytest.mark.parametrize(
    "changes", [{"shards": (16, 2)}, {"chunks": (2, 2)}, {"compressors": zarr.codecs.GzipCodec()}, {"fill_value": 0.0}]
)
def test_other_encodings_are_not_taken(tmp_path, source, changes):
    store = tmp_path / "s.zarr"
    assert not keep_shards(source, array(store, "two", **changes), store / "two", slice(0, 16))
    assert not (store / "two" / "features" / "c").exists()


def test_other_stores_and_lost_shards_are_not_taken(tmp_path, source):
    zarr.create_group(tmp_path / "t.zarr")
    assert not keep_shards(source, array(tmp_path / "t.zarr", "two"), tmp_path / "t.zarr" / "two", slice(0, 16))
    store = tmp_path / "s.zarr"
    (store / "one" / "features" / "c" / "1" / "0").unlink()
    assert not keep_shards(source, array(store, "two"), store / "two", slice(0, 16))
    assert not (store / "two" / "features" / "c").exists(), "nothing is taken if not all is"
    assert not keep_shards(ROWS, array(store, "three"), store / "three", slice(0, 16)), "rows in memory"
