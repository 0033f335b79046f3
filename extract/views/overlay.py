"""Draw a head's view into a video: below the picture, the attention of every clip as bars, and the score so far on its range."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import suppress
from fractions import Fraction
from functools import partial
from pathlib import Path

import av
import av.error
import numpy as np
from av.container import InputContainer, OutputContainer

from longtake.errors import LongtakeWarning
from longtake.extract.decode import get_decoder
from longtake.extract.decode.base import Decoder, VideoInfo, with_true_times
from longtake.extract.decode.scale import resized
from longtake.extract.decode.streams import file_url, open_media, sound_stream
from longtake.extract.errors import ExtractError, VideoError
from longtake.extract.preprocessing import FrameRule
from longtake.extract.views.panel import Panel, Track
from longtake.files import temporary_path, write_target

MOST_PIXELS = 540
"""Of the shorter side; larger videos are scaled down."""
CLOCK = Fraction(1, 90_000)


def draw_overlay(video: Path, out: Path, tracks: Sequence[Track]) -> None:
    """Write `out`, an MP4 with the sound of `video`. Warns where its pictures are scaled down. Raises `ExtractError` if it cannot be written, and `VideoError`; an existing `out`
    is then unchanged."""
    decoder = get_decoder("pyav")
    try:
        out = write_target(out)
    except OSError as error:
        raise ExtractError(f"cannot write the video {out}: {error.strerror}") from error
    if out.exists() and out.samefile(video):
        raise ExtractError(f"the overlay would take the place of {out}: name another file")
    temporary = temporary_path(out)
    try:
        size = with_true_times(partial(decoder.probe, video), lambda info: _draw(decoder, info, temporary, tracks))
        os.replace(temporary, out)
        if size:
            warnings.warn(f"{out}: {size}", LongtakeWarning, stacklevel=2)
    except VideoError:
        raise
    except (av.error.FFmpegError, av.codec.codec.UnknownCodecError, ValueError, OSError) as error:
        raise ExtractError(f"cannot write the video {out}: {getattr(error, 'strerror', None) or error}") from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def _draw(decoder: Decoder, info: VideoInfo, out: Path, tracks: Sequence[Track]) -> str:
    """Returns what became of the size of the pictures; empty where it is that of the video."""
    short = min(info.width, info.height, MOST_PIXELS)
    # Encoders of 4:2:0 take even sizes only.
    width, height = (side - side % 2 for side in resized(info.width, info.height, short))
    rule = FrameRule(short, height, width, (0.0,) * 3, (1.0,) * 3)
    panel = Panel(width, tracks) if tracks else None
    with av.open(file_url(out), "w", format="mp4") as target, open_media(info.path) as source:
        stream = target.add_stream("libx264", rate=Fraction(info.timeline.fps or 25).limit_denominator(1001))
        stream.width, stream.height, stream.pix_fmt = width, height + (panel.height if panel else 0), "yuv420p"
        stream.codec_context.time_base = CLOCK
        stream.options = {"crf": "23", "preset": "veryfast"}
        sound = _Sound(source, target, info)
        everything = set(range(len(info.timeline)))
        for index, pictures in decoder.pictures(info, {rule: everything}, num_threads=0):
            seconds = float(info.timeline.seconds[index])
            picture = np.concatenate([pictures[rule], panel.at(seconds)]) if panel else pictures[rule]
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = round(seconds / CLOCK), CLOCK
            target.mux(stream.encode(frame))
            sound.copy_until(seconds)
        target.mux(stream.encode())
        sound.copy_until(float("inf"))
    smaller = short < min(info.width, info.height)
    return f"pictures are scaled down from {info.width} x {info.height} to {width} x {height}" if smaller else ""


class _Sound:
    """Copies packets of the first sound stream as the pictures advance; none if MP4 cannot hold its codec."""

    def __init__(self, source: InputContainer, target: OutputContainer, info: VideoInfo) -> None:
        self._target = target
        self._packets: Iterator[av.Packet] = iter(())
        audio = sound_stream(source, info.path)
        if audio and audio.codec_context.name in ("aac", "mp3", "ac3", "opus", "flac"):
            self._stream = target.add_stream_from_template(audio)
            self._shift = round(info.origin_seconds / audio.time_base)
            self._packets = (p for p in source.demux(audio) if p.pts is not None and p.pts >= self._shift)

    def copy_until(self, seconds: float) -> None:
        for packet in self._packets:
            packet.pts -= self._shift
            packet.dts = packet.pts
            packet.stream = self._stream
            at = float(packet.pts * packet.time_base)
            self._target.mux(packet)
            if at > seconds:
                return
