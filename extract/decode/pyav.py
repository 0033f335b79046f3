"""PyAV, the default decoder: FFmpeg's libraries, right on every container that was tried.

What it does not do by itself is done here: turning pictures upright, and noticing that a file is not whole. FFmpeg reports a
truncated Matroska file, and some truncated MP4 files, as a normal end.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import av
import av.error
import numpy as np

from extract.apart import alive
from extract.clips import Timeline
from extract.decode import Decoder, Pictures, VideoInfo, Wanted, last_wanted
from extract.decode.scale import Scaler
from extract.errors import FramesNotPackets, VideoMissing, VideoTruncated, VideoUnreadable

# FFmpeg's threads must not call back into Python: a callback waits for the interpreter's lock while the thread that holds it
# waits for FFmpeg to end, for ever. So FFmpeg keeps its own callback, silenced; our rows say what matters.
av.logging.restore_default_callback()
av.logging.set_libav_level(av.logging.PANIC)

MOST_THREADS = 16
"""FFmpeg's own bound; each holds a few pictures."""
MISSING_SECONDS = 0.5
"""A file may end this much before its header says, or two frames if that is longer; headers round."""


class PyAVDecoder:
    name = "pyav"

    def description(self) -> str:
        scaler = ".".join(map(str, av.library_versions["libswscale"]))
        codec = ".".join(map(str, av.library_versions["libavcodec"]))
        return f"pyav {av.__version__}, libavcodec {codec}, libswscale {scaler}"

    def probe(self, path: Path, *, exact: bool = False) -> VideoInfo:
        if not path.is_file():
            raise VideoMissing(f"no file {path}")
        try:
            with av.open(str(path)) as container:
                return _probe(container, path, exact)
        except av.error.FFmpegError as error:
            raise VideoUnreadable(f"{path.name}: {error.strerror} (is it a video, and whole?)") from error

    def promised_seconds(self, path: Path) -> float:
        try:
            with av.open(str(path)) as container:
                return (container.duration or 0) / av.time_base
        except av.error.FFmpegError as error:
            raise VideoUnreadable(f"{path.name}: {error.strerror} (is it a video, and whole?)") from error

    def for_file(self, info: VideoInfo) -> Decoder:
        return self

    def unfit(self, info: VideoInfo) -> str:
        return ""

    def pictures(self, info: VideoInfo, wanted: Wanted, *, num_threads: int) -> Iterator[tuple[int, Pictures]]:
        last = last_wanted(wanted)
        index = -1
        scaler = Scaler(info.rotation_degrees)
        try:
            with av.open(str(info.path)) as container:
                stream = container.streams[info.stream_index]
                stream.thread_type = "AUTO"
                stream.codec_context.thread_count = num_threads or _num_threads(stream.codec_context.codec.name)
                for frame in container.decode(stream):
                    alive()
                    index += 1
                    found = {rule: scaler.picture(frame, rule) for rule, frames in wanted.items() if index in frames}
                    if found:
                        yield index, found
                    elif index > last and index + 1 < len(info.timeline):
                        # The rest of the file is outside the routine; whether it is whole does not matter.
                        return
        except av.error.FFmpegError as error:
            raise VideoTruncated(
                f"{info.path.name} breaks after frame {index + 1} of {len(info.timeline)}: {error.strerror}"
            ) from error
        if index + 1 != len(info.timeline):
            raise FramesNotPackets(
                f"{info.path.name}: {len(info.timeline)} packets gave {index + 1} frames; the file is damaged"
            )


def _num_threads(codec: str) -> int:
    """One more than FFmpeg itself would take, which is one more than there are processors: it counts on a caller that is always
    there, and ours scales pictures between two calls. dav1d counts by itself."""
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if codec == "libdav1d":
        return 0
    return min(processors + 2, MOST_THREADS) if processors > 1 else 1


