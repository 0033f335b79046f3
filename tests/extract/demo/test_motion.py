"""Poor timing is seen and heard."""

from __future__ import annotations

import numpy as np
import pytest

from tests.extract.demo.routines import make_routine


def test_poor_timing_is_seen_and_heard():
    from longtake.extract.demo.motion import move
    from longtake.extract.demo.sound import play

    good, poor = make_routine(timing=1.0), make_routine(timing=0.0)
    beats = np.array(good.starts_seconds()) / good.beat_seconds
    assert np.allclose(beats, np.round(beats), atol=1e-9)
    delay_seconds = poor.starts_seconds()[0] - good.starts_seconds()[0]
    assert delay_seconds == pytest.approx(0.45 * good.beat_seconds)

    shift = round(25 * delay_seconds)
    on_time, late = move(good).joints[20:45], move(poor).joints
    assert np.abs(late[20 + shift : 45 + shift] - on_time).mean() < 0.35 * np.abs(late[20:45] - on_time).mean()

    extra = np.abs(play(poor) - play(good))  # only the taps differ
    for start in poor.starts_seconds()[:2]:
        at = round(start * 44100)
        assert extra[at : at + 882].max() > 0.05 > 100 * extra[at - 882 : at].max()
