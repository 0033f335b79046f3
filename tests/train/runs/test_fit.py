"""What `longtake.fit` refuses before it trains."""

import pytest

import longtake
from tests.train.planted import planted_store


def test_choices_that_no_run_can_have(tmp_path):
    store = planted_store(tmp_path / "s.h5", num_train=6, num_test=4)
    for choices, message in (
        ({"seeds": 0}, "seeds must be a whole number of 1 or more, got 0"),
        ({"categories": "A"}, r"categories must be a list of names, such as \['A'\]"),
        ({"settings": {"lr": 1}, "lr": 1}, "lr is given twice"),
    ):
        with pytest.raises(longtake.LongtakeError, match=message):
            longtake.fit(store, **choices)