def _probe(container: av.container.InputContainer, path: Path, exact: bool) -> VideoInfo:
    stream = container.streams.best("video")
    if stream is None:
        kinds = ", ".join(stream.type for stream in container.streams) or "nothing"
        raise VideoUnreadable(f"{path.name} has no picture stream; it holds {kinds}")
    header_frames = stream.frames or None
    header_seconds = _header_seconds(container, stream)
    rotation, first_format = 0, stream.codec_context.pix_fmt
    seconds: list[float | None] = []
    unit = float(stream.time_base or 1)
    for packet in container.demux(stream):
        alive()
        if not seconds or exact:
            frames = packet.decode()
            if frames:
                rotation, first_format = _clockwise(frames[0]), frames[0].format.name
        if exact:
            seconds += [None if frame.pts is None else frame.pts * unit for frame in frames]
        elif packet.size and not packet.is_discard:
            seconds.append(None if packet.pts is None else packet.pts * unit)
    if not exact and not rotation:
        rotation = _rotation_of_first(path, stream.index)
    if not seconds:
        raise VideoUnreadable(f"{path.name} has a picture stream without a picture")
    timeline = _timeline(seconds, float(stream.average_rate or 25))
    origin = min((time for time in seconds if time is not None), default=0.0)
    _require_whole(path, timeline, header_seconds, header_frames)
    turned = rotation % 180 != 0
    audio = container.streams.audio
    return VideoInfo(
        path=path,
        container=container.format.name,
        codec=stream.codec_context.name,
        pixel_format=str(first_format),
        width=stream.height if turned else stream.width,
        height=stream.width if turned else stream.height,
        rotation_degrees=rotation,
        timeline=timeline,
        origin_seconds=0.0 if None in seconds else origin,
        num_frames_from_header=header_frames,
        duration_seconds_from_header=header_seconds,
        num_video_streams=len(container.streams.video),
        stream_index=stream.index,
        audio=f"{audio[0].codec_context.name} {audio[0].rate} Hz {audio[0].layout.name}" if audio else "",
    )


def _clockwise(frame: av.VideoFrame) -> int:
    """PyAV gives the counter-clockwise turn of the display matrix, in -180 to 180."""
    return int(-getattr(frame, "rotation", 0)) % 360


def _rotation_of_first(path: Path, stream_index: int) -> int:
    """A codec with delay gives no picture for the first packet, and the turn is a property of pictures."""
    with av.open(str(path)) as container:
        for frame in container.decode(container.streams[stream_index]):
            return _clockwise(frame)
    return 0


def _header_seconds(container: av.container.InputContainer, stream: av.VideoStream) -> float | None:
    """The picture stream's own duration. A container's lasts as long as its longest stream, which may be the sound."""
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    tag = stream.metadata.get("DURATION", "")
    try:
        hours, minutes, seconds = (float(part) for part in tag.split(":"))
        return hours * 3600 + minutes * 60 + seconds
    except ValueError:
        pass
    if len(container.streams) == 1 and container.duration:
        return container.duration / av.time_base
    return None


def _timeline(seconds: list[float | None], rate: float) -> Timeline:
    if None in seconds:
        times = np.arange(len(seconds)) / rate
    else:
        times = np.sort(np.array(seconds, float))
        times = times - times[0]
    last = float(np.median(np.diff(times))) if len(times) > 1 else 1 / rate
    return Timeline(times, float(times[-1]) + max(last, 1e-3))


def _require_whole(path: Path, timeline: Timeline, header_seconds: float | None, header_frames: int | None) -> None:
    """Both promises of the header count: an AVI's duration is scaled by FFmpeg to the bytes that are there."""
    promised = max(header_seconds or 0.0, (header_frames or 0) / timeline.fps)
    if promised - timeline.end_seconds > max(MISSING_SECONDS, 2 / timeline.fps):
        frames = f"{len(timeline)} of {header_frames} frames" if header_frames else f"{len(timeline)} frames"
        raise VideoTruncated(
            f"{path.name} ends at {timeline.end_seconds:.2f} s, but its header promises {promised:.2f} s ({frames} are "
            f"there): the file is cut off"
        )
