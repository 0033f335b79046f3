"""Decoders by name, and what each of them is: files in, upright pictures with their times out.

Choice of stream, rotation, colour and the truth about a file's length are settled here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeAlias, TypeVar

from longtake.errors import there_are
from longtake.extract.backbones.spec import FrameRule
from longtake.extract.decode.guarded import Guarded
from longtake.extract.errors import DecoderUnfit, ExtractError, FramesNotPackets

if TYPE_CHECKING:
    import numpy as np

    from longtake.extract.clips import Timeline

TABLE: dict[str, str] = {
    "pyav": "longtake.extract.decode.pyav:PyAVDecoder",
    "decord": "longtake.extract.decode.decord:DecordDecoder",
    "torchcodec": "longtake.extract.decode.torchcodec:TorchCodecDecoder",
    "nvdec": "longtake.extract.decode.torchcodec:NVDECDecoder",
    "auto": "longtake.extract.decode.auto:AutoDecoder",
}
"""Name -> class. Its module may import the decoder's package; nothing else does."""


@dataclass(frozen=True)
class Package:
    """Where a decoder comes from."""

    package: str
    extra: str
    """Of setup.cfg: `pip install 'longtake[EXTRA]'` installs the package."""
    about: str


PACKAGES: dict[str, Package] = {
    "pyav": Package("av", "extract", "FFmpeg's libraries, which it brings; right on every container that was tried"),
    "decord": Package(
        "decord", "decord", "H.264, HEVC, VP9, MPEG-4 of 8 bits; refuses what it gets wrong; unmaintained"
    ),
    "torchcodec": Package("torchcodec", "torchcodec", "with FFmpeg's libraries of this machine; no AVI, no MPEG-TS"),
    "nvdec": Package("torchcodec", "torchcodec", "torchcodec on an NVIDIA GPU; other pixels than the processor's"),
    "auto": Package("av", "extract", "for each file nvdec, where there is a GPU and it decodes such files, else pyav"),
}


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


def get_decoder(name: str) -> Decoder:
    """It raises `VideoError` or `OSError` for a file, whatever its library raises.

    Raises `ExtractError` for an unknown name, or one whose package is not installed.
    """
    if name not in TABLE:
        raise ExtractError(f"no decoder is called {name!r}{there_are(name, TABLE)}")
    module, _, attribute = TABLE[name].partition(":")
    try:
        return Guarded(getattr(import_module(module), attribute)())
    except ModuleNotFoundError as error:
        needs = PACKAGES[name]
        raise ExtractError(
            f"decoder {name} needs the package {needs.package}: python -m pip install 'longtake[{needs.extra}]'"
        ) from error
