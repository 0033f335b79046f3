"""Windowing in pure functions: which frames are sampled, which of them make a clip, and what happens at the end.

Nothing here opens a file: the same timeline gives the same clips on every machine.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from longtake.extract.preprocessing import ClipRule

_EPSILON_SECONDS = 1e-6
"""Tolerance for rounded time stamps, far below the time between two frames."""


@dataclass(frozen=True)
class Timeline:
    """When each frame of a video is shown."""

    seconds: np.ndarray
    """float64 `(frames,)`, strictly ascending. Second 0 is the start of the file, as for players and `ffmpeg -ss`; pictures may begin
    later."""
    end_seconds: float
    """When the last frame ends."""

    def __post_init__(self) -> None:
        if self.seconds.ndim != 1 or (np.diff(self.seconds) <= 0).any():
            raise ValueError("frame times must be one row that ascends")
        if len(self.seconds) and self.end_seconds <= self.seconds[-1]:
            raise ValueError(f"the timeline ends at {self.end_seconds:g} s, before its last frame")

    def __len__(self) -> int:
        return len(self.seconds)

    @property
    def fps(self) -> float:
        """Average frames per second; nan for an empty timeline."""
        duration = self.end_seconds - (self.seconds[0] if len(self) else 0.0)
        return len(self) / duration if duration > 0 else float("nan")

    def shown_at(self, seconds: np.ndarray) -> np.ndarray:
        """Index of the frame shown at each moment; the first one before the beginning, the last one after the end."""
        return np.maximum(np.searchsorted(self.seconds, seconds + _EPSILON_SECONDS, side="right") - 1, 0)


@dataclass(frozen=True)
class Clip:
    """One window of a video: `[start_seconds, end_seconds)`."""

    index: int
    start_seconds: float
    end_seconds: float
    frames: tuple[int, ...]
    """Frames of the file, counted from 0 in the order in which they are shown; a padded clip repeats the last."""

    def __post_init__(self) -> None:
        if not self.frames:
            raise ValueError(f"clip {self.index} covers no frame")
        if not 0 <= self.start_seconds < self.end_seconds:
            raise ValueError(f"clip {self.index} is [{self.start_seconds:g}, {self.end_seconds:g}) seconds")


def sample_frames(
    timeline: Timeline, fps: float | None, start_seconds: float | None = None, end_seconds: float | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Frame indices `(samples,)` and the times `(samples + 1,)` at which they begin and end.

    With `fps` None every frame of the span is a sample. Otherwise the frame shown every `1 / fps` seconds is a sample, at any rate of
    the file, constant or variable.
    """
    first = float(timeline.seconds[0]) if len(timeline) else 0.0
    begin = first if start_seconds is None else max(start_seconds, first)
    end = timeline.end_seconds if end_seconds is None else min(end_seconds, timeline.end_seconds)
    if not len(timeline) or begin >= end - _EPSILON_SECONDS:
        return np.zeros(0, int), np.zeros(1)
    if fps is None:
        inside = (timeline.seconds >= begin - _EPSILON_SECONDS) & (timeline.seconds < end - _EPSILON_SECONDS)
        indices = np.flatnonzero(inside)
        return indices, np.append(timeline.seconds[indices], end)
    num_samples = int(np.ceil((end - begin) * fps - _EPSILON_SECONDS * fps))
    times = begin + np.arange(num_samples) / fps
    return timeline.shown_at(times), np.append(times, min(begin + num_samples / fps, end))


def _drop(num_samples: int, length: int, stride: int) -> list[int]:
    return list(range(0, num_samples - length + 1, stride))


def _centre(num_samples: int, length: int, stride: int) -> list[int]:
    starts = _drop(num_samples, length, stride)
    left_over = num_samples - (starts[-1] + length) if starts else 0
    return [start + left_over // 2 for start in starts]


def _pad(num_samples: int, length: int, stride: int) -> list[int]:
    starts = _drop(num_samples, length, stride)
    following = starts[-1] + stride if starts else 0
    covered = starts[-1] + length if starts else 0
    return [*starts, following] if max(covered, following) < num_samples else starts


def _overlap(num_samples: int, length: int, stride: int) -> list[int]:
    starts = _drop(num_samples, length, stride)
    if not starts:
        return [0] if num_samples else []
    last = num_samples - length
    return starts if starts[-1] == last else [*starts, last]


TAILS: dict[str, Callable[[int, int, int], list[int]]] = {
    "pad": _pad,
    "drop": _drop,
    "centre": _centre,
    "overlap": _overlap,
}
"""Policy for samples that do not fill a clip: (samples, length, stride) -> first sample of each clip.

`pad` repeats the last frame; `drop` leaves them out; `centre` leaves out half at each end (start = remainder // 2, as the
features published with GDLT do); `overlap` moves a last clip back so that it ends with the video."""


def _starts(num_samples: int, rule: ClipRule) -> list[int]:
    if rule.num_clips and num_samples >= rule.length:
        return [int(start) for start in np.linspace(0, num_samples - rule.length, rule.num_clips).round()]
    return TAILS[rule.tail](num_samples, rule.length, rule.stride)


def plan_clips(
    timeline: Timeline, rule: ClipRule, start_seconds: float | None = None, end_seconds: float | None = None
) -> tuple[Clip, ...]:
    """The clips of a video, or of a span of it. Empty if the policy leaves none, as `drop` may for a short video."""
    indices, times = sample_frames(timeline, rule.fps, start_seconds, end_seconds)
    if rule.num_frames and len(indices):
        # Evenly by position, including the first and last frame; a short routine repeats frames.
        times = np.linspace(times[0], times[-1], rule.num_frames + 1)
        indices = indices[np.linspace(0, len(indices) - 1, rule.num_frames).round().astype(int)]
    clips = []
    for index, first in enumerate(_starts(len(indices), rule)):
        stop = min(first + rule.length, len(indices))
        frames = [int(frame) for frame in indices[first:stop]]
        frames += [frames[-1]] * (rule.length - len(frames))
        clips.append(Clip(index, float(times[first]), float(times[stop]), tuple(frames)))
    return tuple(clips)
