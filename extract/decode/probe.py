"""Read what a file holds, without decoding its pictures: PyAV's probe, which all decoders share.

FFmpeg reports a truncated Matroska file, and some truncated MP4 files, as a normal end.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import av.error
from av.container import InputContainer

from longtake.extract.decode.base import FRAMES, PACKETS, RATE, VideoInfo
from longtake.extract.decode.clock import Shown, require_clock, timeline_of
from longtake.extract.decode.encrypted import is_encrypted
from longtake.extract.decode.killable import report_alive
from longtake.extract.decode.orientation import UPRIGHT, Orientation, orientation_of
from longtake.extract.decode.streams import open_media, sound_stream
from longtake.extract.errors import VideoMissing, VideoTruncated, VideoUnreadable
from longtake.files import require_regular

MISSING_SECONDS = 0.5
"""Headers round: a file may end this much earlier than its header says, or two frames if that is longer."""
HIGH_RANGE = {16: "PQ", 18: "HLG"}
"""Transfer characteristics by their numbers in ITU-T H.273."""
MOST_ASPECT = 8
"""Pixels that are wider or higher than this are damage, not a shape."""
UNTIMED_CONTAINERS = ("avi",)
"""They store when a picture is decoded, not when it is shown. FFmpeg guesses the latter, differently for packets and frames, so the two
are not compared. Their headers count frame intervals, including those without a picture."""
TRUSTED_CONTAINERS = ("flv", "asf")
"""Their streams have no length of their own, but the header says when the last stream ends."""


def probe(path: Path, exact: bool) -> VideoInfo:
    """See `longtake.extract.decode.base.Decoder.probe`."""
    if not path.exists():
        raise VideoMissing(f"no file {path}")
    if is_encrypted(require_regular(path)):
        raise VideoUnreadable(f"{path.name} is encrypted: its pictures cannot be read without the key")
    try:
        with open_media(path) as container:
            return _read(container, path, exact)
    except av.error.FFmpegError as error:
        raise VideoUnreadable(f"{path.name}: {error.strerror} (is it a video, and whole?)") from error


def _read(container: InputContainer, path: Path, exact: bool) -> VideoInfo:
    stream = container.streams.best("video")
    if stream is None:
        kinds = ", ".join(stream.type for stream in container.streams) or "nothing"
        raise VideoUnreadable(f"{path.name} has no picture stream; it holds {kinds}")
    if stream.codec_context is None:
        raise VideoUnreadable(f"{path.name}: FFmpeg has no decoder for its pictures; convert the file, say to H.264")
    orientation, first_format = UPRIGHT, stream.codec_context.pix_fmt
    packets, frames = Shown(), Shown()
    num_packets = 0
    for packet in container.demux(stream):
        report_alive()
        if packet.size:
            # Packets that an edit list discards are in the file, but never shown.
            num_packets += 1
            if not packet.is_discard:
                packets.add(packet, stream.time_base)
        if exact or num_packets == 1:
            for frame in packet.decode():
                if not frames.seconds:
                    orientation, first_format = orientation_of(frame), frame.format.name
                frames.add(frame, stream.time_base)
    if not exact and orientation == UPRIGHT:
        orientation = _orientation_of_first(path, stream.index)
    shown = frames if exact else packets
    if not shown.seconds:
        raise VideoUnreadable(f"{path.name} has a picture stream without a picture")
    rate = float(stream.average_rate or 25)
    header_frames, header_seconds = stream.frames or None, _header_seconds(container, stream, packets.begin)
    # Packets before the first picture that can be decoded do not count.
    promised = None if header_seconds is None else header_seconds - (shown.begin - packets.begin)
    kind = container.format.name
    if exact and kind not in UNTIMED_CONTAINERS:
        require_clock(path, frames)
    timeline = timeline_of(path, shown, rate, promised)
    counted_only = kind in UNTIMED_CONTAINERS or None in shown.seconds
    if kind in UNTIMED_CONTAINERS:
        # FFmpeg scales the duration to the bytes that are there, but not the number of intervals.
        lacking = (header_frames or 0) / rate - (shown.begin + timeline.end_seconds)
    elif promised is not None:
        lacking = promised - timeline.end_seconds
    else:
        lacking = _lacking_of_all(path) if kind in TRUSTED_CONTAINERS else 0.0
    if lacking > max(MISSING_SECONDS, 2 / timeline.fps):
        counted = f"{num_packets} of {header_frames} frames" if header_frames else f"{num_packets} frames"
        raise VideoTruncated(
            f"{path.name} ends at {timeline.end_seconds:.2f} s, but its header promises {timeline.end_seconds + lacking:.2f} s "
            f"({counted} are there): the file is cut off"
        )
    width, height = orientation.shown(stream.width, stream.height)
    audio = sound_stream(container)
    return VideoInfo(
        path=path,
        container=kind,
        codec=stream.codec_context.name,
        pixel_format=str(first_format),
        width=width,
        height=height,
        orientation=orientation,
        pixel_aspect=_pixel_aspect(stream, orientation),
        transfer=HIGH_RANGE.get(stream.codec_context.color_trc, "SDR"),
        timeline=timeline,
        times_from=FRAMES if exact else RATE if counted_only else PACKETS,
        origin_seconds=shown.begin,
        num_frames_from_header=header_frames,
        duration_seconds_from_header=header_seconds,
        num_video_streams=len(container.streams.video),
        stream_index=stream.index,
        audio=f"{audio.codec_context.name} {audio.rate} Hz {audio.layout.name}" if audio else "",
    )


def _lacking_of_all(path: Path) -> float:
    """Seconds by which the last stream ends earlier than the header says."""
    end = 0.0
    with open_media(path) as container:
        for packet in container.demux():
            report_alive()
            if packet.size and packet.pts is not None and packet.time_base:
                end = max(end, float((packet.pts + (packet.duration or 0)) * packet.time_base))
        return float((container.duration or 0) / av.time_base) - end


def _pixel_aspect(stream: av.VideoStream, orientation: Orientation) -> Fraction:
    stored = stream.sample_aspect_ratio or Fraction(1)
    if not 1 / MOST_ASPECT <= stored <= MOST_ASPECT:
        return Fraction(1)
    return 1 / stored if orientation.quarter_turns % 2 else Fraction(stored)


def _orientation_of_first(path: Path, stream_index: int) -> Orientation:
    """Orientation of the first decoded picture: a codec with delay returns none for the first packet."""
    with open_media(path) as container:
        for frame in container.decode(container.streams[stream_index]):
            return orientation_of(frame)
    return UPRIGHT


def _header_seconds(container: InputContainer, stream: av.VideoStream, begin_seconds: float) -> float | None:
    """The picture stream's own duration. A container is as long as its longest stream, which may be the sound."""
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    # Matroska counts from the start of its clock, not from the first picture, except in files of mkvmerge, which writes these tags.
    marked = any(key.startswith("_STATISTICS") for key in stream.metadata)
    before = begin_seconds if "matroska" in container.format.name and not marked else 0.0
    tag = stream.metadata.get("DURATION", "")
    try:
        hours, minutes, seconds = (float(part) for part in tag.split(":"))
        return hours * 3600 + minutes * 60 + seconds - before
    except ValueError:
        pass
    if len(container.streams) == 1 and container.duration:
        from_zero = "mpeg" not in container.format.name
        return float(container.duration / av.time_base) - (begin_seconds if from_zero else 0.0)
    return None
