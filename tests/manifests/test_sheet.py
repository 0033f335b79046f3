"""Tables as spreadsheets save them."""

import datetime
import os
import zipfile

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
    (";", "3,4", 3.4), ("\t", "0,123", 0.123), (";", "3,456", 3.456), ("\t", "3,4", 3.4), (",", '"3,4"', 3.4), (",", "1e1", 10), (";", "-1,5", -1.5),
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


@pytest.mark.parametrize("text, comma, point", [
    ("video_id;score_total\na;1.234\nb;3,4", "'3,4' in line 3", "'1.234' in line 2"),
    ("video_id;score_total\na;1,234\nb;12.5", "'1,234' in line 2", "'12.5' in line 3"),
    ('video_id,score_total\na,"3,4"\nb,1.234', "'3,4' in line 2", "'1.234' in line 3"),
    ("video_id\tstart_seconds\tscore_total\na\t.5\t\nb\t\t9,5", "'9,5' in line 3", "'.5' in line 2"),
])  # fmt: skip
def test_commas_and_points_in_one_table_are_refused(tmp_path, text, comma, point):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(ManifestError, match=f"mixes decimal commas and points: {comma} and {point}; write all"):
        read_manifest(tmp_path / "t.csv")


@pytest.mark.parametrize("others, doubtful", [
    ("b;2.500", True), ("b;7", True), ("b;", True), ("b;12.5", False), ("b;0.125", False), ("b;-1.2345", False), ("b;1e3", True),
])  # fmt: skip
def test_points_of_a_table_with_semicolons_may_be_thousands(tmp_path, others, doubtful):
    (tmp_path / "t.csv").write_text(f"video_id;score_total\na;1.234\n{others}\n")
    if not doubtful:
        assert read_manifest(tmp_path / "t.csv").rows[0].scores == {"total": 1.234}
        return
    with pytest.raises(
        ManifestError, match="'1.234' in line 2 is 1234 where .* separate columns by semicolons, and 1.234 elsewhere"
    ) as caught:
        read_manifest(tmp_path / "t.csv")
    assert "\n" not in str(caught.value) and "or write 1.2340 or 1234" in str(caught.value)


@pytest.mark.parametrize("text, number", [("1.2340", 1.234), ("1234", 1234.0)])
def test_what_the_message_proposes_is_read(tmp_path, text, number):
    (tmp_path / "t.csv").write_text(f"video_id;score_total\na;{text}\n")
    assert read_manifest(tmp_path / "t.csv").rows[0].scores == {"total": number}


def test_texts_with_points_and_faulty_numbers_do_not_decide_the_decimal_mark(tmp_path):
    (tmp_path / "t.csv").write_text("video_id;path;category;score\na.b;1.5;2.5;3,4\n")
    assert read_manifest(tmp_path / "t.csv").rows[0].scores == {"total": 3.4}
    (tmp_path / "t.csv").write_text("video_id;score\na;3,4\nb;.\nc;1,234,567\n")
    with pytest.raises(
        ManifestError, match=r"2 faults:(?s:.*)'\.' is not a number(?s:.*)'1,234,567' is not a number; write"
    ):
        read_manifest(tmp_path / "t.csv")


def test_a_number_that_cannot_be_thousands_decides_for_its_table(tmp_path):
    path = saved(tmp_path / "t.csv", "\t", lines=[["video_id", "score"], ["a", "1,234"], ["b", "3,4"]])
    assert [row.scores["total"] for row in read_manifest(path).rows] == [1.234, 3.4]


@pytest.mark.parametrize("begin", ["", "sep=;\r"])
def test_line_ends_of_old_macs(tmp_path, begin):
    text = begin + 'Video ID;Category\ra;x\rb;"y\rz"\r'
    (tmp_path / "t.csv").write_bytes(text.encode())
    assert [(row.video_id, row.category) for row in read_manifest(tmp_path / "t.csv").rows] == [
        ("a", "x"),
        ("b", "y\rz"),
    ]
    (tmp_path / "t.csv").write_bytes((text + "c;x;x\r").encode())
    with pytest.raises(ManifestError, match=f"line {6 if begin else 5}: 3 fields where"):
        read_manifest(tmp_path / "t.csv")


@pytest.mark.parametrize("begin", ["", "sep=;\n", 'sep="\n', "sep=\r\n"])
@pytest.mark.parametrize("text", ["x" * 200_000, "video_id\n" + "x" * 200_000])
def test_cells_that_are_too_long(tmp_path, begin, text):
    (tmp_path / "t.csv").write_text(begin + text)
    with pytest.raises(ManifestError, match="cannot read the manifest .*: field larger than field limit") as caught:
        read_manifest(tmp_path / "t.csv")
    assert "\n" not in str(caught.value)


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


def test_escaped_texts_in_a_workbook_are_read_back(tmp_path):
    texts = ["=1+1", "-x", "'@x", "\tx", "plain", "'plain"]
    lines = [[f"v{n}", csv_cell(text)] for n, text in enumerate(texts)]
    path = workbook(tmp_path / "t.xlsx", [["video_id", "category"], *lines, [csv_cell("-id"), None]])
    rows = read_manifest(path).rows
    assert [row.category for row in rows] == [*texts, None] and rows[-1].video_id == "-id"


