"""What the extract package does for this one."""

from importlib.metadata import EntryPoint

import pytest

from longtake.train import extras
from longtake.train.errors import TrainError
from longtake.train.extras import from_extract


def points(monkeypatch, *values):
    def entry_points(group, name):
        assert group == "longtake.extract"
        return [EntryPoint(name, value, group) for value in values]

    monkeypatch.setattr(extras, "entry_points", entry_points)


def test_an_entry_point_is_loaded(monkeypatch):
    points(monkeypatch, "math:sqrt")
    assert from_extract("sqrt", "a root")(9) == 3


@pytest.mark.parametrize(
    "values, message",
    [
        (
            ["no_such_package:f"],
            r"a root needs decoders and backbones: python -m pip install .*\(missing: no_such_package\)",
        ),
        ([], "a root needs an installed longtake with the extract extra"),
    ],
)
def test_what_is_not_installed_is_one_message(monkeypatch, values, message):
    points(monkeypatch, *values)
    with pytest.raises(TrainError, match=message):
        from_extract("sqrt", "a root")
