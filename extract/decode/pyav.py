"""PyAV, the default decoder: FFmpeg's libraries, right on every container that was tried.

This module adds what PyAV does not do: turning pictures upright, and detecting truncated files. FFmpeg reports a truncated Matroska
file, and some truncated MP4 files, as a normal end.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import av.error
import numpy as np
from av.container import InputContainer

from longtake.extract.clips import Timeline
from longtake.extract.decode.base import (
    FRAMES,
    PACKETS,
    RATE,
    Decoder,
    Pictures,
    VideoInfo,
    Wanted,
    last_wanted,
    require_time,
)
from longtake.extract.decode.killable import report_alive
from longtake.extract.decode.scale import Scaler
from longtake.extract.errors import FramesNotPackets, VideoMissing, VideoTruncated, VideoUnreadable

# FFmpeg's threads must not call back into Python: the callback would wait for the interpreter lock while the thread that holds it waits
# for FFmpeg, a deadlock. So FFmpeg keeps its own callback, silenced; failure rows say what matters.
av.logging.restore_default_callback()
av.logging.set_libav_level(av.logging.PANIC)

MOST_THREADS = 16
"""FFmpeg's own limit; each thread holds a few pictures."""
MISSING_SECONDS = 0.5
"""Headers round: a file may end this much earlier than its header says, or two frames if that is longer."""
UNTIMED_CONTAINERS = ("avi",)
"""They store when a picture is decoded, not when it is shown. FFmpeg guesses the latter, differently for packets and frames, so the two
are not compared. Their headers count frame intervals, including those without a picture."""
TRUSTED_CONTAINERS = ("flv", "asf")
"""Their streams have no length of their own, but the header says when the last stream ends."""
MOST_SECONDS = 7 * 24 * 3600.0
"""Longer than any performance; a larger time stamp is damage."""
_ANY_TITLES = {} if int(av.__version__.partition(".")[0]) >= 19 else {"metadata_errors": "replace"}


class PyAVDecoder(Decoder):
    name = "pyav"

    def description(self) -> str:
        scaler = ".".join(map(str, av.library_versions["libswscale"]))
        codec = ".".join(map(str, av.library_versions["libavcodec"]))
        return f"pyav {av.__version__}, libavcodec {codec}, libswscale {scaler}"

    def probe(self, path: Path, *, exact: bool = False) -> VideoInfo:
        if not path.is_file():
            raise VideoMissing(f"no file {path}")
        try:
            with open_media(path) as container:
                return _probe(container, path, exact)
        except av.error.FFmpegError as error:
            raise VideoUnreadable(f"{path.name}: {error.strerror} (is it a video, and whole?)") from error

    def pictures(self, info: VideoInfo, wanted: Wanted, *, num_threads: int) -> Iterator[tuple[int, Pictures]]:
        last = last_wanted(wanted)
        index = -1
        scaler = Scaler(info.rotation_degrees)
        try:
            with open_media(info.path) as container:
                stream = container.streams[info.stream_index]
                stream.thread_type = "AUTO"
                stream.codec_context.thread_count = num_threads or _num_threads(stream.codec_context.codec.name)
                for frame in container.decode(stream):
                    report_alive()
                    index += 1
                    if index < len(info.timeline):
                        require_time(info, index, frame.time)
                    found = {rule: scaler.picture(frame, rule) for rule, frames in wanted.items() if index in frames}
                    if found:
                        yield index, found
                    elif index > last and index + 1 < len(info.timeline):
                        # The rest of the file is outside the routine and need not be whole.
                        return
        except av.error.FFmpegError as error:
            raise VideoTruncated(
                f"{info.path.name} breaks after frame {index + 1} of {len(info.timeline)}: {error.strerror}"
            ) from error
        if index + 1 != len(info.timeline):
            raise FramesNotPackets(
                f"{info.path.name}: {len(info.timeline)} packets gave {index + 1} frames; the file is damaged"
            )


def open_media(path: Path) -> InputContainer:
    """Open a file with titles in any encoding. PyAV 19 reads them all; earlier versions need an option."""
    return av.open(str(path), **_ANY_TITLES)


