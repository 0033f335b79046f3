"""decord: fast, but wrong on some files. PyAV probes each file; decord only decodes pictures.

Known faults are refused: it returns wrong frames of MPEG-TS and AVI and wrong colours of 10-bit video, picks a stream of its own where
there are several, and does not decode AV1. It is no longer maintained, and hangs on some files.
"""

from __future__ import annotations

from collections.abc import Iterator

import decord
import numpy as np
from decord._ffi.base import DECORDError

from longtake.extract.decode.base import Decoder, Pictures, VideoInfo, Wanted, last_wanted, unfit_turn
from longtake.extract.decode.killable import report_alive
from longtake.extract.decode.pyav import PyAVDecoder, require_undamaged
from longtake.extract.decode.scale import Scaler, rgb_frame, shown_size
from longtake.extract.decode.streams import file_url
from longtake.extract.errors import FramesNotPackets, VideoTruncated, VideoUnreadable
from longtake.extract.preprocessing import SWSCALE_BILINEAR, FrameRule

CONTAINERS_WRONG = ("avi", "mpegts")
CODECS = ("h264", "hevc", "mpeg4", "vp9")
PIXEL_FORMATS = ("yuv420p",)
"""For these its pictures equal those of the ffmpeg command line."""

decord.logging.set_level(decord.logging.QUIET)


class DecordDecoder(Decoder):
    name = "decord"
    probe = PyAVDecoder.probe

    def description(self) -> str:
        own = f"decord {decord.__version__}, with its own libswscale for the first resize"
        return f"{own}; {PyAVDecoder().description()}"

    def unfit(self, info: VideoInfo) -> str:
        if info.container in CONTAINERS_WRONG:
            return f"it returns wrong frames of {info.container}"
        if info.codec not in CODECS:
            return f"its pictures of {info.codec} were not compared with anything"
        if info.pixel_format not in PIXEL_FORMATS:
            return f"its colours of {info.pixel_format} are not those of FFmpeg"
        if info.num_video_streams > 1:
            return f"of {info.num_video_streams} picture streams it takes one of its own choice"
        return unfit_turn(info)

    def pictures(self, info: VideoInfo, wanted: Wanted, *, num_threads: int) -> Iterator[tuple[int, Pictures]]:
        """Each size has its own reader, so that a rule's pictures do not depend on the other rules."""
        require_undamaged(info, wanted, num_threads, self.name)
        index = -1
        try:
            readers = {size: _open(info, *size, num_threads) for size in {_size(info, rule) for rule in wanted}}
            whole, scaled = Scaler(pixel_aspect=info.pixel_aspect), Scaler()
            for index in range(last_wanted(wanted) + 1):
                report_alive()
                rules = [rule for rule, frames in wanted.items() if index in frames]
                if not rules:
                    for reader in readers.values():
                        reader.skip_frames(1)
                    continue
                frames = {size: rgb_frame(reader.next().asnumpy()) for size, reader in readers.items()}
                yield (
                    index,
                    {
                        rule: (scaled if rule.resize == SWSCALE_BILINEAR else whole).picture(
                            frames[_size(info, rule)], rule
                        )
                        for rule in rules
                    },
                )
        except (DECORDError, StopIteration) as error:
            raise VideoTruncated(
                f"{info.path.name} breaks after frame {index} of {len(info.timeline)}: decord reads no further"
            ) from error


def _size(info: VideoInfo, rule: FrameRule) -> tuple[int, int]:
    """Width and height to ask of decord: its resize is bit for bit FFmpeg's bilinear; other filters need the whole frame."""
    if rule.resize == SWSCALE_BILINEAR:
        return shown_size(info.width, info.height, info.pixel_aspect, rule)
    return info.width, info.height


def _open(info: VideoInfo, width: int, height: int, num_threads: int) -> decord.VideoReader:
    try:
        reader = decord.VideoReader(file_url(info.path), decord.cpu(0), width, height, num_threads)
    except DECORDError as error:
        raise VideoUnreadable(
            f"{info.path.name}: decord cannot open it, though PyAV can; use --decoder pyav"
        ) from error
    times = reader.get_frame_timestamp(np.arange(len(reader)))[:, 0] if len(reader) == len(info.timeline) else None
    planned, gap = info.timeline.seconds - info.timeline.seconds[0], 1 / info.timeline.fps
    if times is None or np.abs(times - times[0] - planned).max() > gap / 2:
        raise FramesNotPackets(
            f"{info.path.name}: decord's frames are not those of the file, or at other times; use --decoder pyav"
        )
    return reader
