"""Where the pictures end by the header of a file, and who says so."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import av
from av.container import InputContainer

from longtake.extract.decode.killable import report_alive
from longtake.extract.decode.streams import open_media
from longtake.extract.decode.structure import Parts
from longtake.extract.decode.whole import MISSING_SECONDS

WHOLE_LENGTHS = ("matroska,webm", "flv", "asf")
"""Containers whose header says when the last of all streams ends."""


@dataclass(frozen=True)
class Promise:
    """Seconds by the file's own time stamps, except `header_seconds`."""

    header_seconds: float | None
    """Length of the picture stream by the header; None if the header does not say."""
    end_seconds: float | None
    """When the pictures end by the header."""
    reached_seconds: float
    """When the last packet ends of all streams that the header may have meant."""


def promise_of(
    container: InputContainer, stream: av.VideoStream, path: Path, begin: float, end: float, parts: Parts
) -> Promise:
    """`begin` and `end` of the pictures as their packets say."""
    own = float(stream.duration * stream.time_base) if stream.duration and stream.time_base else None
    if container.format.name == "avi":
        # FFmpeg scales the duration to the bytes that are there, but not the number of intervals.
        intervals = parts.num_intervals or stream.frames
        return Promise(own, intervals / float(stream.average_rate or 25) if intervals else None, end)
    if own is not None:
        return Promise(own, begin + own, end)
    tagged = _tagged_end(container, stream, begin)
    if tagged is not None:
        return Promise(tagged - begin, tagged, end)
    if not container.duration:
        return Promise(None, None, end)
    total = container.duration / av.time_base + _zero(container)
    if len(container.streams) == 1:
        return Promise(total - begin, total, end)
    if container.format.name not in WHOLE_LENGTHS or total - end <= MISSING_SECONDS:
        return Promise(None, None, end)
    reached = _end_of_all(path)
    # If the sound lasts as long as the header says, it does not say how long the pictures last.
    return Promise(None, None if total - reached <= MISSING_SECONDS else total, reached)


def _muxer(container: InputContainer) -> str:
    return next((value for key, value in container.metadata.items() if key.lower() == "encoder"), "")


def _zero(container: InputContainer) -> float:
    """From when on the container's duration counts: mkvmerge from its lowest time stamp, FFmpeg and others from 0."""
    if "libebml" in _muxer(container) or "mpeg" in container.format.name:
        return (container.start_time or 0) / av.time_base
    return 0.0


def _tagged_end(container: InputContainer, stream: av.VideoStream, begin: float) -> float | None:
    """End of the pictures by Matroska's tag DURATION. FFmpeg counts from 0, mkvmerge from the first picture. Others copy tags of
    mkvmerge that no longer hold; those of the file itself have the file's date."""
    hours, _, rest = stream.metadata.get("DURATION", "").partition(":")
    minutes, _, seconds = rest.partition(":")
    try:
        length = int(hours) * 3600 + int(minutes) * 60 + float(seconds)
    except (ValueError, OverflowError):
        return None
    if _muxer(container).startswith("Lavf"):
        return length
    written = stream.metadata.get("_STATISTICS_WRITING_DATE_UTC", "").replace(" ", "T")
    return begin + length if written and container.metadata.get("creation_time", "").startswith(written) else None


def _end_of_all(path: Path) -> float:
    end = 0.0
    with open_media(path) as container:
        for packet in container.demux():
            report_alive()
            if packet.size and packet.pts is not None and packet.time_base:
                end = max(end, float((packet.pts + (packet.duration or 0)) * packet.time_base))
    return end
