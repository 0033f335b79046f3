"""A store is written in whole blocks of chunks, and features that do not fit their plan are refused."""

from types import SimpleNamespace

import numpy as np
import pytest

from longtake.features.content import StreamItem, StreamPlan
from longtake.features.errors import InvalidFeatures
from longtake.features.formats.tree_writer import _Blocks
from longtake.features.store import open_store, write_store
from tests.features.fakes import KINDS, header, labels, plan, video


@pytest.mark.parametrize("lengths", [[3, 0, 9, 1], [4, 4], [13], [1] * 13])
def test_rows_are_written_once_in_whole_blocks(lengths):
    written, buffer = [], np.zeros((13, 2))
    blocks = _Blocks(
        SimpleNamespace(block_rows=4, write=lambda place, part: written.append((place.start, part.copy())))
    )
    rows = np.arange(2.0 * sum(lengths)).reshape(-1, 2)
    begin = 0
    for length in lengths:
        buffer[:length] = rows[begin : begin + length]
        blocks.add(buffer[:length].copy() if length >= 4 else buffer[:length])
        begin += length
    blocks.finish()
    assert blocks.num_rows == len(rows)
    assert [start for start, _ in written] == list(range(0, len(rows), 4)), "chunks are not written twice"
    np.testing.assert_array_equal(np.concatenate([part for _, part in written]), rows)


@pytest.mark.parametrize("features", [{"dim": 4}, {"dtype": "float16"}])
def test_features_that_are_not_those_of_the_plan(tmp_path, features):
    wrong = video("a", 2, **{"dim": 3, **features})
    wrong_plan = StreamPlan(header(dim=3), np.dtype("float32"), [StreamItem(wrong.record, 2, lambda: wrong)])
    with pytest.raises(InvalidFeatures, match="fake: float32 features 3 wide expected, got"):
        write_store(tmp_path / "s.h5", dataset="d", card=None, labels=labels(["a"]), streams=[wrong_plan])
    assert not (tmp_path / "s.h5").exists()


@pytest.mark.parametrize("suffix", KINDS)
def test_a_stream_without_videos_can_be_read(tmp_path, suffix):
    """As a pull of one video leaves it, where a backbone has not seen that video."""
    streams = [plan(header(), []), plan(header("other"), [video("a", 2)])]
    write_store(tmp_path / f"s{suffix}", dataset="d", card=None, labels=labels(["a"]), streams=streams)
    with open_store(tmp_path / f"s{suffix}") as store:
        assert [len(stream.records) for stream in store.streams] == [0, 1]
        assert store.streams[0].start_seconds[0:0].dtype == np.float64
