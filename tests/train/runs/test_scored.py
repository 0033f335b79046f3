"""predictions.csv as tests to be resampled."""

import math

import pytest

from longtake.train.runs.scored import group_to_draw, scored_tests
from longtake.train.runs.tables import Predicted


def row(video, *, category="A", seed=0, fold="", control=False, **groups):
    return Predicted(video, category, "total", fold, control, 1.0, 2.0, groups, seed)


def test_a_test_for_each_row_seed_and_fold():
    rows = [row("a", seed=s, fold=f) for s in (0, 1) for f in "01"] + [row("x", control=True), row("b", category="B")]
    tests = scored_tests(rows, {("A", "total"): 3.0}, lambda one: f"of {one.video_id}")
    assert [(one.key, one.seed, one.fold) for one in tests] == [(("A", "total"), s, f) for s in (0, 1) for f in "01"]
    assert all(list(one.video_ids) == ["a"] and one.label_range == 3 and list(one.drawn) == ["of a"] for one in tests)


def test_one_model_of_all_categories():
    (test,) = scored_tests([row("a"), row("b", category="B")], {("", "total"): math.nan})
    assert test.key == ("", "total") and list(test.video_ids) == ["a", "b"]


def test_pooled_folds():
    (test,) = scored_tests([row("a", fold="0"), row("b", fold="1")], {("A", "total"): 1.0}, pool=True)
    assert list(test.video_ids) == ["a", "b"] and test.fold == ""


@pytest.mark.parametrize("number, expected", [(8, "skater"), (7, "")])
def test_the_group_that_is_drawn_is_that_of_runs(number, expected):
    rows = [row(f"v{n}", skater=f"s{n % number}", seed=seed) for n in range(20) for seed in (0, 1)]
    assert group_to_draw(rows) == expected
    assert group_to_draw([]) == ""
