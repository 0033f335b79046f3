"""An overlay has the pictures of its video, and never replaces it."""

from __future__ import annotations

import pytest

from longtake.errors import LongtakeWarning
from longtake.extract.errors import (
    ExtractError,
    VideoTruncated,
)
from longtake.extract.views.overlay import draw_overlay
from longtake.extract.views.panel import Track
from tests.extract.media import PYAV, write_video


def test_an_overlay_never_replaces_its_video(tmp_path):
    path = write_video(tmp_path / "a.mp4", 30)
    before = path.read_bytes()
    (tmp_path / "link.mp4").symlink_to(path)
    for out in (path, tmp_path / "link.mp4"):
        with pytest.raises(ExtractError, match="would take the place of"):
            draw_overlay(path, out, [])
    assert path.read_bytes() == before


def test_an_overlay_that_fails_keeps_the_existing_file(tmp_path):
    path = write_video(tmp_path / "a.mkv", 200)
    path.write_bytes(path.read_bytes()[:-2000])
    (tmp_path / "out.mp4").write_text("an older overlay")
    with pytest.raises(VideoTruncated):
        draw_overlay(path, tmp_path / "out.mp4", [])
    assert (tmp_path / "out.mp4").read_text() == "an older overlay"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.mkv", "out.mp4"]


def test_an_overlay_has_the_frames_that_a_run_reads(cut_stream, tmp_path):
    draw_overlay(cut_stream, tmp_path / "drawn.mp4", [Track("score", [0.0], [2.0], [], [1.0], "whole: 1.00")])
    assert len(PYAV.probe(tmp_path / "drawn.mp4").timeline) == 50


def test_scaling_down_is_said(tmp_path, monkeypatch):
    path = write_video(tmp_path / "a.mp4", 5)
    monkeypatch.setattr("longtake.extract.views.overlay.MOST_PIXELS", 20)
    with pytest.warns(LongtakeWarning, match=r"pictures are scaled down from \d+ x \d+ to \d+ x 20"):
        draw_overlay(path, tmp_path / "o.mp4", [])
