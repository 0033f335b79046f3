"""Facts of a store and the table of its videos."""

import numpy as np

from longtake.features.catalog.stores import BLOCK_VIDEOS, FAILED_CODE, MISSING_CODE, VideoTable, blocks, read_store
from longtake.features.catalog.walk import STORE, Found
from longtake.features.labels import Labels
from longtake.features.store import write_store
from tests.features.fakes import header, plan, video


def test_which_videos_lack_which_features(tmp_path):
    table = Labels(
        ("a", "b", "c"), ("train", "test", ""), ("A", "A", "B"), ("total",), np.array([[1.5], [np.nan], [0]])
    )
    streams = [plan(header("one"), [video("a", 2), video("b", 0)]), plan(header("two"), [video("a", 3), video("z", 1)])]
    write_store(tmp_path / "s.h5", dataset="d", card=None, labels=table, streams=streams)
    row, videos = read_store(Found("s.h5", tmp_path / "s.h5", STORE), 7)
    assert (row.videos, row.labelled, row.lacking) == (4, 3, 3), "z has features and no labels"
    by_name = {one.backbone: codes for one, codes in zip(row.streams, videos.streams)}
    assert videos.ids == ["a", "b", "c", "z"]
    assert by_name["one"] == [2, FAILED_CODE, MISSING_CODE, MISSING_CODE]
    assert by_name["two"] == [3, MISSING_CODE, MISSING_CODE, 1]
    assert [(one.ok, one.failed, one.missing) for one in row.streams if one.backbone == "one"] == [(1, 1, 2)]
    assert videos.scores == [["total", [1.5, None, 0.0, None]]], "a missing score is missing, never 0"
    assert [videos.category[0][code] for code in videos.category[1]] == ["A", "A", "B", ""]
    ((failed, _, stage, message),) = videos.failures
    assert (failed, stage, message) == (1, "decode", "X: br\u00f6ken")


def test_what_cannot_be_read_is_a_row(tmp_path):
    (tmp_path / "x.h5").write_text("no store")
    row, videos = read_store(Found("deep/x.h5", tmp_path / "x.h5", STORE), 0)
    assert videos is None and "x.h5 is not an HDF5 file" in row.fault and str(tmp_path) not in row.fault
    row, videos = read_store(Found("x.h5", tmp_path / "x.h5", STORE, "a link"), 0)
    assert (row.fault, videos) == ("a link", None)


def table_of(store, count):
    ids = [f"{store}-{number}" for number in range(count)]
    codes = [0] * count
    failures = [[count - 1, 0, "decode", "last"]] if count else []
    return VideoTable(store, 0, ids, [["A"], codes], [["x"], codes], [["s", [1.0] * count]], [["g", ["v"], codes]], [None] * count, [""] * count, [codes], failures, [["r"]])  # fmt: skip


def test_blocks_hold_every_video_once():
    made = list(blocks(iter([table_of(0, 3), table_of(1, 0), table_of(2, 2 * BLOCK_VIDEOS), table_of(3, 5)])))
    assert [sum(map(len, block)) for block in made] == [BLOCK_VIDEOS, BLOCK_VIDEOS, 8]
    pieces = [piece for block in made for piece in block]
    ids = [video_id for piece in pieces for video_id in piece.ids]
    assert len(ids) == len(set(ids)) == 2 * BLOCK_VIDEOS + 8
    for piece in pieces:
        assert piece.ids == [f"{piece.store}-{piece.first + at}" for at in range(len(piece))]
        assert all(piece.ids[row] == f"{piece.store}-{piece.first + row}" for row, *_ in piece.failures)
    assert sum(len(piece.failures) for piece in pieces) == 3
    assert [piece.recipes for piece in pieces if piece.first] == [[]] * 2, "with the first videos of a store alone"
