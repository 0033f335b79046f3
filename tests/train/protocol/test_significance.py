"""Paired tests of two runs, on simulated scores."""

import numpy as np
import pytest

from longtake.train.errors import DataError
from longtake.train.metrics import fisher_mean, spearman
from longtake.train.protocol import significance
from longtake.train.protocol.significance import prepared

GROUP = ("A", "total", "")


def difference(run, against, ours, theirs):
    return significance.difference(run, against, prepared(ours), prepared(theirs))


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch):
    monkeypatch.setattr(significance, "RESAMPLES", 200)


def scored(true, sigma, seed, groups=(GROUP,)):
    rng = np.random.default_rng(seed)
    table = {}
    for group in groups:
        predicted = true + rng.normal(size=len(true)) * sigma
        table[group] = {f"v{number}": pair for number, pair in enumerate(zip(true.tolist(), predicted.tolist()))}
    return table


TRUE = np.random.default_rng(0).uniform(0, 25, 120)


def test_a_better_run_is_better_in_every_figure():
    groups = (GROUP, ("B", "total", ""))
    ours, theirs = scored(TRUE, 3, 1, groups), scored(TRUE, 12, 2, groups)
    found = difference("ours", "theirs", ours, theirs)
    assert (found.run, found.against, found.num_videos) == ("ours", "theirs", 240)
    assert 0 < found.spearman_low < found.spearman < found.spearman_high
    assert found.spearman_p == 1 / 200 and found.error_p < 1e-3 and found.mse_ratio < 0.5
    means = [fisher_mean(spearman(*np.array([*one[g].values()]).T) for g in groups) for one in (ours, theirs)]
    assert found.spearman == pytest.approx(means[0] - means[1], abs=1e-6)
    back = difference("theirs", "ours", theirs, ours)
    assert back.spearman == pytest.approx(-found.spearman) and back.mse_ratio > 2 and back.error_p < 1e-3


def test_a_run_does_not_differ_from_itself():
    ours = scored(TRUE, 3, 1)
    found = difference("a", "b", ours, ours)
    assert (found.spearman, found.mse_ratio, found.spearman_p, found.error_p) == (0, 1, 1, 1)


def test_the_test_is_the_same_in_every_run():
    ours, theirs = scored(TRUE, 6, 1), scored(TRUE, 6, 2)
    assert difference("a", "b", ours, theirs) == difference("a", "b", ours, theirs)


def test_runs_on_other_videos_are_refused():
    with pytest.raises(DataError, match="no test videos"):
        prepared({})
    with pytest.raises(DataError, match="a and b were not tested on the same videos, scores and folds"):
        difference("a", "b", scored(TRUE, 3, 1), scored(TRUE[:-1], 3, 1))
    with pytest.raises(DataError, match=r"other true scores of 1 videos \(v0\)"):
        difference("a", "b", scored(TRUE, 3, 1), scored(np.concatenate([TRUE[:1] + 1, TRUE[1:]]), 3, 1))


def test_a_correlation_that_is_undefined_has_no_difference():
    """Of one run's equal predictions. Two opposite runs differ in every resample by 2, so there is no interval."""
    names = [f"v{index}" for index in range(8)]
    good = {("", "total", ""): {name: (float(index), float(index)) for index, name in enumerate(names)}}
    flat = {("", "total", ""): {name: (float(index), 1.0) for index, name in enumerate(names)}}
    found = difference("flat", "good", flat, good)
    assert all(np.isnan(value) for value in (found.spearman, found.spearman_low, found.spearman_high, found.spearman_p))
    assert np.isfinite(found.error_p) and found.num_videos == 8
    reverse = {group: {name: (true, -true) for name, (true, _) in videos.items()} for group, videos in good.items()}
    again = difference("reverse", "good", reverse, good)
    assert again.spearman == pytest.approx(-2) and np.isnan(again.spearman_low) and again.spearman_p == 1 / 200


def test_too_few_videos_say_nothing_of_chance():
    ours, theirs = scored(TRUE[:7], 3, 1), scored(TRUE[:7], 12, 2)
    found = difference("a", "b", ours, theirs)
    assert np.isfinite(found.spearman) and np.isnan(found.spearman_low) and np.isnan(found.spearman_p)
