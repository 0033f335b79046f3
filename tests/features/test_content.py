"""What a new store is made of: single videos, and rows of open stores."""

import numpy as np
import pytest

from longtake.features import content, stream
from longtake.features.content import Storage, StreamItem, StreamPlan, StreamRows, consecutive, plan_in_order
from longtake.features.errors import Damaged, InvalidFeatures
from longtake.features.formats import checksums
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


def test_a_stream_that_grows_keeps_the_places_of_finished_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr(content, "BLOCK_BYTES", 4 * 3 * 4)
    table = labels(list("abcdefg"))
    with open_store(make_store(tmp_path / "s.h5", {"e": 3, "f": 0, "c": 5, "g": 2, "b": 1})) as store:
        base = store.stream()
        held = {name: (base, row) for name, row in base.rows().items()}

        def order(dtype="float32", **new):
            items = {name: StreamItem.of(video(name, count)) for name, count in new.items()}
            plan = plan_in_order(base.header, np.dtype(dtype), held | items, table, base)
            ids = []
            for item in plan.items:
                is_rows = isinstance(item, StreamRows)
                ids += base.videos.video_ids[item.begin : item.end] if is_rows else [item.record.video_id]
            return "".join(ids)

        assert order() == "efcgb", "11 rows are two blocks of four and more"
        assert order(d=1, a=2) == "efcgbad" and order(e=3) == "efcgb"
        assert order(f=4) == "ecgbf", "a video that had failed is new"
        assert order(e=4) == "bcefg" and order(c=1) == "efbcg", "from another number of clips on, all rows move"
        assert order("float16") == "bcefg"
        assert plan_in_order(base.header, np.dtype("f4"), held, table).items[0].begin == 4
        monkeypatch.setattr(content, "BLOCK_BYTES", 12 * 3 * 4)
        assert order(a=2) == "abcefg", "less than a block is put in the order of the labels"


def test_scattered_videos_of_a_store_are_read_many_at_a_time(tmp_path, monkeypatch):
    ids, reads = list("abcdefgh"), []
    real = stream.Stream.read_clips
    with open_store(make_store(tmp_path / "s.h5", {name: 3 for name in ids})) as store:
        rows = store.stream()
        expected = [rows.read(row) for row in range(8)]
        monkeypatch.setattr(stream.Stream, "read_clips", lambda self, *at: reads.append(at) or real(self, *at))
        single = StreamItem.of(video("x", 1))
        mixed = consecutive(
            [(rows, 0), single, (rows, 2), (rows, 3), single, (rows, 5), single, (rows, 1), single, (rows, 7)]
        )
        found = [block for item in mixed if isinstance(item, StreamRows) for block in item.blocks()]
        assert reads == [(0, 24)]
        for row, block in zip((0, 2, 3, 5, 1, 7), found, strict=True):
            np.testing.assert_array_equal(block.features, expected[row].features)
            np.testing.assert_array_equal(block.start_seconds, expected[row].start_seconds)
            assert block.videos[0] == expected[row].record or repr(block.videos[0]) == repr(expected[row].record)
            assert block.videos[1] == expected[row].sha256


def test_a_damaged_neighbour_does_not_stop_scattered_videos(tmp_path, monkeypatch):
    monkeypatch.setattr(checksums, "BLOCK_BYTES", 1)
    path = make_store(tmp_path / "s.h5", {name: 300 for name in "abc"})
    with open_store(path) as store:
        wanted, changed = store.stream().read("a"), store.stream().read("b").features[5].tobytes()
    data = path.read_bytes()
    path.write_bytes(data.replace(changed, bytes(len(changed))))
    with open_store(path) as store:
        rows = store.stream()
        first, _, last = consecutive([(rows, 0), StreamItem.of(video("x", 1)), (rows, 1)])
        (block,) = first.blocks()
        np.testing.assert_array_equal(block.features, wanted.features)
        with pytest.raises(Damaged, match="b: its features do not match"):
            list(last.blocks())
