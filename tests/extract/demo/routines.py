"""Routines for tests, rendered and decoded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from longtake.extract.demo.render import render_routine
from longtake.extract.demo.routine import Element, Routine


def make_routine(category: str = "Allegro", seconds: float = 4.0, falling: int | None = None, **changes) -> Routine:
    kinds = ("leap", "eights", "kicks", "spirals", "balance")
    elements = tuple(Element(kind, 1.0, index == falling) for index, kind in enumerate(kinds))
    values = dict(amplitude=0.8, smoothness=1.0, timing=1.0) | changes
    return Routine("r", category, "train", **values, elements=elements, nuisance_seed=11, duration_seconds=seconds)


def decode(path: Path) -> tuple[np.ndarray, np.ndarray, dict]:
    """Pictures `(frames, height, width, 3)` in RGB, samples `(samples,)`, and the properties of the streams."""
    av = pytest.importorskip("av")
    with av.open(str(path)) as container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        facts = {
            "video": (video.codec_context.name, video.width, video.height, float(video.average_rate)),
            "audio": (audio.codec_context.name, audio.rate, audio.channels),
            "video_seconds": float(video.duration * video.time_base),
            "audio_seconds": float(audio.duration * audio.time_base),
        }
        pictures, samples = [], []
        for frame in container.decode(video, audio):
            if isinstance(frame, av.VideoFrame):
                pictures.append(frame.to_ndarray(format="rgb24"))
            else:
                samples.append(frame.to_ndarray()[0])
    return np.stack(pictures), np.concatenate(samples), facts


def render(tmp_path: Path, routine: Routine) -> tuple[np.ndarray, np.ndarray, dict]:
    return decode(render_routine(routine, tmp_path / "routine.mp4"))


def moving(pictures: np.ndarray) -> np.ndarray:
    """Which pixels differ from the arena, `(frames, height, width)`."""
    return np.abs(pictures.astype(int) - np.median(pictures, axis=0)).max(axis=3) > 40


def ranks(values: list[float]) -> np.ndarray:
    return np.argsort(np.argsort(values))
