"""The pictures of a routine show its amplitude, its smoothness and its falls."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from longtake.extract.demo.dataset import plan_demo
from longtake.extract.demo.routine import Routine
from longtake.extract.demo.scene import choose_look, draw_frames
from longtake.extract.demo.sound import play
from tests.extract.demo.routines import make_routine, moving, ranks


def drawn(routine: Routine) -> np.ndarray:
    return np.stack(list(draw_frames(routine)))


def test_amplitude_is_visible_across_routines():
    """With any order of elements, colours and camera: gymnast and ribbon together cover a larger area."""
    routines = plan_demo(seed=5, num_videos=12)
    extents = []
    for routine in routines:
        steady = replace(
            routine, duration_seconds=8.0, elements=tuple(replace(element, falls=False) for element in routine.elements)
        )
        seen = moving(drawn(steady)[::5, ::2, ::2])
        extents.append(float(np.mean(seen.any(axis=1).sum(axis=1) * seen.any(axis=2).sum(axis=1))))
    correlation = np.corrcoef(ranks([r.amplitude for r in routines]), ranks(extents))[0, 1]
    assert correlation > 0.5, list(zip([r.amplitude for r in routines], extents))


def test_roughness_is_visible():
    """Bursts make the change between pictures uneven."""
    unevenness = []
    for smoothness in (0.1, 0.5, 0.95):
        pictures = drawn(make_routine(smoothness=smoothness))
        change = np.abs(np.diff(pictures.astype(int), axis=0)).mean(axis=(1, 2, 3))[15:]
        unevenness.append(np.abs(np.diff(change)).mean() / change.mean())
    assert unevenness[0] > 1.2 * unevenness[1] > 1.2 * 1.2 * unevenness[2], unevenness


def test_a_fall_is_seen_and_heard():
    routine = make_routine(falling=0)
    (fall,) = routine.falls_seconds()
    pictures, samples, without = drawn(routine), play(routine), play(make_routine())
    near_leotard = np.abs(pictures.astype(int) - np.array(choose_look(routine).leotard)).max(axis=3) < 45
    heights = np.array([rows.mean() if len(rows := np.nonzero(picture)[0]) else np.nan for picture in near_leotard])
    lying, before = int(25 * (fall + 0.6)), int(25 * (fall - 0.3))
    assert heights[lying] > heights[before] + 25
    assert heights[int(25 * (fall + 1.3))] < heights[lying] - 25

    thud = round((fall + 0.28) * 44100)
    span = slice(thud, thud + 6000)
    assert np.square(samples[span]).mean() > 1.5 * np.square(without[span]).mean()
