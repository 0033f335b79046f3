"""The options of a run are checked when they are made, and their defaults are in one place."""

from dataclasses import fields
from pathlib import Path

import pytest

from longtake.extract.cli import run
from longtake.extract.errors import ExtractError
from longtake.extract.plan.options import OptionValues, RunOptions


@pytest.mark.parametrize(
    "values, message",
    [
        ({"backbones": ()}, "at least one backbone"),
        ({"batch_size": 0}, "--batch-size takes 1 or more, got 0"),
        ({"stall_timeout": -1.0}, "--stall-timeout takes 0 to"),
        ({"stall_timeout": float("nan")}, "--stall-timeout takes 0 to"),
        ({"precision": "int8"}, "--precision takes float32, bfloat16 or auto"),
        ({"missing_sound": "noise"}, "--missing-sound takes fail or silence"),
        ({"shard": (4, 3)}, "I from 1 to N"),
        ({"memory": "much"}, "--memory: a size is a number with .* such as 2GB, got 'much'"),
        ({"memory": -1}, "--memory: a size is a number with .* got '-1'"),
        ({"cluster_options": Path("site.toml")}, "--cluster-options needs --cluster"),
    ],
)
def test_values_out_of_range(values, message):
    with pytest.raises(ExtractError, match=message):
        RunOptions(**values)


def test_the_command_has_the_same_defaults():
    """And an option for every field."""
    values = run.make_context("run", []).params
    for field in fields(RunOptions):
        assert values[field.name] == field.default, field.name


def test_a_whole_rate_from_python_is_that_of_the_command():
    """A recipe is a hash of its JSON: 25 would be another recipe than the 25.0 of `--fps 25`."""
    assert isinstance(RunOptions(fps=25).fps, float)


def test_the_python_call_knows_every_option():
    own = {"backbones", "weights", "workers"}
    assert {field.name for field in fields(RunOptions)} == set(OptionValues.__annotations__) | own
