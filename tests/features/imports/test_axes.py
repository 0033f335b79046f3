"""Axes of arrays by a stated rule."""

import numpy as np
import pytest

from longtake.features.errors import FeaturesError, InvalidFeatures
from longtake.features.imports.axes import clips_of, look_transposed, parse_axes


def test_rules_are_done_in_their_order():
    array = np.arange(2 * 3 * 4 * 5, dtype=np.float32).reshape(2, 3, 4, 5)
    found = clips_of(array, parse_axes("max, feature,clip,mean"))
    np.testing.assert_array_equal(found, array.max(0).mean(2).T)
    assert found.dtype == np.float32


@pytest.mark.parametrize("text", ["", "clip", "clip,clip,feature", "feature,feature", "clip,feature,median"])
def test_rules_that_are_refused(text):
    with pytest.raises(FeaturesError, match="--axes names each axis"):
        parse_axes(text)


@pytest.mark.parametrize(
    "shape, axes, words",
    [
        ((3, 4, 5), None, "such as --axes mean,clip,feature"),
        ((1, 4, 5), None, "say --axes one,clip,feature"),
        ((4,), None, "say --axes feature"),
        ((3, 4), "mean,clip,feature", "has 2 axes"),
        ((3, 4, 5), "one,clip,feature", "axis 0 is not of length 1"),
        ((0, 4, 5), "mean,clip,feature", "no values"),
    ],
)
def test_arrays_that_do_not_fit(shape, axes, words):
    with pytest.raises(InvalidFeatures, match=words):
        clips_of(np.zeros(shape), axes and parse_axes(axes))


def test_what_seems_turned():
    assert look_transposed([(8, 3), (8, 4)], has_rule=True)
    assert look_transposed([(1024, 60), (1024, 60)], has_rule=False)
    assert not look_transposed([(1024, 60), (1024, 60)], has_rule=True)
    assert not look_transposed([(60, 1024), (60, 1024)], has_rule=False)
    assert not look_transposed([(60, 1024), (61, 1024)], has_rule=False)
    assert not look_transposed([], has_rule=False)
