"""When the pictures of a file are shown."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from longtake.extract.clips import Timeline
from longtake.extract.errors import VideoUnreadable

MOST_SECONDS = 7 * 24 * 3600.0
"""Longer than any performance; a larger time stamp is damage."""
MOST_BACK_SECONDS = 0.5
"""A clock that goes back further has started again."""


class Shown:
    """When packets or frames of a stream are shown by the file's clock, and for how long."""

    def __init__(self) -> None:
        self.seconds: list[float | None] = []
        self.durations: list[float] = []
        """0 where the file has none."""

    def add(self, what: av.Packet | av.VideoFrame, time_base: Fraction | None) -> None:
        unit = float(time_base or 1)
        self.seconds.append(None if what.pts is None else what.pts * unit)
        self.durations.append((what.duration or 0) * unit)

    @property
    def begin(self) -> float:
        return min((time for time in self.seconds if time is not None), default=0.0)


def require_clock(path: Path, frames: Shown) -> None:
    """Raise `VideoUnreadable` for joined recordings, whose time stamps do not give the order of their pictures."""
    known = np.array([seconds for seconds in frames.seconds if seconds is not None])
    back = np.flatnonzero(np.diff(known) < -MOST_BACK_SECONDS)
    if len(back):
        raise VideoUnreadable(
            f"{path.name}: its clock goes back at frame {back[0] + 1}, from {known[back[0]]:.2f} to {known[back[0] + 1]:.2f} s, as in joined "
            f"recordings; convert it with ffmpeg, or cut it there"
        )


def timeline_of(path: Path, shown: Shown, rate: float, header_seconds: float | None) -> Timeline:
    known, count = [seconds for seconds in shown.seconds if seconds is not None], len(shown.seconds)
    if len(known) < count:
        _require_possible(path, count / rate)
        return Timeline(np.arange(count) / rate, count / rate)
    order = np.argsort(known, kind="stable")
    times = np.array(known)[order] - shown.begin
    moments, first = np.unique(times, return_index=True)
    gap = float(np.median(np.diff(moments))) if len(moments) > 1 else len(times) / rate
    # The last picture may be shown longer, but not beyond the end in the header.
    own = min(shown.durations[order[-1]], (header_seconds or np.inf) - moments[-1])
    end = float(moments[-1]) + max(own, gap, 1e-3)
    # Larger numbers would not even be in order.
    _require_possible(path, end)
    # Pictures with the same time stamp share the time until the next one.
    return Timeline(np.interp(np.arange(len(times)), [*first, len(times)], [*moments, end]), end)


def _require_possible(path: Path, seconds: float) -> None:
    if not seconds <= MOST_SECONDS:
        raise VideoUnreadable(f"{path.name}: its time stamps go up to {seconds:.0f} s, so the file is damaged")
