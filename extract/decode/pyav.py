"""PyAV, the default decoder: FFmpeg's libraries, right on every container that was tried.

`longtake.extract.decode.probe` adds what PyAV does not do: detecting truncated files.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import av
import av.error

from longtake.extract.decode.base import Decoder, Pictures, VideoInfo, Wanted, last_wanted, require_time
from longtake.extract.decode.damage import REPORTED_CODECS, Damage
from longtake.extract.decode.killable import report_alive
from longtake.extract.decode.probe import probe
from longtake.extract.decode.scale import Scaler
from longtake.extract.decode.streams import open_media
from longtake.extract.errors import DamageSeen, DecoderUnfit, FramesNotPackets
from longtake.threads import processors

MOST_THREADS = 16
"""FFmpeg's own limit; each thread holds a few pictures."""
LOOK_AHEAD = 16
"""Pictures read after the last wanted one, which may depend on them: no codec reorders more."""


class PyAVDecoder(Decoder):
    name = "pyav"

    def description(self) -> str:
        scaler = ".".join(map(str, av.library_versions["libswscale"]))
        codec = ".".join(map(str, av.library_versions["libavcodec"]))
        return f"pyav {av.__version__}, libavcodec {codec}, libswscale {scaler}"

    def probe(self, path: Path, *, exact: bool = False) -> VideoInfo:
        return probe(path, exact)

    def pictures(self, info: VideoInfo, wanted: Wanted, *, num_threads: int) -> Iterator[tuple[int, Pictures]]:
        last = last_wanted(wanted)
        index = -1
        scaler = Scaler(info.orientation, info.pixel_aspect)
        try:
            for frame in _frames(info, num_threads):
                report_alive()
                index += 1
                if index < len(info.timeline):
                    require_time(info, index, frame.time)
                found = {rule: scaler.picture(frame, rule) for rule, frames in wanted.items() if index in frames}
                if found:
                    yield index, found
                elif index > last + LOOK_AHEAD and index + 1 < len(info.timeline):
                    # The rest of the file is outside the routine and need not be whole.
                    return
        except av.error.FFmpegError as error:
            message = f"{info.path.name} breaks after frame {index + 1} of {len(info.timeline)}: {error.strerror}"
            raise DamageSeen(message) from error
        if index + 1 != len(info.timeline):
            raise FramesNotPackets(
                f"{info.path.name}: {len(info.timeline)} packets gave {index + 1} frames; the file is damaged"
            )


def _frames(info: VideoInfo, num_threads: int) -> Iterator[av.VideoFrame]:
    """All pictures of a file. Raises `DamageSeen` unless the probe has decoded them; then damaged ones are returned too, the same as by
    the probe, with one thread."""
    with open_media(info.path) as container:
        stream = container.streams[info.stream_index]
        codec = stream.codec_context.codec.name
        if info.damaged_seconds or codec not in REPORTED_CODECS:
            num_threads = 1
        stream.thread_type = "AUTO"
        stream.codec_context.thread_count = num_threads or _num_threads(codec)
        if info.damaged_seconds is None:
            # With several threads, a picture of H.264 is sometimes returned before it is marked as damaged; errors are always returned.
            stream.codec_context.options = {"err_detect": "explode"}
        damage = Damage()
        for packet in container.demux(stream):
            if info.damaged_seconds is None:
                for frame in packet.decode():
                    if frame.is_corrupt:
                        raise DamageSeen(f"{info.path.name}: a picture at {frame.time} s is damaged")
                    yield frame
            else:
                yield from damage.decode(packet)


def require_undamaged(info: VideoInfo, wanted: Wanted, num_threads: int, name: str) -> None:
    """For decoders that fill damaged pictures without a word, or return pictures for packets that cannot be decoded: decode the file once
    with PyAV. Raises `DamageSeen`, `FramesNotPackets`, `DecoderUnfit`."""
    if info.damaged_seconds:
        raise DecoderUnfit(f"{name} is not for {info.path.name}: it has damaged pictures; use --decoder pyav or auto")
    last = last_wanted(wanted)
    for _ in PyAVDecoder().pictures(info, {rule: {last} for rule in list(wanted)[:1]}, num_threads=num_threads):
        pass


def _num_threads(codec: str) -> int:
    """Two more than there are processors. FFmpeg itself takes one more and assumes a caller that is always waiting; ours scales pictures
    between two calls. dav1d chooses its own number (0)."""
    if codec == "libdav1d":
        return 0
    number = len(processors())
    return min(number + 2, MOST_THREADS) if number > 1 else 1
