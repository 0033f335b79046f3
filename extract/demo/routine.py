"""The demo dataset: simulated ribbon routines whose score is known because it is computed, not judged.

Everything here is SIMULATED: a drawn gymnast performs elements to synthesised music. Four hidden parameters decide
what is seen and heard, and the same four decide the score by the one rule of this dataset:

    score_total = 5 * amplitude + 3 * smoothness + 2 * timing - 1 * falls,   clipped to 0-10

`amplitude`, `smoothness` and `timing` are whole hundredths in 0-1, so the score is exact to 0.01.

- amplitude: how high legs and leaps go, how far the throw flies, how large the ribbon's figures are;
- smoothness: flowing motion (1) or motion in bursts, with trembling and a knotted ribbon (0);
- timing: each element begins on its beat (1) or up to 0.45 of a beat off it (0), seen and heard as a foot tap;
- falls: 0 to 3 times the gymnast drops to the floor for 1.2 s, with a thud.

The three qualities depend on a hidden skill (pairwise correlation near 0.6); falls are likelier with less skill. The order of elements,
the key of the music, colours and camera vary and do not influence the score.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

DURATION_SECONDS = 20.0
FPS = 25

KINDS = ("steps", "leap", "pirouette", "balance", "kicks", "spirals", "eights", "throw")
BEATS_PER_ELEMENT = 4
FALL_SECONDS = 1.2
FALL_AT = 0.35
"""Fraction of an element at which its fall begins; early enough for the fall to end within the element."""
LATEST_BEATS = 0.45


@dataclass(frozen=True)
class Category:
    """What all routines of one category have in common."""

    bpm: int
    intro_beats: int
    """Beats before the first element."""
    num_elements: int


CATEGORIES = {"Adagio": Category(84, 1, 6), "Allegro": Category(126, 2, 9)}


@dataclass(frozen=True)
class Element:
    """One element of a routine."""

    kind: str
    jitter: float
    """In -1..1. The element begins `jitter * LATEST_BEATS * (1 - timing)` beats too late (below 0: too early)."""
    falls: bool = False

    def __post_init__(self) -> None:
        if self.kind not in KINDS or not -1 <= self.jitter <= 1:
            raise ValueError(f"no element {self.kind!r} with jitter {self.jitter}; kinds are {', '.join(KINDS)}")


@dataclass(frozen=True)
class Routine:
    """One video before it is drawn: everything that decides its pixels, its samples and its score."""

    video_id: str
    category: str
    split: str
    amplitude: float
    smoothness: float
    timing: float
    elements: tuple[Element, ...]
    nuisance_seed: int
    """Decides colours, camera, musical key and the noise of trembling; independent of the score."""
    duration_seconds: float = DURATION_SECONDS
    """A shorter duration cuts off the end; the score is still that of the whole routine."""

    def __post_init__(self) -> None:
        if self.category not in CATEGORIES:
            raise ValueError(f"{self.video_id}: category {self.category!r} is not one of {', '.join(CATEGORIES)}")
        for name in ("amplitude", "smoothness", "timing"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{self.video_id}: {name} must be in 0-1, got {getattr(self, name)}")
        if not 0.2 <= self.duration_seconds <= DURATION_SECONDS:
            raise ValueError(f"{self.video_id}: a routine lasts 0.2 to 20 seconds, got {self.duration_seconds}")

    @property
    def num_falls(self) -> int:
        return sum(element.falls for element in self.elements)

    @property
    def score(self) -> float:
        """Judges' units, 0-10, a whole number of hundredths. The rule is in the docstring of this module."""
        quality = 5 * round(100 * self.amplitude) + 3 * round(100 * self.smoothness) + 2 * round(100 * self.timing)
        return min(max(quality - 100 * self.num_falls, 0), 1000) / 100

    @property
    def beat_seconds(self) -> float:
        return 60 / CATEGORIES[self.category].bpm

    def beats_seconds(self) -> np.ndarray:
        """When the music beats, `(beats,)`; the first beat is at 0."""
        return np.arange(0, self.duration_seconds, self.beat_seconds)

    def starts_seconds(self) -> tuple[float, ...]:
        """When each element begins: on its beat, or off it the more, the poorer `timing` is."""
        intro, slack = CATEGORIES[self.category].intro_beats, LATEST_BEATS * (1 - self.timing)
        return tuple(
            self.beat_seconds * (intro + BEATS_PER_ELEMENT * index + slack * element.jitter)
            for index, element in enumerate(self.elements)
        )

    def falls_seconds(self) -> tuple[float, ...]:
        """When each fall begins; the gymnast is up again `FALL_SECONDS` later."""
        into = FALL_AT * BEATS_PER_ELEMENT * self.beat_seconds
        return tuple(start + into for start, element in zip(self.starts_seconds(), self.elements) if element.falls)
