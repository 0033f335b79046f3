"""What a new store is made of: single videos, and rows of open stores."""

import numpy as np
import pytest

from longtake.features import stream
from longtake.features.content import Storage, StreamItem, StreamPlan, StreamRows, consecutive
from longtake.features.errors import InvalidFeatures
from longtake.features.store import open_store, write_store
from tests.features.fakes import header, labels, make_store, video


def test_adjacent_rows_of_one_stream_become_one_copy(tmp_path):
    with open_store(make_store(tmp_path / "s.h5", {"a": 3, "b": 2, "c": 4})) as store:
        rows, single = store.stream(), StreamItem(video("d", 1).record, 1, lambda: video("d", 1))
        found = consecutive([(rows, 0), (rows, 1), single, (rows, 2), (rows, 0)])
        assert [item.counts for item in found] == [[3, 2], [1], [4], [3]]


def test_rows_are_copied_in_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr(stream, "BLOCK_BYTES", 4 * 3 * 4)
    with open_store(make_store(tmp_path / "s.h5", {"a": 6, "b": 2, "c": 2, "d": 5, "e": 1})) as store:
        rows = store.stream()
        blocks = list(StreamRows(rows, 0, 4).blocks())
        assert [len(block.features) for block in blocks] == [6, 4, 5]
        assert [block.videos.video_ids for block in blocks] == [("a",), ("b", "c"), ("d",)]
        copied = np.concatenate([block.features for block in blocks])
        np.testing.assert_array_equal(copied, rows.read_all()[:15])


def test_plans_that_do_not_match_their_videos(tmp_path):
    made = video("a", 3)
    item = StreamItem(made.record, 4, lambda: made)
    with pytest.raises(InvalidFeatures, match="a: 4 clips expected, got 3"):
        list(item.blocks())
    for plan in (
        StreamPlan(header(), np.dtype("float16"), [StreamItem(made.record, 3, lambda: made)]),
        StreamPlan(header(dim=5), np.dtype("float32"), [StreamItem(made.record, 3, lambda: made)]),
    ):
        with pytest.raises(InvalidFeatures, match="wide expected, got float32 of shape"):
            write_store(tmp_path / "s.h5", dataset="d", card=None, labels=labels(["a"]), streams=[plan])
    assert not (tmp_path / "s.h5").exists() and not list(tmp_path.glob(".*"))
    with pytest.raises(InvalidFeatures, match="chunk_rows must be 1 or more"):
        Storage(0)
