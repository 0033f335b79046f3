"""The table of videos as columns."""

from dataclasses import replace

import numpy as np
import pytest

from longtake.errors import LongtakeError
from longtake.features import columns
from longtake.features.columns import VideoTable, decode, encode
from longtake.features.errors import NotAStore, NotInStore
from longtake.features.types import FAILED, VideoRecord

RECORDS = (
    VideoRecord("ä", source_name="ä.mp4", duration_seconds=2.5, span_start_seconds=1.0),
    VideoRecord("b", status=FAILED, error_stage="decode"),
)


def test_text_is_kept_as_utf_8():
    assert decode(encode(["ä", "", "日本"])) == ("ä", "", "日本") and encode([]).dtype == "S1"
    with pytest.raises(NotAStore, match="not UTF-8"):
        decode(np.array([b"\xff"]))


def test_records_come_back_as_they_were():
    table = VideoTable.of(list(zip(RECORDS, ["aa", "bb"])))
    # By their repr, because nan is not equal to itself.
    assert repr(table.records) == repr(RECORDS) and repr(table.record(1)) == repr(RECORDS[1])
    assert table.video_ids == ("ä", "b") and table.statuses == ("ok", "failed")
    assert table.checksums == ("aa", "bb")
    assert table.to_columns()["error_stage"] == ["", "decode"]
    assert table.find("b") == 1
    with pytest.raises(NotInStore, match="no video 'c'"):
        table.find("c")


def test_a_part_of_a_table():
    part = VideoTable.of(list(zip(RECORDS, ["aa", "bb"]))).part(1, 2)
    assert part.video_ids == ("b",) and part.checksums == ("bb",) and len(part) == 1


def test_some_rows_are_read_in_blocks(monkeypatch):
    monkeypatch.setattr(columns, "BLOCK_ROWS", 4)
    records = [replace(RECORDS[0], video_id=f"v{row}", fps=float(row)) for row in range(11)]
    table = VideoTable.of([(record, f"sum {row}") for row, record in enumerate(records)])
    found = table.some([9, 2, 0, 10])
    assert {row: (repr(record), checksum) for row, (record, checksum) in found.items()} == {
        row: (repr(records[row]), f"sum {row}") for row in (0, 2, 9, 10)
    }
    assert table.some([]) == {} and table.rows["v9"] == 9
    assert decode(table.columns["video_id"]) == tuple(f"v{row}" for row in range(11))


def test_rows_of_some_videos_and_texts_in_blocks(monkeypatch):
    monkeypatch.setattr(columns, "BLOCK_ROWS", 4)
    ids = [f"v{row}" for row in range(10)] + ["ä" * 30]
    table = VideoTable.of([(replace(RECORDS[1], video_id=one), "") for one in ids])
    assert table.rows_of(["ä" * 30, "v9", "v0", "v", "v99", "ä" * 29]) == {"v0": 0, "v9": 9, "ä" * 30: 10}
    assert table.rows_of([]) == {} and decode(encode(ids)) == tuple(ids)


def test_equal_texts_are_one_object():
    first, second = decode(encode(["train", "train"]))
    assert first is second


def test_an_id_that_is_not_a_file_name_is_refused():
    table = VideoTable({"video_id": np.array([b"../a"])})
    with pytest.raises(LongtakeError, match="file names cannot hold|begins or ends with"):
        table.video_ids  # noqa: B018
    with pytest.raises(LongtakeError, match="file names cannot hold|begins or ends with"):
        table.rows_of(["b"])
    with pytest.raises(NotAStore, match="not UTF-8"):
        VideoTable({"video_id": np.array([b"b", b"\xff"])}).rows_of(["b"])
