"""Figures of many resamples at once are those of each, computed one by one."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from longtake.train.metrics import fisher_mean, measure, spearman
from longtake.train.resampling import Draws, ScoredVideos, average

A, B = ("A", "total"), ("B", "total")


def scored(number, scores=0, key=A, first=0, **others):
    rng = np.random.default_rng(scores)
    true = rng.integers(0, 8, number).astype(float)
    predicted = np.round(true + rng.normal(size=number) * 2)
    return ScoredVideos(key, [f"v{first + index}" for index in range(number)], true, predicted, 7.0, **others)


def test_every_resample_has_the_figures_of_its_videos_with_ties():
    test = scored(25)
    draws = Draws.of([test], 50)
    found = {figure: draws.values([test], figure)[A] for figure in ("spearman", "mse", "relative_l2")}
    places = [draws.place[unit] for unit in test.units]
    assert found["spearman"].shape == (1 + 50 + 25,)
    for row, weights in enumerate(draws.weights[:, places]):
        true, predicted = (np.repeat(values, weights) for values in (test.true, test.predicted))
        assert found["spearman"][row] == pytest.approx(spearmanr(true, predicted).statistic, abs=1e-12)
        whole = measure(true, predicted, 7.0)
        assert found["mse"][row] == pytest.approx(whole.mse)
        assert found["relative_l2"][row] == pytest.approx(whole.relative_l2)


def test_draws_have_as_many_videos_as_the_sample_and_are_the_same_every_time():
    draws, again = Draws.of([scored(25)], 50), Draws.of([scored(25)], 50)
    assert (draws.weights[:51].sum(1) == 25).all() and (draws.weights[51:].sum(1) == 24).all()
    assert (draws.weights == again.weights).all()
    assert (draws.weights[1:] != Draws.of([scored(25)], 50, seed=1).weights[1:]).any()


def test_groups_are_drawn_whole():
    test = scored(12, drawn=["x", "x", "x", "y", "y", "z", "z", "z", "z", "", "", ""])
    draws = Draws.of([test], 200)
    weights = draws.weights[:, [draws.place[unit] for unit in test.units]]
    assert draws.num_units == {A: 6} and draws.grouped
    assert all((weights[:, index] == weights[:, 0]).all() for index in (1, 2))
    assert (weights[:, 3] != weights[:, 0]).any() and (weights[:, 9] != weights[:, 10]).any()


def test_rows_of_the_same_videos_are_drawn_together_and_others_separately():
    tes, pcs, other = (scored(10, key=k, first=f) for k, f in ((A, 0), (B, 0), (("C", "total"), 10)))
    draws = Draws.of([tes, pcs, other], 20)
    assert draws.of_key[A] == draws.of_key[B] != draws.of_key["C", "total"]
    of_other = draws.weights[1:21, [draws.place[unit] for unit in other.units]]
    assert (of_other.sum(1) == 10).all() and len(draws.stratum) == 20


def test_a_row_of_folds_and_seeds_has_the_average_that_the_table_has():
    tests = [scored(20, 2 * seed + fold, first=20 * fold, seed=seed) for seed in (0, 1) for fold in (0, 1)]
    rho = [spearman(test.true, test.predicted) for test in tests]
    expected = fisher_mean([fisher_mean(rho[:2]), fisher_mean(rho[2:])])
    assert Draws.of(tests, 5).values(tests, "spearman")[A][0] == pytest.approx(expected)
    errors = [np.mean((test.predicted - test.true) ** 2) for test in tests]
    assert Draws.of(tests, 5).values(tests, "mse")[A][0] == pytest.approx(np.mean(errors))


def test_the_average_over_rows_is_undefined_where_one_is():
    rows = [np.array([0.5, 0.5]), np.array([0.7, np.nan])]
    found = average(rows, "spearman", [10, 10])
    assert found[0] == pytest.approx(fisher_mean([0.5, 0.7])) and np.isnan(found[1])
    assert average(rows, "mse", [10, 10])[0] == pytest.approx(0.6)


def test_a_perfect_fold_does_not_make_the_average_perfect():
    line = np.arange(6.0)
    perfect = ScoredVideos(A, [f"p{index}" for index in range(6)], line, line)
    other = scored(20)
    assert Draws.of([perfect], 3).values([perfect], "spearman")[A][0] == 1
    expected = fisher_mean([1, spearman(other.true, other.predicted)], [6, 20])
    assert Draws.of([perfect, other], 3).values([perfect, other], "spearman")[A][0] == pytest.approx(expected)


def test_the_correlation_inside_groups_is_the_mean_weighted_by_size():
    """Groups of fewer than five videos are left out."""
    test = scored(24, inside=["x"] * 12 + ["y"] * 8 + ["z"] * 4)
    parts = [spearman(test.true[rows], test.predicted[rows]) for rows in (slice(12), slice(12, 20))]
    weighted = np.tanh(np.average(np.arctanh([np.average(parts, weights=[12, 8])])))
    assert Draws.of([test], 5).values([test], "within_group")[A][0] == pytest.approx(weighted)
    assert np.isnan(Draws.of([test], 5).values([scored(24)], "within_group")[A]).all()
