"""Names of a model's files."""

import pytest

from longtake.train.engine.names import model_name, unit_name


@pytest.mark.parametrize(
    "arguments, name",
    [
        (("Ball", "total", 0, None), "Ball-total-seed0"),
        (("", "tes", 3, 2, True), "tes-seed3-fold2-control"),
        (("Men 10 m", "total", 1, None), "Men_10_m-total-seed1"),
    ],
)
def test_names(arguments, name):
    assert model_name(*arguments) == name


def test_names_stay_in_their_folder_and_differ():
    hostile = ["../../etc", "a/b", "a\\b", "a:b", "..", "."]
    names = [unit_name(category, "total") for category in hostile]
    assert len(set(names)) == len(names) and not any(set("/\\:") & set(name) for name in names)
