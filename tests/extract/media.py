"""Synthetic videos whose pictures carry their own number, so that a test can say which frame it was given."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from longtake.extract.decode import get_decoder
from longtake.extract.decode.base import with_true_times
from longtake.extract.preprocessing import FrameRule

BITS = 10

WIDTH, HEIGHT = 32 * BITS, 160


def numbered_picture(number: int) -> np.ndarray:
    """BITS columns, white for 1 and black for 0, most significant at the left; uint8 `(HEIGHT, WIDTH, 3)`."""
    bits = [(number >> (BITS - 1 - column)) & 1 for column in range(BITS)]
    row = np.repeat(np.array(bits, np.uint8) * 220 + 16, WIDTH // BITS)
    return np.broadcast_to(row[None, :, None], (HEIGHT, WIDTH, 3)).copy()


def read_number(picture: np.ndarray) -> int:
    """The number of a whole picture of any size, upright and not cropped."""
    columns = np.array_split(picture.mean(axis=(0, 2)), BITS)
    bits = [int(column[len(column) // 4 : -len(column) // 4].mean() > 128) for column in columns]
    return int("".join(map(str, bits)), 2)


def write_video(
    path: Path, num_frames: int, *, fps: int = 25, seconds: Sequence[float] | None = None, codec: str = "libx264"
) -> Path:
    """Frames 0, 1, 2, ... at a constant rate, or at the given `seconds`."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=fps)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        unit = Fraction(1, fps) if seconds is None else Fraction(1, 1000)
        stream.codec_context.time_base = stream.time_base = unit
        for number in range(num_frames):
            frame = av.VideoFrame.from_ndarray(numbered_picture(number), "rgb24")
            frame.time_base = unit
            frame.pts = number if seconds is None else round(1000 * seconds[number])
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def write_sound(path: Path) -> Path:
    """A file without pictures."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 16000), np.float32), "fltp", "mono")
        frame.rate, frame.pts = 16000, 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def write_av(
    path: Path, *, seconds: float = 6.0, fps: int = 25, flash: float | None = None, click: float | None = None,
    rate: int = 48_000, layout: str = "stereo", sound_start: float = 0.0, title: str = "",
) -> Path:  # fmt: skip
    """Dark pictures with one bright frame at `flash`, silence with a click of 20 ms at `click`."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=fps)
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        audio = container.add_stream("aac" if layout != "5.1" else "ac3", rate=rate, layout=layout)
        channels = len(av.AudioLayout(layout).channels)
        for place in (container, video, audio):
            place.metadata.update({"title": title} if title else {})
        for number in range(round(seconds * fps)):
            bright = flash is not None and number == round(flash * fps)
            picture = np.full((HEIGHT, WIDTH, 3), 235 if bright else 16, np.uint8)
            frame = av.VideoFrame.from_ndarray(picture, "rgb24")
            frame.pts, frame.time_base = number, Fraction(1, fps)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        samples = np.zeros((channels, round((seconds - sound_start) * rate)), np.float32)
        if click is not None:
            begin = round((click - sound_start) * rate)
            samples[:, begin : begin + rate // 50] = np.sin(np.arange(rate // 50) * 2 * np.pi * 1000 / rate) * 0.8
        for begin in range(0, samples.shape[1] - 1535, 1536):
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples[:, begin : begin + 1536]), "fltp", layout)
            frame.rate, frame.pts, frame.time_base = rate, begin + round(sound_start * rate), Fraction(1, rate)
            container.mux(audio.encode(frame))
        container.mux(audio.encode(None))
    return path


def remux(source: Path, target: Path, keep, options=None) -> Path:
    """The packets of a file into another; `keep` may change each, and returns whether to keep it."""
    with av.open(str(source)) as before, av.open(str(target), "w", options=options or {}) as after:
        stream = after.add_stream_from_template(before.streams.video[0])
        for packet in before.demux(video=0):
            if packet.size and keep(packet):
                packet.stream = stream
                after.mux(packet)
    return target


def groups_of_25(path: Path, num_frames: int, **options: str) -> Path:
    """A key frame every second, none in between, and pictures stored in the order in which they are shown. The same bytes on every machine: x264's
    depend on its number of threads, which is otherwise that of the processors."""
    fixed = {"g": "25", "bf": "0", "sc_threshold": "0", "threads": "3"}
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={**fixed, **options})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for number in range(num_frames):
            frame = av.VideoFrame.from_ndarray(numbered_picture(number), "rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def without_the_first(source: Path, target: Path) -> Path:
    first = True

    def all_but_the_first(packet):
        nonlocal first
        first, was_first = False, first
        return not was_first

    return remux(source, target, all_but_the_first)


def repeated(path: Path) -> Path:
    """Frame 5 claims the time of frame 4."""

    def same_moment(packet):
        if packet.pts == 200:
            packet.pts = packet.dts = 160
        return True

    groups_of_25(path.with_name("whole.mkv"), 20)
    return remux(path.with_name("whole.mkv"), path, same_moment)


WHOLE = FrameRule(HEIGHT, HEIGHT, WIDTH, (0.0,) * 3, (1.0,) * 3)
PYAV = get_decoder("pyav")


def read(path: Path, wanted=None) -> tuple[list[float], list[int]]:
    """Times and numbers of the pictures, as a run reads them."""

    def look(info):
        frames = set(range(len(info.timeline))) if wanted is None else wanted
        found = list(PYAV.pictures(info, {WHOLE: frames}, num_threads=1))
        return [float(info.timeline.seconds[i]) for i, _ in found], [read_number(p[WHOLE]) for _, p in found]

    return with_true_times(lambda *, exact: PYAV.probe(path, exact=exact), look)


def everything(info):
    return {WHOLE: set(range(len(info.timeline)))}


def numbers(decoder, path, wanted=None):
    info = decoder.probe(path)
    wanted = set(range(len(info.timeline))) if wanted is None else wanted
    found = list(decoder.pictures(info, {WHOLE: wanted}, num_threads=1))
    assert [read_number(pictures[WHOLE]) for _, pictures in found] == [index for index, _ in found]
    return info, [index for index, _ in found]
