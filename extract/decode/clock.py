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
MOST_AHEAD_SECONDS = 10.0
"""Where FFmpeg expects clocks that jump, such as in MPEG-TS, it takes a larger step for a jump; elsewhere a picture may stay for hours."""
_START_ROUNDING_SECONDS = 2e-6
"""FFmpeg keeps the start of a container in microseconds."""


class Shown:
    """When packets or frames of a stream are shown by the file's clock, and for how long."""

    def __init__(self) -> None:
        self.seconds: list[float | None] = []
        self.durations: list[float] = []
        """0 where the file has none."""

    def add(self, what: av.Packet | av.VideoFrame, time_base: Fraction | None, *, timed: bool = True) -> None:
        """With `timed` False the time of decoding is taken, of containers that do not store when a picture is shown."""
        unit, shown = float(time_base or 1), what.pts if timed else what.dts
        self.seconds.append(None if shown is None else shown * unit)
        self.durations.append((what.duration or 0) * unit)

    @property
    def known(self) -> np.ndarray:
        return np.array([seconds for seconds in self.seconds if seconds is not None])

    @property
    def begin(self) -> float:
        return float(self.known.min(initial=np.inf)) if len(self.known) else 0.0

    def last(self, rate: float) -> tuple[float, float, float]:
        """When the last picture begins, how long its packet lasts (0 if unknown), and the median time between pictures."""
        count = len(self.seconds)
        if len(self.known) < count:
            return self.begin + (count - 1) / rate, 1 / rate, 1 / rate
        moments = np.unique(self.known)
        gap = float(np.median(np.diff(moments))) if len(moments) > 1 else count / rate
        return float(moments[-1]), self.durations[int(np.argsort(self.known, kind="stable")[-1])], gap


def require_clock(path: Path, shown: Shown, *, back: bool, ahead: bool) -> None:
    """Raise `VideoUnreadable` for joined recordings, whose time stamps do not say when their pictures are shown. Packets are not in the
    order in which they are shown, so that they may go `back`."""
    known = shown.known
    steps = np.diff(known)
    jumps = np.flatnonzero((back & (steps < -MOST_BACK_SECONDS)) | (ahead & (steps > MOST_AHEAD_SECONDS)))
    if len(jumps):
        at = jumps[0]
        how = "goes back" if steps[at] < 0 else "jumps ahead"
        raise VideoUnreadable(
            f"{path.name}: its clock {how} at frame {at + 1}, from {known[at]:.2f} to {known[at + 1]:.2f} s, as in joined recordings; "
            f"convert it with ffmpeg, or cut it there"
        )


def origin_of(shown: Shown, start_seconds: float | None) -> float:
    """Second 0 of the timeline by the file's own time stamps: the container's start, as for players and `ffmpeg -ss`.

    Pictures begin later where the sound begins first, or where the first pictures cannot be decoded.
    """
    if start_seconds is None or start_seconds > shown.begin - _START_ROUNDING_SECONDS:
        return shown.begin
    return start_seconds


def timeline_of(path: Path, shown: Shown, rate: float, origin: float, stays: float) -> Timeline:
    """`origin`: second 0 by the file's own time stamps. `stays`: how long the last picture is shown."""
    known, count, late = shown.known, len(shown.seconds), shown.begin - origin
    times = known - shown.begin if len(known) == count else np.arange(count) / rate
    moments, first = np.unique(np.sort(times), return_index=True)
    end = float(moments[-1]) + max(stays, 1e-3)
    # Larger numbers would not even be in order.
    if not late + end <= MOST_SECONDS:
        raise VideoUnreadable(f"{path.name}: its time stamps go up to {late + end:.0f} s, so the file is damaged")
    # Pictures with the same time stamp share the time until the next one.
    return Timeline(late + np.interp(np.arange(count), [*first, count], [*moments, end]), late + end)
