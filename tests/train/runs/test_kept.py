"""Predictions in a run's folder: what is read is what was written, and damage is said."""

import json
import math
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from longtake.train.errors import DataError
from longtake.train.runs.calibration import Bounds
from longtake.train.runs.kept import KEPT, keep_predictions, read_kept
from longtake.train.runs.prediction import Moment, Prediction, Timeline

ROOT = Path(__file__).resolve().parents[3]
NAN = math.nan
LINE = Timeline((0.0, 1.0), (1.0, 2.0), (0.25, 0.75), ((0.5, 0.5), (0.125, 0.875)), ())
FULL = Prediction(
    "a", "Ball", "total", 12.5, 0.25, 3, (0.2, 0.8), (Moment(1.0, 2.0, 1, 0.75),), LINE, False,
    bounds=Bounds(10.0, 15.0, 0.9, NAN), learnt_by=2, limits=(0.0, 25.0), judges=13.0,
)  # fmt: skip
BARE = Prediction("b", "", "total", NAN, NAN, 1, (), (), Timeline((NAN, NAN), (NAN, NAN), (), (), ()), True, abstained="too wide")  # fmt: skip


def test_what_is_read_is_what_was_written(tmp_path):
    path = keep_predictions(tmp_path, "gym", [FULL, BARE])
    assert path.name == KEPT and "NaN" not in path.read_text()
    kept = read_kept(tmp_path)
    assert kept.dataset == "gym" and [repr(asdict(one)) for one in kept.predictions] == [
        repr(asdict(one)) for one in (FULL, BARE)
    ]
    keep_predictions(tmp_path, "gym", [BARE])
    assert len(read_kept(tmp_path).predictions) == 1, "the later ones take the place of the earlier"


def changed(tmp_path, **changes):
    keep_predictions(tmp_path, "gym", [FULL])
    values = json.loads((tmp_path / KEPT).read_text())
    values["predictions"][0].update(changes)
    (tmp_path / KEPT).write_text(json.dumps(values))


def test_later_releases_may_say_more(tmp_path):
    changed(tmp_path, mood="good")
    assert read_kept(tmp_path).predictions == (replace(FULL, bounds=read_kept(tmp_path).predictions[0].bounds),)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"predicted": "12"}, "predicted must be"),
        ({"limits": [1.0]}, "limits of a must be two numbers"),
        ({"limits": [1.0, 2.0, 3.0]}, "limits of a must be two numbers"),
        ({"timeline": {**asdict(LINE), "end_seconds": [1.0]}}, "clips of a without a start or an end"),
        ({"moments": 3}, "moments must be"),
    ],
)
def test_damage_is_said(tmp_path, changes, message):
    changed(tmp_path, **changes)
    with pytest.raises(DataError, match=message):
        read_kept(tmp_path)


def test_nothing_was_kept(tmp_path):
    with pytest.raises(DataError, match="train predict --keep"):
        read_kept(tmp_path)


def test_no_torch():
    code = "import sys, longtake.train.runs.kept, longtake.train.runs.routine; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "False"
