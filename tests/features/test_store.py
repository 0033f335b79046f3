"""A store is read as it was written."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from longtake.features.errors import NotAStore, NotInStore
from longtake.features.store import check_store_name, open_store, write_store
from longtake.features.tools.inspect import diff, verify
from tests.features.fakes import KINDS, header, labels, plan, text_features, video

IDS = st.text("abcäöü日本 0123_-().", min_size=1, max_size=20).filter(lambda t: t == t.strip(" .") and t)


@pytest.mark.parametrize("suffix", KINDS)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    lengths=st.dictionaries(IDS, st.integers(0, 5), min_size=1, max_size=6),
    dtype=st.sampled_from(["float32", "float16"]),
    scores=st.lists(st.one_of(st.just(float("nan")), st.floats(-1e6, 1e6)), min_size=6, max_size=6),
)
def test_written_and_read_back(tmp_path, suffix, lengths, dtype, scores):
    path = tmp_path / f"wëird name{suffix}"
    ids = list(lengths)
    videos = [video(name, n, 3, i, dtype) for i, (name, n) in enumerate(lengths.items())]
    wide = [video(name, max(n, 1), 5, i) for i, (name, n) in enumerate(lengths.items())]
    streams = [plan(header(), videos, dtype), plan(header("other", 5), wide)]
    write_store(
        path, dataset="d", card=None, labels=labels(ids, scores[: len(ids)]), streams=streams, texts=[text_features()]
    )
    with open_store(path) as store:
        assert store.labels.equals(labels(ids, scores[: len(ids)]))
        for name, expected in (("fake", videos), ("other", wide)):
            stream = store.stream(name)
            # By their text, because nan is not equal to itself.
            assert list(map(repr, stream.records)) == [repr(v.record) for v in expected]
            for row, one in enumerate(expected):
                read = stream.read(row)
                assert read.features.dtype == np.dtype(dtype if name == "fake" else "float32")
                np.testing.assert_array_equal(read.features, one.features)
                np.testing.assert_array_equal(read.start_seconds, one.start_seconds)
            np.testing.assert_array_equal(stream.read_all(), np.concatenate([v.features for v in expected]))
        assert verify(store) == []
        assert store.text("qgvl").texts == ("a", "b")
        assert diff(store, store) == []


@pytest.mark.parametrize("suffix", KINDS)
def test_choosing_a_stream(tmp_path, suffix):
    path = tmp_path / f"s{suffix}"
    heads = [header(), header(clip_length=8)]
    streams = [plan(head, [video("a", 2)]) for head in heads]
    write_store(path, dataset="d", card=None, labels=labels(["a"]), streams=streams)
    with open_store(path) as store:
        assert store.stream(f"fake@{heads[1].recipe_id[:6]}").header == heads[1]
        with pytest.raises(NotInStore, match="several streams.*--backbone"):
            store.stream("fake")
        with pytest.raises(NotInStore, match="holds no features of 'vst'; it holds fake@"):
            store.stream("vst")
        with pytest.raises(NotInStore, match="extract text --dataset d"):
            store.text("qgvl")


def test_another_ending(tmp_path):
    with pytest.raises(NotAStore, match="must end in .h5"):
        open_store(tmp_path / "s.npy")


def test_a_name_that_leaves_no_room_for_temporary_files_is_refused_before_work(tmp_path):
    check_store_name(tmp_path / f"{'x' * 177}.h5")
    with pytest.raises(NotAStore, match="may have 180 bytes, so that names of temporary files fit, got 183"):
        check_store_name(tmp_path / ("\u00e9" * 90 + ".h5"))
