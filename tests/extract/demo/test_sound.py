"""The music of a routine has its tempo."""

from __future__ import annotations

import numpy as np
import pytest

from longtake.extract.demo.routine import CATEGORIES
from tests.extract.demo.routines import make_routine, render


@pytest.mark.parametrize("category", CATEGORIES)
def test_beats_follow_the_tempo(tmp_path, category):
    routine = make_routine(category)
    _, samples, _ = render(tmp_path, routine)
    hop = 220
    windows = np.lib.stride_tricks.sliding_window_view(samples, 441)[::hop]
    spectra = np.abs(np.fft.rfft(windows * np.hanning(441), axis=1))
    rise = np.maximum(np.diff(np.log1p(20 * spectra[:, :4]), axis=0), 0).sum(axis=1)  # below 400 Hz: the drum
    beats = np.arange(0, routine.duration_seconds, 60 / CATEGORIES[category].bpm)[1:]
    found = []
    for _ in beats:
        peak = int(rise.argmax())
        found.append((peak * hop + 441) / 44100)
        rise[max(0, peak - 20) : peak + 20] = 0
    assert np.abs(np.sort(found) - beats).max() < 0.030
