"""Settings of training that cannot be."""

import pytest

from longtake.train.engine.settings import TrainSettings
from longtake.train.errors import SettingsError


@pytest.mark.parametrize(
    "name, value, message",
    [
        ("optimizer", "lion", "optimizer takes one of sgd, adam, adamw, got 'lion'"),
        ("precision", "float16", "precision takes one of auto, float32, bfloat16, got 'float16'"),
        ("epochs", 0, "epochs must be 1 or more, got 0"),
        ("batch_size", 1, "batch_size must be 2 or more, got 1"),
        ("window", -1, "window must be 0 or more, got -1"),
        ("validation", 0.6, "validation takes a share from 0 to 0.5, got 0.6"),
        ("lr", 0.0, "lr must lie above 0 and below 100, got 0.0"),
        ("lr", float("nan"), "lr must lie above 0"),
        ("schedule", "linear", "schedule takes one of cosine, step, constant, got 'linear'"),
        ("schedule", "step", "schedule=step takes either milestones=EPOCH,EPOCH,... or step_epochs=N"),
        ("milestones", "30", "no other schedule takes them; got schedule=cosine, milestones='30'"),
        ("step_epochs", 30, "no other schedule takes them"),
        ("step_factor", 0.0, "step_factor takes a share above 0 and up to 1, got 0.0"),
    ],
)
def test_values_that_are_refused(name, value, message):
    with pytest.raises(SettingsError, match=message):
        TrainSettings(**{name: value})


@pytest.mark.parametrize("milestones", ["-100,-50", "30,", "thirty", "0", "1e3"])
def test_milestones_are_epochs(milestones):
    with pytest.raises(SettingsError, match="milestones takes epochs above 0 with commas between"):
        TrainSettings(schedule="step", milestones=milestones)


def test_the_schedule_is_not_part_of_the_id_of_runs_that_do_not_set_it():
    assert "schedule" not in repr(TrainSettings()) and "step" not in repr(TrainSettings())
    assert "milestones='3'" in repr(TrainSettings(schedule="step", milestones="3"))
