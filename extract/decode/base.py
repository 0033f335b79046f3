"""What a decoder is, what it says of a file, and what all decoders share.

Choice of stream, rotation, colour and the true length of a file are settled in this folder and nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeAlias, TypeVar

from longtake.extract.decode.orientation import Orientation
from longtake.extract.errors import DecoderUnfit, FramesNotPackets
from longtake.extract.preprocessing import FrameRule

if TYPE_CHECKING:
    import numpy as np

    from longtake.extract.clips import Timeline

PACKETS, FRAMES, RATE = "packets", "frames", "rate"

T = TypeVar("T")


@dataclass(frozen=True)
class VideoInfo:
    """What a decoder reads from a file before it decodes pictures."""

    path: Path
    container: str
    codec: str
    pixel_format: str
    width: int
    """As shown, upright."""
    height: int
    orientation: Orientation
    """What the file asks for; already applied to the pictures."""
    pixel_aspect: Fraction
    """Width of a shown pixel by its height; 1 for square pixels, and where the file does not say."""
    transfer: str
    """`PQ` or `HLG` for pictures of high dynamic range, which are taken as they are stored; `SDR` for others."""
    timeline: Timeline
    """Of the picture stream: times of packets or pictures. The header only says how long the last picture stays."""
    times_from: str
    """Source of the timeline: time stamps of `PACKETS`; of `FRAMES`, for which every picture was decoded; or the frame `RATE`, where the
    file has no time stamps."""
    origin_seconds: float
    """Second 0 of the timeline by the file's own time stamps, which its sound shares: the container's start, as for players and
    `ffmpeg -ss`. Where pictures begin late, the timeline begins after 0."""
    num_frames_from_header: int | None
    duration_seconds_from_header: float | None
    """Of the picture stream; None where the file does not say."""
    num_video_streams: int
    stream_index: int
    """Of the decoded stream: the best one, which is the largest; never a cover."""
    audio: str
    """Codec, rate and channels of the first sound stream; empty when there is none with packets that can be decoded."""
    damaged_seconds: tuple[float, ...] | None = None
    """When damaged or lost pictures are shown, in the seconds of the timeline; None if the pictures were not decoded."""


Wanted = Mapping[FrameRule, Set[int]]
"""For each rule, the frames it needs, counted from 0 in the order in which they are shown."""
Pictures: TypeAlias = "Mapping[FrameRule, np.ndarray]"
"""One frame: uint8 `(height, width, 3)`, upright, resized and cropped, for each rule that needs it."""


class Decoder(Protocol):
    """Reads video files. Raises `VideoError` for any fault of a file."""

    name: str
    sees_damage: bool = True
    """Whether damaged pictures make it raise `DamageSeen` or `DecoderUnfit`."""

    def description(self) -> str:
        """Name and versions of everything that decides a pixel; part of the recipe."""

    def probe(self, path: Path, *, exact: bool = False) -> VideoInfo:
        """Read the file's packets without decoding; `exact` decodes all of them, for files whose packets are not its frames, or which
        are damaged."""

    def for_file(self, info: VideoInfo) -> Sequence[Decoder]:
        """The decoders to try on this file, in order: this decoder itself, except for `auto`."""
        return (self,)

    def unfit(self, info: VideoInfo) -> str:
        """Why this decoder must not read the file, as a clause about "it"; empty if it may."""
        return ""

    def pictures(self, info: VideoInfo, wanted: Wanted, *, num_threads: int) -> Iterator[tuple[int, Pictures]]:
        """Yield the wanted frames in order, one at a time; frames after the last of them may be left unread. `num_threads` 0 uses all
        processors.

        Raises `FramesNotPackets` when the timeline of `info` turns out to be wrong, `DamageSeen` for damage that `info` does not know.
        """


def with_true_times(probe: Callable[..., VideoInfo], read: Callable[[VideoInfo], T]) -> T:
    """Return `read(probe(exact=False))`. If pictures turn out not to match packets, which may show at any frame, start again with
    `probe(exact=True)`, which takes the times of decoded pictures."""
    try:
        return read(probe(exact=False))
    except FramesNotPackets:
        return read(probe(exact=True))


def require_time(info: VideoInfo, index: int, seconds: float | None) -> None:
    """Raise `FramesNotPackets` if the frame's time by the file's clock differs from the timeline."""
    if info.times_from != PACKETS or seconds is None:
        return
    shown, planned = seconds - info.origin_seconds, info.timeline.seconds[index]
    if abs(shown - planned) > 0.5 / info.timeline.fps:
        raise FramesNotPackets(
            f"{info.path.name}: frame {index} is shown at {shown:.3f} s, its packet at {planned:.3f} s"
        )


def last_wanted(wanted: Wanted) -> int:
    """Index of the last wanted frame; -1 if none is."""
    return max((max(frames, default=-1) for frames in wanted.values()), default=-1)


def unfit_turn(info: VideoInfo) -> str:
    """`Decoder.unfit` of libraries that turn pictures by themselves: they know quarter turns only."""
    return "" if info.orientation.plain else "it does not show mirrored pictures, or odd turns, as the file asks"


def require_fit(decoder: Decoder, info: VideoInfo) -> None:
    """Raise `DecoderUnfit` if the decoder must not read this file."""
    reason = decoder.unfit(info)
    if reason:
        raise DecoderUnfit(f"{decoder.name} is not for {info.path.name}: {reason}; use --decoder pyav or auto")
