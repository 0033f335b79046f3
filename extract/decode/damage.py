"""Damaged pictures: FFmpeg's marks and errors, counted in the part of a file that is used.

FFmpeg fills damaged areas with guesses, which depend on the number of its threads and spread to all pictures until the next key frame.
So a file with any damage is decoded by one thread.
"""

from __future__ import annotations

from collections.abc import Iterator

import av
import av.error

from longtake.extract.decode.base import VideoInfo
from longtake.extract.errors import VideoDamaged

MOST_DAMAGED = 0.05
"""Share of damaged pictures in the used part of a file above which the video is a failure."""
REPORTED_CODECS = ("h264", "mpeg4", "vp9", "av1", "libdav1d", "mjpeg")
"""Of these FFmpeg reports the same damage at any number of threads, or decodes it to the same bits. Others, such as HEVC, VP8 and MPEG-2, have
damage that it does not report and whose bits depend on threads: they are decoded by one."""


class Damage:
    """Decodes packets one by one, and notes which pictures are damaged or lost."""

    def __init__(self) -> None:
        self._seconds: list[float | None] = []
        self._places: list[int] = []
        """Number of the picture, for files without time stamps."""
        self._marked: set[int | None] = set()
        self._num_frames = 0
        self._spoilt = False

    def decode(self, packet: av.Packet) -> Iterator[av.VideoFrame]:
        if packet.is_corrupt:
            self._marked.add(packet.pts)
        try:
            frames = packet.decode()
        except av.error.FFmpegError:
            # Pictures before the first one that can be decoded are not lost: a stream may be cut anywhere.
            if self._num_frames:
                self._note(packet)
                self._spoilt = True
            return
        for frame in frames:
            if frame.key_frame:
                self._spoilt = False
            if frame.is_corrupt or (frame.pts is not None and frame.pts in self._marked):
                self._spoilt = True
            if self._spoilt:
                self._note(frame)
            self._num_frames += 1
            yield frame

    def _note(self, what: av.Packet | av.VideoFrame) -> None:
        known = what.pts is not None and what.time_base is not None
        self._seconds.append(float(what.pts * what.time_base) if known else None)
        self._places.append(self._num_frames)

    def by_clock(self, origin: float, rate: float) -> tuple[float, ...]:
        """When the damaged and lost pictures are shown, in the seconds of the timeline."""
        return tuple(
            place / rate if seconds is None else seconds - origin for seconds, place in zip(self._seconds, self._places)
        )


def num_damaged(info: VideoInfo, start_seconds: float | None, end_seconds: float | None) -> int:
    """Damaged or lost pictures in a span of the file. Raises `VideoDamaged` if they are too many."""
    begin = -float("inf") if start_seconds is None else start_seconds
    end = float("inf") if end_seconds is None else end_seconds
    damaged = [seconds for seconds in info.damaged_seconds or () if begin <= seconds < end]
    total = max(int(((info.timeline.seconds >= begin) & (info.timeline.seconds < end)).sum()), len(damaged))
    if len(damaged) > MOST_DAMAGED * total:
        raise VideoDamaged(
            f"{info.path.name}: {len(damaged)} of {total} pictures are damaged or lost, the first at {min(damaged):.2f} s; at most "
            f"{MOST_DAMAGED:.0%} are accepted. Copy the file again, or use a part without damage (start_seconds, end_seconds)"
        )
    return len(damaged)
