"""Groups and arrays of a Zarr store, as they are written and read."""

import shutil

import numpy as np
import pytest
import zarr
from zarr.storage import LocalStore

from longtake.features.errors import NotAStore
from longtake.features.formats.tree import COLUMN_ROWS, PIECE_ROWS
from longtake.features.formats.zarr3_groups import Group, NewGroup, num_bytes_of


@pytest.fixture
def folder(tmp_path):
    zarr.create_group(LocalStore(tmp_path / "g"))
    return tmp_path / "g"


def written(folder, name, values):
    table = NewGroup(LocalStore(folder), "", folder).column(name, len(values), values.dtype, ("video",))
    table.write(slice(0, len(values)), values)


def read(folder):
    return Group(zarr.open_group(folder, mode="r"), folder)


def test_columns_come_back_and_their_text_ends_with_nul(folder):
    numbers, texts = np.arange(COLUMN_ROWS + 3) / 2, np.array([b"abc", b"d"] * PIECE_ROWS, "S4")
    written(folder, "numbers", numbers)
    written(folder, "texts", texts)
    found = read(folder).array("texts", "S", 1)
    assert np.array_equal(found[:], texts) and found.is_terminated
    assert np.array_equal(
        read(folder).array("numbers", "f", 1)[PIECE_ROWS - 1 : COLUMN_ROWS + 2], numbers[PIECE_ROWS - 1 : -1]
    )
    # A growing store keeps whole files of both.
    assert len(list((folder / "numbers").glob("c.*"))) == 2 and len(list((folder / "texts").glob("c.*"))) == 1


def test_what_is_not_there_or_of_another_kind_is_refused(folder):
    written(folder, "numbers", np.zeros(2))
    with pytest.raises(NotAStore, match="/other is missing"):
        read(folder).array("other", "f", 1)
    with pytest.raises(NotAStore, match="not a group"):
        read(folder).child("numbers")
    with pytest.raises(NotAStore, match="axes"):
        read(folder).array("numbers", "S", 1)


def test_a_reader_whose_files_are_removed_is_not_given_fill_values(folder):
    written(folder, "numbers", np.ones(2))
    array = read(folder).array("numbers", "f", 1)
    shutil.rmtree(folder)
    with pytest.raises(NotAStore, match="published again"):
        array[:]


def test_links_are_not_followed(folder):
    written(folder, "numbers", np.ones(2))
    assert num_bytes_of(folder) > 0
    (folder / "numbers" / "elsewhere").symlink_to("/etc/passwd")
    with pytest.raises(NotAStore, match="is a link"):
        num_bytes_of(folder)
