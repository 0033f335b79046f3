"""The music of the demo: a beat, an arpeggio, a tap where an element begins and a thud where a fall ends."""

from __future__ import annotations

import numpy as np

from longtake.extract.demo.routine import Routine

SAMPLE_RATE_HZ = 44100
# Semitones above the key's root, one chord per four beats.
CHORDS = {
    "Adagio": ((0, 3, 7, 12), (-4, 0, 3, 8), (-9, -5, 0, 3), (-2, 2, 5, 10)),
    "Allegro": ((0, 4, 7, 12), (-3, 0, 4, 9), (5, 9, 12, 17), (-5, -1, 2, 7)),
}
THUD_DELAY_SECONDS = 0.28
"""From the beginning of a fall until the body hits the floor."""


def play(routine: Routine) -> np.ndarray:
    """The sound of a routine, float32 `(samples,)` within -1..1, mono at 44.1 kHz."""
    generator = np.random.Generator(np.random.PCG64(np.random.SeedSequence((routine.nuisance_seed, 1))))
    root_hz = 220 * 2 ** (generator.integers(-3, 4) / 12)
    kick, hat, tap, thud = _kick(), _hat(generator), _tap(generator), _thud(generator)
    sound = np.zeros(round(routine.duration_seconds * SAMPLE_RATE_HZ))
    chords = CHORDS[routine.category]
    for beat, seconds in enumerate(routine.beats_seconds()):
        _add(sound, kick, seconds, 0.55 if beat % 4 else 0.7)
        _add(sound, hat, seconds + routine.beat_seconds / 2, 0.12)
        chord = chords[beat // 4 % len(chords)]
        for half in range(2):
            semitones = chord[(2 * beat + half) % 4]
            _add(sound, _pluck(root_hz * 2 ** (semitones / 12)), seconds + half * routine.beat_seconds / 2, 0.13)
    for seconds in routine.starts_seconds():
        _add(sound, tap, seconds, 0.3)
    for seconds in routine.falls_seconds():
        _add(sound, thud, seconds + THUD_DELAY_SECONDS, 0.9)
    return np.tanh(sound).astype(np.float32)


def _add(sound: np.ndarray, note: np.ndarray, seconds: float, gain: float) -> None:
    first = round(seconds * SAMPLE_RATE_HZ)
    if 0 <= first < len(sound):
        stop = min(first + len(note), len(sound))
        sound[first:stop] += gain * note[: stop - first]


def _clock(seconds: float) -> np.ndarray:
    return np.arange(round(seconds * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ


def _kick() -> np.ndarray:
    """A low drum: a sine that falls from 160 to 50 Hz, with a click at its start."""
    t = _clock(0.16)
    phase = 2 * np.pi * (50 * t + 110 * 0.03 * (1 - np.exp(-t / 0.03)))
    return np.sin(phase) * np.exp(-t / 0.05) + 0.4 * np.sin(2 * np.pi * 1800 * t) * np.exp(-t / 0.002)


def _hat(generator: np.random.Generator) -> np.ndarray:
    t = _clock(0.05)
    return np.diff(generator.uniform(-1, 1, len(t) + 1)) * np.exp(-t / 0.012)


def _tap(generator: np.random.Generator) -> np.ndarray:
    """A foot set down: 20 ms of noise around 700 Hz."""
    t = _clock(0.06)
    return (np.sin(2 * np.pi * 700 * t) + 0.5 * generator.uniform(-1, 1, len(t))) * np.exp(-t / 0.015)


def _thud(generator: np.random.Generator) -> np.ndarray:
    t = _clock(0.4)
    rumble = np.convolve(generator.uniform(-1, 1, len(t)), np.full(60, 1 / 12), mode="same")
    return (np.sin(2 * np.pi * 62 * t) + 0.8 * rumble) * np.exp(-t / 0.09)


def _pluck(hz: float) -> np.ndarray:
    t = _clock(0.45)
    # A few milliseconds of attack leave the beat's own onset the sharpest one.
    envelope = (1 - np.exp(-t / 0.006)) * np.exp(-t / 0.14)
    return envelope * (np.sin(2 * np.pi * hz * t) + 0.35 * np.sin(4 * np.pi * hz * t))
