"""Draw a head's view into a video: the attention of every clip as bars below the picture, and the score so far."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path

import av
import av.error
import numpy as np
from av.container import InputContainer, OutputContainer
from PIL import Image, ImageDraw, ImageFont

from longtake.extract.decode import get_decoder
from longtake.extract.decode.base import Decoder, VideoInfo, with_true_times
from longtake.extract.decode.scale import resized
from longtake.extract.decode.streams import file_url, open_media, sound_stream
from longtake.extract.errors import ExtractError, VideoError
from longtake.extract.preprocessing import FrameRule
from longtake.files import temporary_path, write_target

MOST_PIXELS = 540
"""Of the shorter side; larger videos are scaled down."""
CLOCK = Fraction(1, 90_000)
INK, DIM, BAR, NOW, PAPER = (240, 240, 240), (150, 150, 150), (70, 120, 190), (255, 180, 60), (24, 24, 28)


@dataclass(frozen=True)
class Track:
    """What the heads of one score say about the clips of a video; times in seconds from the first picture."""

    title: str
    start_seconds: Sequence[float]
    end_seconds: Sequence[float]
    shares: Sequence[float]
    """Share of the attention per clip; empty for a head without attention."""
    running: Sequence[str]
    """The score after each clip, as text."""


def draw_overlay(video: Path, out: Path, tracks: Sequence[Track]) -> None:
    """Write `out`, an MP4 with the sound of `video`. Raises `ExtractError` if it cannot be written, and `VideoError`; an existing `out`
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
        with_true_times(partial(decoder.probe, video), lambda info: _draw(decoder, info, temporary, tracks))
        os.replace(temporary, out)
    except VideoError:
        raise
    except (av.error.FFmpegError, av.codec.codec.UnknownCodecError, ValueError, OSError) as error:
        raise ExtractError(f"cannot write the video {out}: {getattr(error, 'strerror', None) or error}") from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def _draw(decoder: Decoder, info: VideoInfo, out: Path, tracks: Sequence[Track]) -> None:
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


class Panel:
    """The strip below the picture: for each track a line of text and, with attention, bars over time."""

    def __init__(self, width: int, tracks: Sequence[Track]) -> None:
        self._width, self._tracks = width, tracks
        self._line = max(width // 32, 12)
        self._font = ImageFont.load_default(self._line * 0.8)
        self._bars = 2 * self._line
        self._tops, top = [], self._line // 4
        for track in tracks:
            self._tops.append(top)
            top += self._line * 5 // 4 + (self._bars if track.shares else 0) + self._line // 4
        self.height = top + top % 2
        self._paper = Image.new("RGB", (width, self.height), PAPER)
        self._end = max((track.end_seconds[-1] for track in tracks if track.end_seconds), default=1.0)
        draw = ImageDraw.Draw(self._paper)
        for track, top in zip(tracks, self._tops):
            for box in self._boxes(track, top):
                draw.rectangle(box, fill=BAR)

    def _x(self, seconds: float) -> int:
        return min(int(seconds / self._end * self._width), self._width - 1)

    def _boxes(self, track: Track, top: int) -> list[tuple[int, int, int, int]]:
        """Left, top, right and bottom of each clip's bar."""
        highest = max(track.shares, default=1.0) or 1.0
        foot = top + self._line * 5 // 4 + self._bars
        boxes = []
        for start, end, share in zip(track.start_seconds, track.end_seconds, track.shares):
            left, height = self._x(start), max(round(share / highest * self._bars), 1)
            boxes.append((left, foot - height, max(self._x(end) - 1, left), foot))
        return boxes

    def at(self, seconds: float) -> np.ndarray:
        """uint8 `(height, width, 3)`: the strip at a moment."""
        picture = self._paper.copy()
        draw = ImageDraw.Draw(picture)
        for track, top in zip(self._tracks, self._tops):
            # Clips may overlap or leave gaps: the last one that has begun counts.
            index = max(int(np.searchsorted(track.start_seconds, seconds, side="right")) - 1, 0)
            boxes = self._boxes(track, top)
            if boxes:
                draw.rectangle(boxes[index], fill=NOW)
                x = self._x(seconds)
                draw.line((x, top + self._line * 5 // 4, x, top + self._line * 5 // 4 + self._bars), fill=INK)
            draw.text((4, top), track.title, font=self._font, fill=DIM)
            draw.text((self._width - 4, top), track.running[index], font=self._font, fill=INK, anchor="ra")
        return np.asarray(picture)
