"""Rows of tables. Whole imports are in test_mapped_tables.py."""

import sys
from pathlib import Path

import pytest

from longtake.features.errors import FeaturesError, InvalidFeatures
from longtake.features.imports.row_tables import array_of, column_names, split_of, table_files


def test_splits_by_the_names_of_files():
    names = {"train-00000-of-00002.parquet": "train", "validation/data-0.arrow": "val", "x/part-0.parquet": ""}
    assert {name: split_of(Path(name)) for name in names} == names


def test_without_pyarrow(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    (tmp_path / "a.parquet").write_bytes(b"PAR1")
    with pytest.raises(FeaturesError, match=r"python -m pip install 'longtake\[tables\]'"):
        column_names(tmp_path / "a.parquet")


def test_folders_of_two_kinds(tmp_path):
    for name in ("a.csv", "b.parquet", "cache-1.arrow"):
        (tmp_path / name).write_bytes(b"x")
    with pytest.raises(FeaturesError, match="holds .csv and .parquet"):
        table_files(tmp_path)


def test_numbers_keep_their_precision():
    assert array_of(Path("x"), 1, [[0.5, 0.25]]).dtype == "float32"
    assert array_of(Path("x"), 1, [[0.1, 0.25]]).dtype == "float64"
    with pytest.raises(InvalidFeatures, match="unequal lengths"):
        array_of(Path("x"), 1, [[[1.0], [1.0, 2.0]]])