def _num_threads(codec: str) -> int:
    """Two more than there are processors. FFmpeg itself takes one more and assumes a caller that is always waiting; ours scales pictures
    between two calls. dav1d chooses its own number (0)."""
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if codec == "libdav1d":
        return 0
    return min(processors + 2, MOST_THREADS) if processors > 1 else 1


def _probe(container: InputContainer, path: Path, exact: bool) -> VideoInfo:
    stream = container.streams.best("video")
    if stream is None:
        kinds = ", ".join(stream.type for stream in container.streams) or "nothing"
        raise VideoUnreadable(f"{path.name} has no picture stream; it holds {kinds}")
    if stream.codec_context is None:
        raise VideoUnreadable(f"{path.name}: FFmpeg has no decoder for its pictures; convert the file, say to H.264")
    rotation, first_format = 0, stream.codec_context.pix_fmt
    packets, frames = _Shown(), _Shown()
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
                    rotation, first_format = _clockwise(frame), frame.format.name
                frames.add(frame, stream.time_base)
    if not exact and not rotation:
        rotation = _rotation_of_first(path, stream.index)
    shown = frames if exact else packets
    if not shown.seconds:
        raise VideoUnreadable(f"{path.name} has a picture stream without a picture")
    rate = float(stream.average_rate or 25)
    header_frames, header_seconds = stream.frames or None, _header_seconds(container, stream, packets.begin)
    # Packets before the first picture that can be decoded do not count.
    promised = None if header_seconds is None else header_seconds - (shown.begin - packets.begin)
    kind = container.format.name
    if exact and kind not in UNTIMED_CONTAINERS:
        _require_clock(path, frames)
    timeline = _timeline(path, shown, rate, promised)
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
    turned = rotation % 180 != 0
    audio = sound_stream(container)
    return VideoInfo(
        path=path,
        container=kind,
        codec=stream.codec_context.name,
        pixel_format=str(first_format),
        width=stream.height if turned else stream.width,
        height=stream.width if turned else stream.height,
        rotation_degrees=rotation,
        timeline=timeline,
        times_from=FRAMES if exact else RATE if counted_only else PACKETS,
        origin_seconds=shown.begin,
        num_frames_from_header=header_frames,
        duration_seconds_from_header=header_seconds,
        num_video_streams=len(container.streams.video),
        stream_index=stream.index,
        audio=f"{audio.codec_context.name} {audio.rate} Hz {audio.layout.name}" if audio else "",
    )


class _Shown:
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


def sound_stream(container: InputContainer) -> av.AudioStream | None:
    """The first sound stream that can be decoded."""
    return next((stream for stream in container.streams.audio if stream.codec_context is not None), None)


def _require_clock(path: Path, frames: _Shown) -> None:
    """Raise `VideoUnreadable` for joined recordings, whose time stamps do not give the order of their pictures."""
    known = np.array([seconds for seconds in frames.seconds if seconds is not None])
    back = np.flatnonzero(np.diff(known) < -MISSING_SECONDS)
    if len(back):
        raise VideoUnreadable(
            f"{path.name}: its clock goes back at frame {back[0] + 1}, from {known[back[0]]:.2f} to {known[back[0] + 1]:.2f} s, as in joined "
            f"recordings; convert it with ffmpeg, or cut it there"
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


def _clockwise(frame: av.VideoFrame) -> int:
    """Clockwise turn, 0 to 359. PyAV reports the display matrix's counter-clockwise turn, -180 to 180."""
    return int(-getattr(frame, "rotation", 0)) % 360


def _rotation_of_first(path: Path, stream_index: int) -> int:
    """Rotation of the first decoded picture: a codec with delay returns none for the first packet."""
    with open_media(path) as container:
        for frame in container.decode(container.streams[stream_index]):
            return _clockwise(frame)
    return 0


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


def _timeline(path: Path, shown: _Shown, rate: float, header_seconds: float | None) -> Timeline:
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
