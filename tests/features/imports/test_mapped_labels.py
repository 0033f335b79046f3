"""Labels under other names."""

import pytest

from longtake.errors import LongtakeError
from longtake.features.errors import FeaturesError
from longtake.features.imports.mapped_labels import joined, parse_labels, read_renamed


def test_columns_of_other_names(tmp_path):
    table = tmp_path / "mine.csv"
    table.write_text("clip,fold,mark,notes\na1,train,3.5,x\na2,test,4.5,y\n")
    columns, files = parse_labels([str(table), "video_id=clip", "split=fold", "score=mark"])
    assert files == [table] and columns == {"video_id": "clip", "split": "fold", "score_total": "mark"}
    rows = read_renamed(table, columns, "mine", None).rows
    assert [(row.video_id, row.split, row.scores["total"]) for row in rows] == [
        ("a1", "train", 3.5),
        ("a2", "test", 4.5),
    ]
    with pytest.raises(FeaturesError, match="no column 'marks'.*did you mean mark"):
        read_renamed(table, {**columns, "score_total": "marks"}, "mine", None)
    with pytest.raises(LongtakeError, match="already on line"):
        joined([read_renamed(table, columns, "mine", None)] * 2)


@pytest.mark.parametrize(
    "text, message", [("1.234", "'1.234' in line 2 is 1234 where"), ("x", "score_total .* is not a number")]
)
def test_numbers_that_could_be_others_are_refused(tmp_path, text, message):
    table = tmp_path / "mine.csv"
    table.write_text(f"clip;fold;mark\na1;train;{text}\n")
    with pytest.raises(LongtakeError, match=message):
        read_renamed(table, {"video_id": "clip", "score_total": "mark"}, "mine", None)


def test_decimal_commas_are_read_as_in_manifests(tmp_path):
    table = tmp_path / "mine.csv"
    table.write_text("clip;fold;mark\n1,5;train;3,5\n")
    (row,) = read_renamed(table, {"video_id": "clip", "score_total": "mark"}, "mine", None).rows
    assert row.video_id == "1,5" and row.scores == {"total": 3.5}


def test_a_column_that_no_manifest_has():
    with pytest.raises(FeaturesError, match="no column 'splt' of a manifest; did you mean split"):
        parse_labels(["splt=x"])
