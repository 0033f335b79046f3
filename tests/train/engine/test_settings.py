"""Settings of training that cannot be."""

import pytest

from longtake.train.engine.settings import TrainSettings
from longtake.train.errors import SettingsError


@pytest.mark.parametrize(
    "name, value, message",
    [
        ("optimizer", "lion", "optimizer takes one of sgd, adam, adamw, got 'lion'"),
        ("precision", "float16", "precision takes one of float32, bfloat16, got 'float16'"),
        ("epochs", 0, "epochs must be 1 or more, got 0"),
        ("batch_size", 1, "batch_size must be 2 or more, got 1"),
        ("window", -1, "window must be 0 or more, got -1"),
        ("validation", 0.6, "validation takes a share from 0 to 0.5, got 0.6"),
        ("lr", 0.0, "lr must lie above 0 and below 100, got 0.0"),
        ("lr", float("nan"), "lr must lie above 0"),
    ],
)
def test_values_that_are_refused(name, value, message):
    with pytest.raises(SettingsError, match=message):
        TrainSettings(**{name: value})
