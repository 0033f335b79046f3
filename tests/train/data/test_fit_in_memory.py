"""Whether features fit in memory: the limit, and what streams take."""

import pytest

from longtake import memory
from longtake.features.errors import NotInStore
from longtake.features.store import open_store
from longtake.features.types import FeatureHeader
from longtake.train.data.dataset import FeatureSet
from longtake.train.data.fit_in_memory import memory_for_features, named_streams, stored_bytes
from longtake.train.errors import SettingsError
from tests.features.fakes import make_store
from tests.train.planted import planted_store, with_headers


def test_the_limit(monkeypatch):
    monkeypatch.setattr(memory, "free_memory", lambda: 1000)
    assert [memory_for_features(asked) for asked in (None, "2GB", 17, 0)] == [500, 2_000_000_000, 17, 0]
    with pytest.raises(SettingsError, match="memory for features: a size is a number with .* got 'much'"):
        memory_for_features("much")


def test_what_streams_take(tmp_path):
    with open_store(make_store(tmp_path / "s.h5", {"a": 3, "b": 0, "c": 4})) as store:
        assert named_streams(store, None, None, {}) == [None]
        assert stored_bytes(store, [None]) == 7 * 3 * 4
        with pytest.raises(NotInStore, match="no features of 'other'"):
            stored_bytes(store, ["fake", "other"])


@pytest.mark.parametrize("num_bytes, on_disk", [(0, False), (-1, True)])
def test_all_streams_together_decide(tmp_path, num_bytes, on_disk):
    source = planted_store(tmp_path / "one.h5", num_train=3, num_test=2, dim=4)
    headers = [
        FeatureHeader(name, "video", 4, "planted", None, False, 16, 16, "pad", 25.0) for name in ("seen", "heard")
    ]
    with open_store(with_headers(tmp_path / "two.h5", source, lambda _: headers)) as store:
        assert named_streams(store, None, "heard", {}) == ["seen@" + headers[0].recipe_id, "heard"]
        needed = stored_bytes(store, ["seen", "heard"])
        data = FeatureSet.load(store, None, "heard", memory=needed + num_bytes)
        assert data.on_disk == on_disk and data.num_bytes == needed
