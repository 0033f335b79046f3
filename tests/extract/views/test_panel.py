"""The panel of an overlay: what changes with time, what is explained, and that it can be read on a phone."""

import numpy as np
import pytest

from longtake.extract.views.panel import BAND, BAR, LINES, NOW, Panel, Track, _end


def track(**other):
    values = {
        "title": "A total", "start_seconds": [0.0, 1.0], "end_seconds": [1.0, 2.0], "shares": [0.2, 0.8], "running": [3.0, 8.0],
        "whole": "whole: 8.00, expected 6.00 to 9.00", "limits": (0.0, 10.0), "interval": (6.0, 9.0),
    }  # fmt: skip
    return Track(**values | other)


def columns(picture, colour, rows=slice(None)):
    """Where the colour is, as shares of the width."""
    found = (picture[rows] == colour).all(-1).any(0)
    return np.flatnonzero(found) / picture.shape[1]


def test_the_score_moves_on_its_range():
    panel = Panel(640, [track(shares=[])])
    # Its range is below the first line of text, and above the legend, which has the same colours.
    rows = slice(640 // LINES * 5 // 4, 640 // LINES * 9 // 4)
    assert columns(panel.at(0.5), NOW, rows).mean() == pytest.approx(0.3, abs=0.02)
    assert columns(panel.at(1.5), NOW, rows).mean() == pytest.approx(0.8, abs=0.02)
    band = columns(panel.at(0.5), BAND, rows)
    assert (band.min(), band.max()) == pytest.approx((0.6, 0.9), abs=0.02)


def test_the_bar_of_the_moment_has_another_colour():
    panel = Panel(640, [track(running=[])])
    assert columns(panel.at(0.5), NOW).max() < 0.51 and columns(panel.at(1.5), NOW).min() > 0.49
    assert columns(panel.at(1.5), BAR).min() < 0.1


def test_letters_are_readable_at_320_pixels():
    for width in (320, 960, 1920):
        panel = Panel(width, [track()])
        assert panel._font.size * 320 / width >= 9.5
        assert panel.height % 2 == 0 and panel.height < width * 0.5


def test_long_texts_stay_inside():
    panel = Panel(320, [track(title="x" * 200, whole="y" * 200, warning="z" * 200)])
    assert panel.at(0.0).shape == (panel.height, 320, 3)
    assert panel._font.getlength(panel._fitted("x" * 200, 100)) <= 100


def test_without_a_score_and_without_limits():
    assert columns(Panel(320, [track(running=[], shares=[], whole="no score for this video")]).at(0.0), NOW).size == 0
    assert track(limits=None).scale == (3.0, 9.0) and track(limits=None, interval=None, running=[2.0]).scale == (
        1.5,
        2.5,
    )


def test_ends_of_a_range_have_few_digits():
    assert [_end(value) for value in (0.0, 25.0, 6.5, 5.27054, -3.204, 0.0042, 100.0)] == [
        "0",
        "25",
        "6.5",
        "5.27",
        "-3.2",
        "0.0042",
        "100",
    ]
