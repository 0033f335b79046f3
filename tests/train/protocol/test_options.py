"""Options that no run can have."""

import pytest

from longtake.train.errors import SettingsError
from longtake.train.protocol.options import Options


@pytest.mark.parametrize("name, lowest", [("seeds", 1), ("folds", 0), ("evaluate_every", 1), ("first_seed", 0)])
def test_counts_have_a_lowest_value(name, lowest):
    assert getattr(Options(**{name: lowest}), name) == lowest
    for value in (lowest - 1, 1.5, "2"):
        with pytest.raises(SettingsError, match=f"{name} must be a whole number of {lowest} or more, got {value!r}"):
            Options(**{name: value})


@pytest.mark.parametrize("name", ["categories", "scores"])
def test_one_name_is_not_a_list_of_names(name):
    assert getattr(Options(**{name: ("A",)}), name) == ("A",)
    for value in ("A", (1,)):
        with pytest.raises(SettingsError, match=f"{name} must be a list of names"):
            Options(**{name: value})
