"""Tables of results, as text and as CSV."""

import math
from dataclasses import fields

import pytest

from longtake.train.errors import DataError
from longtake.train.protocol.summary import Row
from longtake.train.runs.tables import COLUMNS, PREDICTIONS, Predicted, format_table, notes, read_predictions
from longtake.train.uncertainty import Interval

LINE = "v1,A,total,0,2,1,10,9.5"


def row(**given):
    made = {field.name: math.nan for field in fields(Row) if field.type == "float"} | {
        "category": "A",
        "score": "total",
    }
    return Row(**{**made, "num_train": 16, "num_test": 8, "spearman": 0.5, "mse": 2.0, **given})


def test_columns_without_a_number_are_left_out():
    text = format_table([row(), row(category="B", spearman_deviation=0.25)])
    assert "16/8" in text and "0.500 ± 0.250" in text and "2.00" in text
    assert "floor" not in text and "AIoU" not in text and "nan" not in text
    assert "mean of seeds" in format_table([row(ensemble_mse=1.0)])


BOUNDS = {"spearman": Interval(0.25, 0.75), "mse": Interval(1.5, 12.25)}


def test_intervals_are_next_to_their_figures_or_below_where_lines_would_be_too_long(monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    table = [row(num_videos=40, intervals=BOUNDS, best_on_test=0.625)]
    text = format_table(table)
    assert "0.500 [0.25, 0.75]  2.00 [1.5, 12.2]" in text
    small = [row(mse=0.00123, intervals={"mse": Interval(0.00051, 0.0042)})]
    assert "0.0012 [0.00051, 0.0042]" in format_table(small)
    assert "[" not in format_table(table, with_intervals=False) and "0.500 \\[0.25" in format_table(table, "github")
    monkeypatch.setenv("COLUMNS", "60")
    assert format_table(table).splitlines()[3].split() == ["Spearman", "0.500", "[0.25,", "0.75]"]
    lines = format_table(table * 5).splitlines()
    assert any("0.500" in line and "[" not in line for line in lines) and any(
        "[0.25, 0.75]  [1.5, 12.2]" in line for line in lines
    )


def test_correlations_of_few_videos_are_marked_in_every_form():
    table = [row(num_videos=2, spearman=1.0, floor_spearman=1.0, mse=0.0)]
    for form in ("simple", "github", "html", "latex_booktabs"):
        assert format_table(table, form, with_intervals=False).count("1.000 (n=2: few)") == 2
    assert notes(table) == ["2 test videos: too few to rank methods."]
    many = [row(num_videos=30, intervals=BOUNDS)]
    assert "few" not in format_table(many)
    assert notes(many, "skater") == [
        "[low, high]: 95% interval over the groups of test videos by skater (BCa bootstrap)."
    ]


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


@pytest.mark.parametrize("text", ["", "video_id,score\n"])
def test_predictions_without_their_columns_are_damaged(tmp_path, text):
    (tmp_path / PREDICTIONS).write_text(text)
    with pytest.raises(DataError, match="no column .*predicted"):
        list(read_predictions(tmp_path))


def test_a_folder_without_predictions(tmp_path):
    with pytest.raises(DataError, match=f"no {PREDICTIONS} in it"):
        next(read_predictions(tmp_path))
