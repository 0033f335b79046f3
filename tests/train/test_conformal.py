"""Prediction intervals hold the true score as often as they say, on simulated scores."""

import numpy as np
import pytest

from longtake.train.conformal import Calibration, fewest


def test_intervals_cover_new_videos_at_the_nominal_rate():
    """Split conformal: over draws of the calibration videos too, the coverage is 0.9 to 0.9 + 1 / (n + 1)."""
    rng, held = np.random.default_rng(0), []
    for _ in range(400):
        errors = np.abs(rng.standard_t(3, 50))
        low, high = Calibration(errors, [""] * 50).interval({"": 10.0}, 0.9)
        held.append(np.mean(np.abs(rng.standard_t(3, 200)) <= high - 10) if low == pytest.approx(20 - high) else 0)
    assert 0.895 < np.mean(held) < 0.93


def test_intervals_of_folds_cover_new_videos():
    """CV+ with a straight line, refitted in each fold."""
    rng, held = np.random.default_rng(1), []
    for _ in range(300):
        x, folds = rng.uniform(0, 10, 61), np.arange(60) % 5
        y = 2 * x + rng.normal(size=61) * 3
        lines = {str(k): np.polyfit(x[:60][folds != k], y[:60][folds != k], 1) for k in range(5)}
        own = [np.polyval(lines[str(fold)], one) for fold, one in zip(folds, x)]
        found = Calibration(np.abs(y[:60] - own), [str(fold) for fold in folds])
        low, high = found.interval({fold: np.polyval(line, x[60]) for fold, line in lines.items()}, 0.9)
        held.append(low <= y[60] <= high)
    assert 0.85 < np.mean(held) < 0.96


def test_the_ends_are_those_of_the_definition():
    errors, folds = np.arange(1.0, 20), ["0", "1"] * 9 + ["0"]
    low, high = Calibration(errors, folds).interval({"0": 10, "1": 20}, 0.9)
    centres = np.array([10 if fold == "0" else 20 for fold in folds])
    assert high == np.sort(centres + errors)[17] and low == np.sort(centres - errors)[1], "18th and 2nd of 19"


def test_measured_coverage_leaves_out_the_video_or_its_fold():
    rng = np.random.default_rng(2)
    assert Calibration(np.abs(rng.normal(size=500)), [""] * 500).coverage(0.9) == pytest.approx(0.9, abs=0.005)
    errors = np.concatenate([np.ones(50), np.full(50, 9.0)])
    assert Calibration(errors, ["0"] * 50 + ["1"] * 50).coverage(0.9) == 0.5, "the second fold is unlike the first"


def test_too_few_videos_have_no_interval():
    assert (fewest(0.9), fewest(0.95), fewest(0.5)) == (9, 19, 1)
    assert not Calibration(np.ones(8), [""] * 8).enough(0.9) and Calibration(np.ones(9), [""] * 9).enough(0.9)
    assert np.isnan(Calibration(np.ones(9), [""] * 9).coverage(0.9))
