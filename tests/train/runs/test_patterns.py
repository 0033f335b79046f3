"""Patterns of test videos, and the heads that they are from."""

from longtake.features.store import open_store
from longtake.train.runs.evaluate import load_run
from longtake.train.runs.patterns import own_categories, patterns_of


def test_patterns_are_those_of_the_videos_that_are_asked_for(small_lab):
    keys = [("A", "total"), ("C", "total")]
    with open_store(small_lab / "s.h5") as store:
        assert own_categories(small_lab / "gslm", store, keys) == {("A", "total"): "A"}
        head, config, maker = next(iter(load_run(small_lab / "gslm", store)))
        assert patterns_of(head, config, maker, ["A_012", "A_014"]).shape[:2] == (2, 4)
        assert patterns_of(head, config, maker, []) is None
