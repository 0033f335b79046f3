"""Mirrors and turns: every display matrix, read from files, against the definition of the matrix."""

from __future__ import annotations

import math
import struct
from pathlib import Path

import av
import numpy as np
import pytest

from longtake.extract.decode import get_decoder
from longtake.extract.decode.orientation import UPRIGHT, Orientation, orientation_of
from longtake.extract.errors import DecoderUnfit, ExtractError
from longtake.extract.preprocessing import PILLOW_BILINEAR, SWSCALE_BILINEAR, FrameRule

RIGHT_ANGLES = [m for one in (-1, 1) for two in (-1, 1) for m in ((one, 0, 0, two), (0, one, two, 0))]
"""The four turns and their four mirrors, as `a b c d`."""


def turned(degrees: float, mirrored: bool = False) -> tuple[float, float, float, float]:
    """A turn clockwise, after a mirror."""
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return (-cos, -sin, -sin, cos) if mirrored else (cos, sin, -sin, cos)


def with_matrix(path: Path, matrix: tuple[float, float, float, float]) -> Path:
    """An MP4 of one picture, 64x48, bright at its top left, with that display matrix in its track's header."""
    picture = np.full((48, 64, 3), 30, np.uint8)
    picture[:24, :16] = 220
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"qp": "5"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        container.mux(stream.encode(None))
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 44
    a, b, c, d = (round(65536 * value) for value in matrix)
    data[at : at + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    return path


def by_definition(picture: np.ndarray, a: int, b: int, c: int, d: int) -> np.ndarray:
    """Every stored pixel (x, y) goes to (a x + c y, b x + d y)."""
    height, width = picture.shape[:2]
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    to_x, to_y = a * x + c * y, b * x + d * y
    to_x, to_y = to_x - to_x.min(), to_y - to_y.min()
    shown = np.zeros((to_y.max() + 1, to_x.max() + 1, 3), np.uint8)
    shown[to_y, to_x] = picture
    return shown


@pytest.mark.parametrize("resize", [SWSCALE_BILINEAR, PILLOW_BILINEAR])
@pytest.mark.parametrize("matrix", RIGHT_ANGLES)
def test_every_mirror_and_turn(tmp_path, matrix, resize):
    path = with_matrix(tmp_path / "a.mp4", matrix)
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
        expected = by_definition(frame.to_ndarray(format="rgb24"), *matrix)
    decoder = get_decoder("pyav")
    info = decoder.probe(path)
    assert (info.height, info.width) == expected.shape[:2]
    rule = FrameRule(48, 48, 48, (0.0,) * 3, (1.0,) * 3, resize)
    left, top = (info.width - 48) // 2, (info.height - 48) // 2
    _, pictures = next(decoder.pictures(info, {rule: {0}}, num_threads=1))
    assert np.abs(pictures[rule].astype(int) - expected[top : top + 48, left : left + 48]).max() <= 3


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("degrees, turns", [(5, 0), (-40, 0), (50, 1), (175, 2), (-170, 2), (268, 3), (-80, 3)])
def test_odd_turns_go_to_the_nearest_quarter(tmp_path, degrees, turns, mirrored):
    path = with_matrix(tmp_path / "a.mp4", turned(degrees, mirrored))
    assert get_decoder("pyav").probe(path).orientation == Orientation(mirrored, turns, plain=False)


def test_a_matrix_that_says_nothing(tmp_path):
    for matrix in ((1, 0, 0, 1), (0, 0, 0, 0), turned(0.4)):
        path = with_matrix(tmp_path / "a.mp4", matrix)
        with av.open(str(path)) as container:
            assert orientation_of(next(container.decode(video=0))) == UPRIGHT


@pytest.mark.parametrize("name", ["decord", "torchcodec"])
def test_decoders_that_turn_pictures_themselves_refuse_what_they_get_wrong(tmp_path, name):
    try:
        decoder = get_decoder(name)
    except ExtractError as error:
        pytest.skip(str(error))
    for matrix in (turned(0, mirrored=True), turned(180, mirrored=True), turned(5)):
        info = decoder.probe(with_matrix(tmp_path / "a.mp4", matrix))
        with pytest.raises(DecoderUnfit, match="mirrored pictures, or odd turns, .*; use --decoder pyav or auto"):
            next(decoder.pictures(info, {FrameRule(48, 48, 48, (0.0,) * 3, (1.0,) * 3): {0}}, num_threads=1))
    assert decoder.unfit(decoder.probe(with_matrix(tmp_path / "a.mp4", turned(90)))) == ""
