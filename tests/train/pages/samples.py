"""Routines for tests of pages, SIMULATED."""

from __future__ import annotations

from io import BytesIO

import numpy as np
from PIL import Image

from longtake.train.pages.facts import Interval, KnownRoutine, Picture, Routine, RoutineScore

NUM_CLIPS = 12


def known(number: int = 40, seed: int = 0) -> tuple[KnownRoutine, ...]:
    rng = np.random.default_rng(seed)
    judges = rng.uniform(8, 22, number)
    return tuple(KnownRoutine(f"k{n}", one, one + rng.normal()) for n, one in enumerate(judges.tolist()))


def score(name: str = "Ball total", predicted: float | None = 17.4, **other) -> RoutineScore:
    shares = np.random.default_rng(1).uniform(size=NUM_CLIPS) ** 4
    shares[5] = 3
    values = {
        "interval": Interval(15, 20, 0.9, 0.92),
        "limits": (0.0, 25.0),
        "known": known(),
        "grades": (0.05, 0.2, 0.45, 0.3),
        "shares": tuple(shares / shares.sum()),
        "by_grade": (tuple(shares / shares.sum()),) * 4,
    }
    return RoutineScore(name, predicted, **values | other)


def jpeg() -> bytes:
    file = BytesIO()
    Image.new("RGB", (160, 90), (90, 120, 160)).save(file, "JPEG")
    return file.getvalue()


def routine(name: str = "Anna", times: bool = True, **other) -> Routine:
    clips = tuple((float(n), float(n + 1)) for n in range(NUM_CLIPS)) if times else NUM_CLIPS
    values = {"scores": [score()], "clips": clips, "head": "gslm", "pictures": [Picture(5, jpeg())]}
    return Routine(name, **values | other)
