"""Errors of `extract`. A video that cannot be processed is a failure row, not the end of a run; see `VideoError`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from longtake.errors import LongtakeError


class ExtractError(LongtakeError):
    """The call cannot be carried out at all: exit status 2."""


class VideosMissing(ExtractError, FileNotFoundError):
    """Videos of the table are not in the folder, and the call needs them all or has none."""

    def __init__(self, message: str, missing: Sequence[MissingVideo] = ()) -> None:
        super().__init__(message)
        self.missing = tuple(missing)


@dataclass(frozen=True)
class MissingVideo:
    """A row of the manifest whose file is not in the folder of videos."""

    video_id: str
    path: str | None
    """As in the manifest; None for the file whose stem is the id."""
    reason: str


class WeightsError(ExtractError, ValueError):
    """Weights that are missing, do not match their checksum, or do not fit the network."""


class NotConverted(ExtractError):
    """OpenVINO cannot run the network of a backbone, or not with the numbers of torch. `--runtime auto` takes torch then."""

    def __init__(self, backbone: str, reason: str) -> None:
        super().__init__(f"{backbone} cannot be run by OpenVINO: {reason}")
        self.backbone = backbone


class MachineLimit(ExtractError):
    """This machine or account lacks what every video needs, such as file descriptors: no fault of a video, so it ends the run."""


class VideoError(LongtakeError):
    """One video that cannot be read or is not complete. It becomes a row with its stage, type and message."""

    stage = "decode"


class VideoMissing(VideoError, FileNotFoundError):
    """The manifest names a video that does not exist."""

    stage = "find"


class VideoUnreadable(VideoError, ValueError):
    """Not a video, or no picture stream, or bytes that no decoder accepts."""


class VideoTruncated(VideoError, ValueError):
    """Parts of the file are missing at its end."""


class VideoDamaged(VideoError, ValueError):
    """Too many pictures of the file are damaged."""


class FramesNotPackets(VideoUnreadable):
    """The pictures of a file are not its packets one by one (hidden or split frames): their times have to be decoded."""


class DamageSeen(FramesNotPackets):
    """Pictures are damaged, which was not known: an exact probe counts them."""


class DecoderUnfit(VideoError):
    """The chosen decoder is known to return wrong pictures of such a file."""


class VideoStalled(VideoError, TimeoutError):
    """A decoder returned nothing for longer than `--stall-timeout`, and was killed."""


class DecoderDied(VideoError):
    """The process of a decoder died: a crash in its library, or no memory left."""


class DecoderFailed(VideoError):
    """A decoder raised an unexpected error: a defect, or an untested version of its library."""

    def __init__(self, message: str, kind: str, stage: str = "decode") -> None:
        super().__init__(message, kind, stage)
        self.kind, self.stage = kind, stage

    def __str__(self) -> str:
        return str(self.args[0])


class SoundMissing(VideoError):
    """The file has pictures, but no sound."""

    stage = "sound"


class SoundUnreadable(VideoError):
    """The sound stream cannot be decoded."""

    stage = "sound"
