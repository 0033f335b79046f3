"""Metrics and their averages, against plain numpy."""

import numpy as np
import pytest
from scipy.stats import rankdata

from longtake.train.metrics import (
    Within,
    average,
    deviation,
    fisher_mean,
    join_seeds,
    measure,
    over_rows,
    spearman,
    within_groups,
)

RNG = np.random.default_rng(0)


def test_fisher_mean_is_that_of_the_published_tables():
    correlations = [0.826, 0.829, 0.871, 0.866]
    assert round(fisher_mean(correlations), 3) == 0.849
    assert round(float(np.mean(correlations)), 3) == 0.848
    assert np.isnan(fisher_mean([]))


def test_one_perfect_ranking_of_few_videos_does_not_decide():
    folds, six = [0.943, 0.943, 1.0, 1.0, 0.9], [6] * 5
    assert round(fisher_mean(folds), 3) == 1.0
    half_a_swap = 1 - 6 / (6**3 - 6)
    expected = np.tanh(np.mean(np.arctanh([0.943, 0.943, half_a_swap, half_a_swap, 0.9])))
    assert fisher_mean(folds, six) == pytest.approx(expected)
    assert fisher_mean([-rho for rho in folds], six) == pytest.approx(-expected)
    # The next ranking to a perfect one is on the other side of it.
    assert spearman(np.arange(6), np.array([1, 0, 2, 3, 4, 5])) < half_a_swap < 1
    assert fisher_mean([1.0], [6]) == fisher_mean([1.0, 1.0, np.nan], [6, 6, 6]) == 1.0
    assert fisher_mean([0.5, 1.0], [2, 2]) < 1
    assert np.isnan(spearman(np.arange(3), np.array([1, np.nan, 2]))) and np.isnan(fisher_mean([np.nan], [3]))
    assert fisher_mean([0.826, 0.829, 0.871], [50] * 3) == pytest.approx(fisher_mean([0.826, 0.829, 0.871]))


def test_the_deviation_of_an_average():
    """Two rows whose seeds are lucky in turn deviate, and their average does not."""
    rows = [{0: (0.5, 20.0), 1: (0.7, 20.0)}, {1: (0.5, 30.0), 0: (0.7, 30.0), 2: (0.9, 30.0)}]
    assert deviation(rows[0]) == pytest.approx(np.std([0.5, 0.7], ddof=1))
    joined = join_seeds(rows)
    assert joined.keys() == {0, 1} and joined[0] == (pytest.approx(fisher_mean([0.5, 0.7])), 25.0)
    assert deviation(joined) == pytest.approx(0) and np.isnan(deviation({0: (0.5, 20.0)}))
    assert average([(0.5, 20), (0.7, 40)]) == (pytest.approx(fisher_mean([0.5, 0.7])), 30.0)


def test_metrics():
    true, predicted = RNG.normal(size=30) * 5, RNG.normal(size=30) * 5
    a, b = rankdata(true) - 15.5, rankdata(predicted) - 15.5
    found = measure(true, predicted, label_range=20.0)
    assert found.spearman == pytest.approx((a @ b) / np.sqrt((a @ a) * (b @ b)), abs=1e-9)
    assert found.mse == pytest.approx(np.mean((true - predicted) ** 2))
    assert found.relative_l2 == pytest.approx(100 * np.mean((np.abs(true - predicted) / 20) ** 2))


def test_a_correlation_that_is_undefined_is_missing():
    """Of predictions or labels that are all equal: neither ranks anything."""
    values = np.arange(4.0)
    assert np.isnan(spearman(values, np.ones(4))) and np.isnan(spearman(np.ones(4), values))
    assert np.isnan(measure(values, np.ones(4), 3.0).spearman) and measure(values, np.ones(4), 3.0).mse == 1.5
    assert fisher_mean([np.nan, 0.5, 0.7], [4, 4, 4]) == pytest.approx(fisher_mean([0.5, 0.7]))
    assert np.isnan(over_rows([np.nan, 0.5], [4, 4])) and over_rows([0.5, 0.7], [4, 4]) == fisher_mean([0.5, 0.7])
    rows = [{0: (0.5, 4.0), 1: (np.nan, 4.0), 2: (0.7, 4.0)}, {0: (0.5, 4.0), 1: (0.6, 4.0), 2: (0.9, 4.0)}]
    assert join_seeds(rows).keys() == {0, 2} and deviation(rows[0]) == pytest.approx(np.std([0.5, 0.7], ddof=1))


def test_ranks_inside_groups():
    """Two groups of opposite ranks, one too small, one whose scores are equal, and videos of no group."""
    true = np.array([*range(5), *range(8), 1, 2, 3, 4, *[7.0] * 6, *range(6)])
    predicted = np.array([*range(5), *range(8, 0, -1), 4, 3, 2, 1, *range(6), *range(6)], float)
    groups = np.repeat(np.array(["a", "b", "small", "equal", ""], dtype=object), [5, 8, 4, 6, 6])
    expected = Within(pytest.approx(-3 / 13), 2, 13)
    assert within_groups(true, predicted, groups) == expected
    assert within_groups(true, 100 * (groups == "a") + predicted, groups) == expected, "which group is no help"
    nothing = within_groups(true[:4], predicted[:4], groups[:4])
    assert np.isnan(nothing.spearman) and (nothing.num_groups, nothing.num_videos) == (0, 0)