def with_saved_values(path, value, settings=b'fullCalcOnLoad="0"', kind=b""):
    """The workbook as a spreadsheet saves it: `value` for every formula, which is of the type `kind`."""
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in parts.items():
            content = content.replace(b'fullCalcOnLoad="1"', settings)
            for empty in (b"</f><v></v>", b"</f><v />", b"</f><v/>"):
                content = content.replace(empty, b"</f><v>" + value + b"</v>")
            archive.writestr(name, content.replace(b'r="B2"', b'r="B2"' + kind))


def test_formulas_in_a_workbook(tmp_path):
    lines = [["video_id", "score"], ["a", "=1+1"], ["b", 3.5]]
    path = workbook(tmp_path / "t.xlsx", lines)
    with pytest.raises(ManifestError, match="cell B2 is a formula whose value is not saved: open the workbook"):
        read_manifest(path)
    with_saved_values(path, b"2")
    assert [row.scores for row in read_manifest(path).rows] == [{"total": 2.0}, {"total": 3.5}]
    with_saved_values(workbook(path, lines), b"", kind=b' t="str"')
    assert [row.scores for row in read_manifest(path).rows] == [{}, {"total": 3.5}], "a formula may give an empty text"
    # XlsxWriter saves 0 and asks the spreadsheet to compute.
    with_saved_values(workbook(path, lines), b"0", settings=b'fullCalcOnLoad="1"')
    with pytest.raises(ManifestError, match="cell B2 is a formula whose value is not saved"):
        read_manifest(path)


def test_texts_and_numbers_in_one_workbook(tmp_path):
    path = workbook(tmp_path / "t.xlsx", [["video_id", "score"], ["a", "3,4"], ["b", 12]])
    assert [row.scores["total"] for row in read_manifest(path).rows] == [3.4, 12.0]
    workbook(path, [["video_id", "score"], ["a", "1,234"], ["b", 12.5]])
    with pytest.raises(ManifestError, match="'1,234' in line 2 and '12.5' in line 3"):
        read_manifest(path)


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


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32"])
def test_encodings_without_a_mark_are_named(tmp_path, encoding):
    with pytest.raises(
        ManifestError, match="t.csv holds zero bytes, as UTF-16 without its mark does: save it as CSV in UTF-8"
    ):
        read_manifest(saved(tmp_path / "t.csv", ",", encoding))


def test_a_binary_file_is_named_as_such(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"\x00\x01\xa6 moov" * 9)
    with pytest.raises(ManifestError, match="a binary file, and the manifest is text") as raised:
        read_manifest(tmp_path / "a.csv")
    assert "moov" not in str(raised.value)


@pytest.mark.parametrize("blank", ["\r\n", ",,,\r\n , ,,\r\n"])
def test_blank_rows_above_the_table(tmp_path, blank):
    assert is_read(saved(tmp_path / "t.csv", ",", begin=blank))
    with pytest.raises(ManifestError, match=r"t.csv is empty: the first line .* must name the columns"):
        read_manifest(saved(tmp_path / "t.csv", ",", begin=blank, lines=[]))


@pytest.mark.parametrize("name, numbers", [("", "01"), ("Unnamed: 0", "73")])
def test_numbers_of_rows_that_pandas_writes(tmp_path, name, numbers):
    lines = [[name, "video_id", "split", "score"], [numbers[0], "a", "train", "3.5"], [numbers[1], "b", "test", "4"]]
    assert is_read(saved(tmp_path / "t.csv", ",", lines=lines))


def test_other_columns_without_a_name_are_faults(tmp_path):
    lines = [["", "video_id"], ["7", "a"], ["7", "b"]]
    with pytest.raises(ManifestError, match="unknown column ''"):
        read_manifest(saved(tmp_path / "t.csv", ",", lines=lines))


def test_a_quote_that_is_not_closed_does_not_swallow_the_rows_below(tmp_path):
    lines = [["video_id", "score", "category"], ["a", "1", "x"], ["b", "2", '"y'], ["c", "3", "z"]]
    with pytest.raises(ManifestError, match="a cell that begins with a quote in line 3 has no quote at its end"):
        read_manifest(saved(tmp_path / "t.csv", ",", lines=lines))


def merged(path, lines, cells):
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.load_workbook(workbook(path, lines))
    book.active.merge_cells(cells)
    book.save(path)
    return path


def test_merged_cells_of_a_workbook(tmp_path):
    """Only the first of them has the value; labels of the others would be missing."""
    lines = [["video_id", "split", "score"], ["a", "train", 3.5], ["b", "train", 4]]
    with pytest.raises(ManifestError, match="cells B2:B3 are merged, so only the first of their rows has the value"):
        read_manifest(merged(tmp_path / "t.xlsx", lines, "B2:B3"))
    lines = [[None] * 4, [None, "video_id", "split", "score"], [None, "a", "train", 3.5], [None, "b", "test", 4]]
    assert is_read(merged(tmp_path / "t.xlsx", lines, "A1:D1")), "blanks above and to the left of the table"
