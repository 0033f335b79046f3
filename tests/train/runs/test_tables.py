"""Tables of results, as text and as CSV."""

import math
from dataclasses import fields

import pytest

from longtake.train.errors import DataError
from longtake.train.protocol.summary import Row
from longtake.train.runs.tables import COLUMNS, PREDICTIONS, Predicted, format_table, read_predictions

LINE = "v1,A,total,0,2,1,10,9.5"


def row(**given):
    made = {field.name: math.nan for field in fields(Row)} | {"category": "A", "score": "total"}
    return Row(**{**made, "num_train": 16, "num_test": 8, "spearman": 0.5, "mse": 2.0, **given})


def test_columns_without_a_number_are_left_out():
    text = format_table([row(), row(category="B", spearman_deviation=0.25)])
    assert "16/8" in text and "0.500 ± 0.250" in text and "2.00" in text
    assert "floor" not in text and "AIoU" not in text and "nan" not in text
    assert "mean of seeds" in format_table([row(ensemble_mse=1.0)])


def test_columns_of_a_page_have_names_in_one_line():
    (head, *_) = format_table([row(best_on_test=0.75)], "pipe").splitlines()
    assert "best_on_test (as published; optimistic)" in head


def test_lines_of_predictions(tmp_path):
    (tmp_path / PREDICTIONS).write_text(",".join(COLUMNS) + "\n" + LINE + "\n")
    assert list(read_predictions(tmp_path)) == [Predicted("v1", "A", "total", "2", True, 10.0, 9.5)]


@pytest.mark.parametrize(
    "damage",
    [LINE.replace("9.5", "nan"), LINE.replace("9.5", "many"), "v1,A,total", LINE.replace("v1", "v" * 200_000)],
)
def test_a_damaged_line_is_named(tmp_path, damage):
    (tmp_path / PREDICTIONS).write_text("\n".join([",".join(COLUMNS), LINE, damage]) + "\n")
    with pytest.raises(DataError, match=f"is not a finished run of .* in line [23] of its {PREDICTIONS}"):
        list(read_predictions(tmp_path))


def test_a_folder_without_predictions(tmp_path):
    with pytest.raises(DataError, match=f"no {PREDICTIONS} in it"):
        next(read_predictions(tmp_path))
