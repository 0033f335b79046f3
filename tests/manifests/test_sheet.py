"""Tables as spreadsheets save them."""

import datetime
import os

import pytest

from longtake.errors import ManifestError
from longtake.manifests import sheet
from longtake.manifests.card import find_card
from longtake.manifests.table import read_manifest
from longtake.safe_text import csv_cell

LINES = [
    ["Video ID", "Split", "Score Total", ""],
    ["a", "Train", "3.5", ""],
    ["", "", "", ""],
    ["b", "testing", "4", ""],
    ["", "", "", ""],
]


def saved(path, separator, encoding="utf-8", begin="", lines=LINES):
    path.write_bytes((begin + "\r\n".join(separator.join(line) for line in lines)).encode(encoding))
    return path


def is_read(path):
    manifest = read_manifest(path)
    rows = [(row.video_id, row.split, row.scores) for row in manifest.rows]
    assert rows == [("a", "train", {"total": 3.5}), ("b", "test", {"total": 4.0})]
    return True


@pytest.mark.parametrize("separator", sheet.SEPARATORS)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_separators_blank_rows_and_columns_capitals_and_encodings(tmp_path, separator, encoding):
    assert is_read(saved(tmp_path / "t.csv", separator, encoding))


def test_excel_names_the_separator_itself(tmp_path):
    assert is_read(saved(tmp_path / "t.csv", ";", begin="sep=;\r\n"))


@pytest.mark.parametrize("separator, cell, number", [
    (";", "3,4", 3.4), (";", "3,456", 3.456), ("\t", "3,4", 3.4), (",", '"3,4"', 3.4), (",", "1e1", 10), (";", "-1,5", -1.5),
])  # fmt: skip
def test_decimal_commas(tmp_path, separator, cell, number):
    path = saved(tmp_path / "t.csv", separator, lines=[["video_id", "score"], ["a", cell]])
    assert read_manifest(path).rows[0].scores == {"total": number}


@pytest.mark.parametrize(
    "separator, cell", [(",", '"1,234"'), ("\t", "1,234"), (",", "1_000"), (",", "1 000"), (";", "1.234,5")]
)
def test_numbers_that_could_be_two_are_refused(tmp_path, separator, cell):
    path = saved(tmp_path / "t.csv", separator, lines=[["video_id", "score_total"], ["a", cell]])
    with pytest.raises(ManifestError, match="line 2: score_total .* is not a number; write it with a decimal point"):
        read_manifest(path)


def test_splits_and_scores_as_the_card_names_them(tmp_path):
    card = find_card("fisv")
    path = saved(tmp_path / "t.csv", ",", lines=[["video_id", "split", "score_TES"], ["1", "TRAINING", "20"]])
    (row,) = read_manifest(path, card).rows
    assert row.split == "train" and row.scores == {"tes": 20.0}
    path = saved(tmp_path / "t.csv", ",", lines=[["video_id", "split", "score"], ["1", "dev", "20"]])
    with pytest.raises(ManifestError, match="unknown column 'score'"):
        read_manifest(path, card)


def test_a_score_keeps_its_capitals_without_a_card(tmp_path):
    assert read_manifest(saved(tmp_path / "t.csv", ",", lines=[["video_id", "score_TES"], ["1", "2"]])).score_names == (
        "TES",
    )


def test_other_separators_are_named(tmp_path):
    with pytest.raises(ManifestError, match="separate columns by commas, semicolons or tabs"):
        read_manifest(saved(tmp_path / "t.csv", "|", lines=[["video_id", "score_total"], ["1", "2"]]))


def test_formulas_are_read_back(tmp_path):
    path = saved(tmp_path / "t.csv", ",", lines=[["video_id", "category"], ["a", csv_cell("=1+1")]])
    assert "'=" in path.read_text() and read_manifest(path).rows[0].category == "=1+1"


def workbook(path, lines):
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    for line in lines:
        book.active.append(line)
    book.save(path)
    return path


def test_a_workbook(tmp_path, monkeypatch):
    path = workbook(
        tmp_path / "t.xlsx",
        [["Video ID", "Split", "Score"], ["a", "Train", 3.5], [None, None, None], ["b", "testing", 4]],
    )
    assert is_read(path)
    monkeypatch.setattr(sheet, "MOST_BYTES", 100)
    with pytest.raises(ManifestError, match="unpacks to more than"):
        read_manifest(path)


def test_workbooks_that_cannot_be_read(tmp_path):
    dated = workbook(tmp_path / "t.xlsx", [["video_id", "category"], ["a", datetime.date(2026, 3, 4)]])
    with pytest.raises(ManifestError, match="cell B2: 2026-03-04 .* is a date"):
        read_manifest(dated)
    (tmp_path / "text.xlsx").write_text("video_id\na\n")
    os.mkfifo(tmp_path / "pipe.xlsx")
    for name, words in (
        ("text", "cannot read the workbook"),
        ("pipe", "not a regular file"),
        ("none", "no manifest at"),
    ):
        with pytest.raises(ManifestError, match=words):
            read_manifest(tmp_path / f"{name}.xlsx")


def test_a_pipe_is_refused(tmp_path):
    os.mkfifo(tmp_path / "m.csv")
    with pytest.raises(ManifestError, match="not a regular file but a named pipe"):
        read_manifest(tmp_path / "m.csv")
