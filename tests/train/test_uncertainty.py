"""Intervals hold the true figure as often as they say, on simulated scores."""

import numpy as np
import pytest
from scipy.stats import bootstrap, spearmanr

from longtake.train.errors import DataError
from longtake.train.resampling import Draws, ScoredVideos
from longtake.train.uncertainty import ALL, few_note, intervals, paired, spreads

A, B = ("A", "total"), ("B", "total")
RHO = 0.7
TRUE_SPEARMAN = 6 / np.pi * np.arcsin(RHO / 2)
"""Of a normal distribution with the correlation RHO."""


def normal(rng, number):
    one = rng.normal(size=number)
    return np.stack([one, RHO * one + np.sqrt(1 - RHO**2) * rng.normal(size=number)])


def simulated(rng, number, num_groups=None, by_group=True, share=0.7):
    """Videos, or videos whose groups make so much of their variance."""
    names = np.arange(number) % (num_groups or number)
    pairs = normal(rng, number)
    if num_groups:
        pairs = np.sqrt(share) * normal(rng, num_groups)[:, names] + np.sqrt(1 - share) * pairs
    drawn = [f"g{name}" for name in names] if num_groups and by_group else ()
    return ScoredVideos(A, [f"v{index}" for index in range(number)], *pairs, 5.0, drawn=drawn)


def coverage(simulations, *what, figure="spearman", truth=TRUE_SPEARMAN, **how):
    rng, inside = np.random.default_rng(0), 0
    for _ in range(simulations):
        test = simulated(rng, *what, **how)
        interval = spreads([test], figure, Draws.of([test], 300))[A].interval
        inside += interval.low <= truth <= interval.high
    return inside / simulations


def test_intervals_cover_at_the_nominal_rate():
    """0.95, within three times the error of 300 simulations."""
    assert 0.912 < coverage(300, 40) < 0.988
    assert 0.912 < coverage(300, 40, figure="mse", truth=2 - 2 * RHO) < 0.988


def test_groups_drawn_whole_cover_and_their_videos_one_by_one_do_not():
    assert 0.88 < coverage(150, 100, 20) < 0.995
    assert coverage(60, 100, 20, by_group=False) < 0.85


@pytest.mark.slow
@pytest.mark.parametrize("what", [(12,), (30,), (100,), (100, 10), (200, 40)])
def test_intervals_cover_at_the_nominal_rate_in_many_simulations(what):
    assert 0.92 < coverage(1500, *what) < 0.97


def test_the_interval_is_that_of_scipy():
    test = simulated(np.random.default_rng(1), 60)
    found = spreads([test], "spearman", Draws.of([test], 8000))[A].interval
    other = bootstrap(
        (test.true, test.predicted), lambda a, b: spearmanr(a, b).statistic, paired=True, vectorized=False,
        n_resamples=1500, method="BCa", rng=np.random.default_rng(2),
    ).confidence_interval  # fmt: skip
    assert (found.low, found.high) == pytest.approx((other.low, other.high), abs=0.03)


def test_few_videos_or_groups_have_no_interval():
    test = simulated(np.random.default_rng(1), 7)
    assert not spreads([test])[A].interval and np.isfinite(spreads([test])[A].point)
    assert spreads([simulated(np.random.default_rng(1), 8)])[A].interval
    assert not spreads([simulated(np.random.default_rng(1), 70, 7)])[A].interval


def test_a_figure_that_is_undefined_or_never_differs_has_no_interval():
    names, line = [f"v{index}" for index in range(40)], np.arange(40.0)
    flat, nearly, perfect = np.ones(40), np.eye(1, 40)[0], line
    for predicted in (flat, nearly, perfect):
        assert not spreads([ScoredVideos(A, names, line, predicted)])[A].interval


def test_folds_that_are_all_ranked_perfectly_have_no_interval():
    """Though the averages of resamples differ: a fold of seven videos counts half a swap short of 1 otherwise than one of eight."""

    def folds(*signs):
        sizes, numbers = (8, 7), iter(range(15))
        for size, sign in zip(sizes, signs):
            line = np.arange(float(size))
            yield ScoredVideos(A, [f"v{next(numbers)}" for _ in range(size)], line, sign * line)

    for sign in (1, -1):
        found = spreads(list(folds(sign, sign)))[A]
        assert not found.interval and 0.98 < abs(found.point) < 1
    assert spreads(list(folds(1, -1)))[A].interval


def test_each_row_and_the_average_have_intervals_of_every_figure():
    rng = np.random.default_rng(1)
    one, other = simulated(rng, 40), simulated(rng, 40)
    tests = [one, ScoredVideos(B, [f"w{index}" for index in range(40)], other.true, other.predicted, 5.0)]
    found = intervals(tests)
    assert set(found) == {A, B, ALL}
    assert not found[A]["within_group"] and all(found[ALL][name] for name in ("spearman", "mse", "relative_l2"))
    width = {key: row["spearman"].high - row["spearman"].low for key, row in found.items()}
    assert width[ALL] < min(width[A], width[B])
    assert found == intervals(tests)


def methods(*noises, number=120):
    rng = np.random.default_rng(3)
    true = rng.uniform(0, 25, number)
    names = [f"v{index}" for index in range(number)]
    return {
        f"m{place}": [ScoredVideos(A, names, true, true + rng.normal(size=number) * noise, 25.0)]
        for place, noise in enumerate(noises)
    }


def test_ranks_are_as_sure_as_the_differences():
    found = paired(methods(2, 8.0, 8.2, 60), reference="m1")[A]
    assert [one.rank for one in found] in ([1, 2, 3, 4], [1, 3, 2, 4])
    assert [(one.rank_low, one.rank_high) for one in found] == [(1, 1), (2, 3), (2, 3), (4, 4)]
    first, second, third, _ = found
    assert first.difference_interval.low > 0 and first.p < 0.01
    assert third.difference_interval.low < 0 < third.difference_interval.high and third.p > 0.05
    assert second.difference == 0 and not second.difference_interval and second.p == 1


def test_the_smallest_error_is_the_best():
    found = paired(methods(2, 8), "mse")[A]
    assert [one.rank for one in found] == [1, 2] and found[1].difference > 0


def test_a_difference_of_paired_methods_is_surer_than_their_intervals():
    shared = methods(8)["m0"][0]
    near = ScoredVideos(A, shared.video_ids, shared.true, shared.predicted + 0.3 * np.sin(np.arange(120)), 25.0)
    one, other = paired({"one": [shared], "other": [near]}, reference="one")[A]
    assert other.difference_interval.high - other.difference_interval.low < (one.interval.high - one.interval.low) / 4


def test_methods_on_other_videos_are_refused():
    with pytest.raises(DataError, match="were not tested on the same videos"):
        paired({"a": methods(2)["m0"], "b": methods(2, number=100)["m0"]})


def test_few_test_videos_are_marked():
    assert few_note(12) == "12 test videos: too few to rank methods" and not few_note(30)
