"""Streams and their tables of videos: reading rows and blocks, pandas tables, short reprs."""

import sys

import numpy as np
import pytest

from longtake.errors import LongtakeError
from longtake.features import stream as streams
from longtake.features.errors import InvalidFeatures, NotInStore
from longtake.features.store import open_store
from tests.features.fakes import header, make_store

LENGTHS = {"a": 3, "b": 0, "c": 5}


@pytest.fixture
def store(tmp_path):
    with open_store(make_store(tmp_path / "s.h5", LENGTHS)) as opened:
        yield opened


def test_videos_are_read_alone_and_in_blocks(store, monkeypatch):
    monkeypatch.setattr(streams, "BLOCK_BYTES", 4 * 3 * 4)
    stream = store.stream()
    for record, (features, starts, ends) in stream.each():
        alone = stream.read(record.video_id)
        assert repr(alone.record) == repr(record) and len(features) == LENGTHS[record.video_id]
        np.testing.assert_array_equal(alone.features, features)
        np.testing.assert_array_equal(alone.start_seconds, starts)
        np.testing.assert_array_equal(alone.end_seconds, ends)
    with pytest.raises(NotInStore, match="no video 'd'"):
        stream.read("d")
    assert stream.videos.find("c") == 2 and stream.rows() == {"a": 0, "b": 1, "c": 2}


def test_more_than_the_memory_is_refused():
    with pytest.raises(InvalidFeatures, match="memory"):
        streams.require_memory("features", 1 << 60)


def test_reprs_are_short(store):
    stream = store.stream()
    assert repr(stream) == f"Stream({stream.name}: 3 videos, 8 clips x 3 float32)"
    assert repr(store) == f"Store({str(store.path)!r}: d, {stream.name}, texts qgvl)"
    page = store._repr_html_()
    assert "<th>dataset</th><td>d</td>" in page and "8 clips x 3 float32" in page


def test_random_weights_are_named(tmp_path):
    with open_store(make_store(tmp_path / "r.h5", LENGTHS, head=header(weights_random=True))) as store:
        assert "RANDOM weights" in repr(store.stream()) and "RANDOM weights" in store._repr_html_()


def test_tables_for_pandas(store, monkeypatch):
    pytest.importorskip("pandas")
    videos = store.stream().to_pandas()
    assert videos["clips"].tolist() == [3, 0, 5] and videos["status"].tolist() == ["ok", "failed", "ok"]
    assert store.to_pandas()["score_total"].tolist() == [0.0, 1.0, 2.0]
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(LongtakeError, match="python -m pip install pandas"):
        store.to_pandas()
