"""Times of clips."""

import numpy as np
import pytest

from longtake.features.errors import InvalidFeatures
from longtake.features.imports.seconds import spans

NOTHING = {"clip_length": None, "clip_stride": None, "fps": None}


@pytest.mark.parametrize(
    "values, known, expected",
    [
        ([[0, 2], [1, 3]], {}, [[0, 2], [1, 3]]),
        ([0, 1, 3], {}, [[0, 1], [1, 3], [3, 5]]),
        ([[0], [1], [3]], {}, [[0, 1], [1, 3], [3, 5]]),
        ([4], {}, [[4, 5]]),
        ([0, 1], {"clip_length": 50, "fps": 25}, [[0, 2], [1, 3]]),
        (np.arange(6) / 2, {"clip_length": 3, "clip_stride": 2}, [[0, 1.5], [1, 2.5]]),
    ],
)
def test_times(values, known, expected):
    found = spans(np.asarray(values), len(expected), **{**NOTHING, **known})
    np.testing.assert_allclose(found, expected)


@pytest.mark.parametrize(
    "values, num_clips, words",
    [
        ([0, 1], 3, "3 clips have times"),
        ([0, 1, 2, 3], 2, "times of frames"),
        ([1, 0], 2, "ascending"),
        ([0, np.nan], 2, "finite"),
        (["a", "b"], 2, "numbers expected"),
        ([[0, 1], [2, 2]], 2, "ends before it starts"),
    ],
)
def test_times_that_are_refused(values, num_clips, words):
    with pytest.raises(InvalidFeatures, match=words):
        spans(np.asarray(values), num_clips, **NOTHING)
