"""What a decoder is, what it says of a file, and what all decoders share.

Choice of stream, rotation, colour and the true length of a file are settled in this folder and nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeAlias, TypeVar

from longtake.extract.errors import DecoderUnfit, FramesNotPackets
from longtake.extract.preprocessing import FrameRule

if TYPE_CHECKING:
    import numpy as np

    from longtake.extract.clips import Timeline

PACKETS, FRAMES, RATE = "packets", "frames", "rate"

T = TypeVar("T")


@dataclass(frozen=True)
class VideoInfo:
    """What a decoder sees of a file before it decodes any picture."""

    path: Path
    container: str
    codec: str
    pixel_format: str
    width: int
    """As shown, after rotation."""
    height: int
    rotation_degrees: int
    """Clockwise turn that the file asks for; already applied to the pictures."""
    timeline: Timeline
    """Of the picture stream, not from the header."""
    times_from: str
    """What the timeline was read from: the times of `PACKETS`, those of `FRAMES`, where every picture was decoded for it, or the `RATE`, where
    the file keeps no times of pictures."""
    origin_seconds: float
    """The first picture's time by the file's own clock, which its sound shares."""
    num_frames_from_header: int | None
    duration_seconds_from_header: float | None
    """Of the picture stream; None where the file does not say."""
    num_video_streams: int
    stream_index: int
    """The one that is decoded: the best, which is the largest."""
    audio: str
    """Codec, rate and channels of the first sound stream; empty when there is none that can be decoded."""


Wanted = Mapping[FrameRule, Set[int]]
"""What is asked of a file: for each rule, the frames that it wants, counted from 0 in the order in which they are shown."""
Pictures: TypeAlias = "Mapping[FrameRule, np.ndarray]"
"""What one frame gives: uint8 `(height, width, 3)`, upright, resized and cropped, for each rule that wants the frame."""


class Decoder(Protocol):
    """A way to read video files. Raises `VideoError` for whatever is wrong with one."""

    name: str

    def description(self) -> str:
        """Name and versions of everything that decides a pixel; part of the recipe."""

    def probe(self, path: Path, *, exact: bool = False) -> VideoInfo:
        """Read the file's packets, no pictures; `exact` decodes them all, for files whose packets are not its frames."""

    def promised_seconds(self, path: Path) -> float:
        """What the file's header says of its length, read in no time and not to be trusted; 0 where it says nothing."""

    def for_file(self, info: VideoInfo) -> Sequence[Decoder]:
        """Who reads this file, and who reads it anew where that one cannot: the decoder itself, but for `auto`."""

    def unfit(self, info: VideoInfo) -> str:
        """Why this decoder must not read the file, as a clause about "it"; empty where it may."""

    def pictures(self, info: VideoInfo, wanted: Wanted, *, num_threads: int) -> Iterator[tuple[int, Pictures]]:
        """The frames that a rule wants, in order, one at a time; what comes after the last of them may be left unread. `num_threads` 0
        is as many as there are processors.

        Raises `FramesNotPackets` when the timeline of `info` turns out to be wrong.
        """


def with_true_times(probe: Callable[..., VideoInfo], read: Callable[[VideoInfo], T]) -> T:
    """What `read` makes of the file that `probe(exact=...)` looks at. Where pictures turn out not to be the packets, which may show at any
    frame, it is read again from the start, by the pictures' own times."""
    try:
        return read(probe(exact=False))
    except FramesNotPackets:
        return read(probe(exact=True))


def require_time(info: VideoInfo, index: int, seconds: float | None) -> None:
    """Raises `FramesNotPackets` where the frame's time by the file's clock is not the one that was planned for."""
    if info.times_from != PACKETS or seconds is None:
        return
    shown, planned = seconds - info.origin_seconds, info.timeline.seconds[index]
    if abs(shown - planned) > 0.5 / info.timeline.fps:
        raise FramesNotPackets(
            f"{info.path.name}: frame {index} is shown at {shown:.3f} s, its packet at {planned:.3f} s"
        )


def last_wanted(wanted: Wanted) -> int:
    """-1 where nothing is wanted."""
    return max((max(frames, default=-1) for frames in wanted.values()), default=-1)


def require_fit(decoder: Decoder, info: VideoInfo) -> None:
    """Raises `DecoderUnfit`."""
    reason = decoder.unfit(info)
    if reason:
        raise DecoderUnfit(f"{decoder.name} is not for {info.path.name}: {reason}; use --decoder pyav or auto")
