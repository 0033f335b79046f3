"""Tables in a new HDF5 file that take rows from the file that is replaced. tests/features/formats/test_grown.py has whole stores."""

from contextlib import closing

import h5py
import numpy as np
import pytest

from longtake.features.errors import NotAStore
from longtake.features.formats.disk import DiskFile
from longtake.features.formats.hdf5_tables import ChunkedTable, PlainTable, create_contiguous
from longtake.features.formats.tree import StoredArray

ROWS = np.arange(40, dtype="<f4").reshape(20, 2)


def old_file(path, **options):
    with h5py.File(path, "w") as file:
        file.create_dataset("features", data=ROWS, **options)
    return path


def keep(tmp_path, old, rows, *, replaced="old.h5", **options):
    """Whether a new file of 30 rows takes these, and its rows."""
    with (
        h5py.File(old, "r", locking=False) as source,
        closing(DiskFile(tmp_path / "new.h5", tmp_path / replaced)) as disk,
        h5py.File(disk, "w") as file,
    ):
        data, length = source["features"], options.pop("length", 30)
        stored = StoredArray("features", data.shape, data.dtype, data.__getitem__, origin=data)
        if options:
            table = ChunkedTable(file.create_dataset("features", (length, 2), "<f4", **options), disk, 4)
        else:
            table = PlainTable(create_contiguous(file, "features", (length, 2), np.dtype("<f4")), disk, 4)
        taken = table.keep(stored, rows)
        if taken and length == 30:
            table.write(slice(20, 30), np.ones((10, 2), "f4"))
    with h5py.File(tmp_path / "new.h5") as file:
        return taken, file["features"][:]


GZIP = {"chunks": (4, 2), "compression": "gzip", "compression_opts": 4, "shuffle": True}


@pytest.mark.parametrize("options", [{}, GZIP])
def test_rows_are_taken(tmp_path, options):
    old = old_file(tmp_path / "old.h5", **options)
    taken, found = keep(tmp_path, old, slice(4, 16), **options)
    assert taken
    np.testing.assert_array_equal(found[4:16], ROWS[4:16])
    np.testing.assert_array_equal(found[20:], 1)
    taken, found = keep(tmp_path, old, slice(0, 20), length=20, **options)
    assert taken
    np.testing.assert_array_equal(found, ROWS)


@pytest.mark.parametrize(
    ("before", "after"),
    [({}, GZIP), (GZIP, {}), (GZIP, {**GZIP, "compression_opts": 9}), (GZIP, {**GZIP, "chunks": (2, 2)})],
)
def test_other_encodings_are_not_taken(tmp_path, before, after):
    taken, found = keep(tmp_path, old_file(tmp_path / "old.h5", **before), slice(4, 16), **after)
    assert not taken and not found.any()


def test_other_files_are_not_taken(tmp_path):
    old = old_file(tmp_path / "old.h5")
    assert not keep(tmp_path, old, slice(4, 16), replaced="elsewhere.h5")[0]
    other = old_file(tmp_path / "other.h5")
    assert not keep(tmp_path, old, slice(4, 16), replaced=other.name)[0]


def test_a_file_that_is_cut_off(tmp_path):
    old = old_file(tmp_path / "old.h5")
    with h5py.File(old, "r", locking=False) as source, closing(DiskFile(tmp_path / "new.h5", old)) as disk:
        data = source["features"]
        place = data.id.get_offset()
        with h5py.File(disk, "w") as file:
            table = PlainTable(create_contiguous(file, "features", (30, 2), np.dtype("<f4")), disk, 4)
            old.write_bytes(old.read_bytes()[: place + 100])
            with pytest.raises(NotAStore, match="features is cut off"):
                table.keep(StoredArray("features", data.shape, data.dtype, data.__getitem__, origin=data), slice(0, 16))


def test_a_chunk_that_is_lost(tmp_path):
    """h5py raises a `MemoryError` without words."""
    with h5py.File(tmp_path / "old.h5", "w") as file:
        file.create_dataset("features", (20, 2), "<f4", **GZIP)
    with pytest.raises(NotAStore, match="features cannot be read"):
        keep(tmp_path, tmp_path / "old.h5", slice(0, 16), **GZIP)
