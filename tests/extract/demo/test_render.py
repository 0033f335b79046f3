"""Encoded routines: streams and bytes."""

from __future__ import annotations

import sys
from dataclasses import replace

import pytest

from longtake.extract.demo.render import render_routine
from longtake.extract.demo.routine import CATEGORIES
from longtake.extract.errors import ExtractError
from tests.extract.demo.routines import make_routine, render


def test_missing_opencv_is_explained(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(ExtractError, match="pip install"):
        render_routine(make_routine(), tmp_path / "routine.mp4")
    assert not list(tmp_path.iterdir())


def test_the_same_routine_gives_the_same_bytes(tmp_path):
    routine = make_routine(seconds=1.5, smoothness=0.3)
    first, second = (render_routine(routine, tmp_path / name).read_bytes() for name in ("a.mp4", "b.mp4"))
    assert first == second
    other = render_routine(replace(routine, amplitude=0.2), tmp_path / "c.mp4").read_bytes()
    assert other != first


@pytest.mark.parametrize("category", CATEGORIES)
def test_streams_have_the_documented_format(tmp_path, category):
    pictures, samples, facts = render(tmp_path, make_routine(category, seconds=3.0))
    assert facts["video"] == ("h264", 320, 240, 25) and facts["audio"] == ("aac", 44100, 1)
    assert len(pictures) == 75
    assert abs(facts["video_seconds"] - 3.0) < 0.05 and abs(facts["audio_seconds"] - 3.0) < 0.05
    assert abs(len(samples) / 44100 - 3.0) < 0.05
