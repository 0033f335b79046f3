"""Synthetic videos whose pictures carry their own number, so that a test can say which frame it was given."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

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
