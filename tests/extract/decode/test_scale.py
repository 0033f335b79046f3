"""From a frame to the network's picture: sizes, crops and borders."""

from __future__ import annotations

import numpy as np
import pytest

from longtake.extract.decode.scale import Scaler, centre_crop, resized, rgb_frame
from longtake.extract.preprocessing import PILLOW_BILINEAR, SWSCALE_BILINEAR, FrameRule


@pytest.mark.parametrize(
    "size, expected",
    [((640, 360), (455, 256)), ((360, 640), (256, 455)), ((100, 100), (256, 256)), ((333, 250), (340, 256))],
)
def test_the_aspect_ratio_is_kept_and_the_longer_side_rounded_down(size, expected):
    assert resized(*size, 256) == expected


def test_a_crop_is_from_the_centre_and_has_borders_where_the_picture_is_smaller():
    picture = np.arange(5 * 7 * 3, dtype=np.uint8).reshape(5, 7, 3)
    np.testing.assert_array_equal(centre_crop(picture, 3, 3), picture[1:4, 2:5])
    found = centre_crop(picture, 7, 3)
    np.testing.assert_array_equal(found[1:6], picture[:, 2:5])
    assert found.shape == (7, 3, 3) and not found[0].any() and not found[6].any()


@pytest.mark.parametrize("resize", [SWSCALE_BILINEAR, PILLOW_BILINEAR])
def test_frames_are_turned_clockwise_before_the_crop(resize):
    picture = np.zeros((16, 32, 3), np.uint8)
    picture[:, :16] = 200  # the left half is at the top after a quarter turn clockwise
    rule = FrameRule(16, 16, 16, (0.0,) * 3, (1.0,) * 3, resize)
    found = Scaler(90).picture(rgb_frame(picture), rule)
    assert found.shape == (16, 16, 3)
    assert (found[:8] == 200).all() and not found[8:].any()
