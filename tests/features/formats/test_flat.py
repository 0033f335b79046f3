"""A flat temporary copy of features."""

import os
import shutil

import numpy as np
import pytest

from longtake.features.errors import Damaged, InvalidFeatures
from longtake.features.formats import checksums
from longtake.features.formats.flat import FlatCopy, temporary_folder

ROWS = np.arange(1000, dtype=np.float16).reshape(250, 4)


@pytest.fixture
def copy(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("longtake.features.formats.flat.BLOCK_BYTES", 128)
    made = FlatCopy("s.zarr: stream", ROWS.shape, ROWS.dtype)
    for begin in range(0, 250, 60):
        made.append(ROWS[begin : begin + 60])
    return made


def test_rows_are_as_they_were_written(copy):
    array = copy.finish()
    for begin, end in ((0, 250), (17, 18), (3, 99), (249, 250), (5, 5)):
        np.testing.assert_array_equal(array[begin:end], ROWS[begin:end])
    assert array.dtype == np.float16


def test_it_has_no_name(copy, tmp_path):
    assert not list(tmp_path.iterdir())


def test_changed_bytes_are_an_error(copy):
    array = copy.finish()
    os.pwrite(copy._file.fileno(), b"\xff", 8 * 100)
    np.testing.assert_array_equal(array[120:130], ROWS[120:130])
    with pytest.raises(Damaged, match="temporary copy .* rows 96 to 112 do not match their checksum"):
        array[99:102]


def test_a_copy_that_is_cut_off_is_an_error(copy):
    array = copy.finish()
    os.ftruncate(copy._file.fileno(), 1000)
    with pytest.raises(checksums.NotAStore, match="cut off"):
        array[0:250]


def test_a_disk_without_room(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(100, 50, 50))
    with pytest.raises(InvalidFeatures, match="takes 0.0 MB, of which .* has 0.0 MB free: set TMPDIR"):
        FlatCopy("s.zarr: stream", ROWS.shape, ROWS.dtype)


def test_the_folder_of_temporary_files(monkeypatch, tmp_path):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    assert temporary_folder() == tmp_path
    monkeypatch.delenv("TMPDIR")
    assert temporary_folder().is_dir()
