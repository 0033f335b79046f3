"""Prototypes from texts."""

import numpy as np
import pytest

from longtake.train.data.prompts import PrototypeSettings, build_prototypes, interpolate
from longtake.train.errors import DataError

RNG = np.random.default_rng(0)


def test_interpolated_scores():
    grades = RNG.normal(size=(6, 16)).astype(np.float32)
    scores = interpolate(grades, 21)
    for grade in range(6):
        np.testing.assert_allclose(scores[4 * grade], grades[grade], atol=1e-5)
    middle = (grades[0] + grades[1]) / 2
    expected = middle / np.linalg.norm(middle) * (np.linalg.norm(grades[0]) + np.linalg.norm(grades[1])) / 2
    np.testing.assert_allclose(scores[2], expected, atol=1e-5)


def test_every_nth_score_text():
    from tests.train.planted import SCORES, planted_texts

    text = planted_texts(np.random.default_rng(0))
    chosen = build_prototypes(text, PrototypeSettings(scores=6), ("grades", "scores"))
    np.testing.assert_array_equal(chosen.texts["scores"], text.features[0:SCORES:2])


def test_some_grades_of_many():
    from tests.train.planted import SCORES, planted_texts

    text = planted_texts(np.random.default_rng(0))
    for count, expected in ((2, [0, 3]), (3, [0, 2, 3]), (4, [0, 1, 2, 3]), (0, [0, 1, 2, 3])):
        chosen = build_prototypes(text, PrototypeSettings(grades=count), ("grades",))
        np.testing.assert_array_equal(chosen.texts["grades"], text.features[SCORES:][expected])
    with pytest.raises(DataError, match="has 4 texts in 'grades', not 6"):
        build_prototypes(text, PrototypeSettings(grades=6), ("grades",))
