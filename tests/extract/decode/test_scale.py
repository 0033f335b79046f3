"""From a frame to the network's picture: sizes, crops and borders."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from longtake.extract.decode.orientation import Orientation
from longtake.extract.decode.scale import Scaler, centre_crop, resized, rgb_frame
from longtake.extract.preprocessing import OPENCV_BILINEAR, PILLOW_BILINEAR, SWSCALE_BILINEAR, FrameRule


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
    found = Scaler(Orientation(quarter_turns=1)).picture(rgb_frame(picture), rule)
    assert found.shape == (16, 16, 3)
    assert (found[:8] == 200).all() and not found[8:].any()


@pytest.mark.parametrize("resize", [SWSCALE_BILINEAR, PILLOW_BILINEAR])
@pytest.mark.parametrize("turns", [0, 1])
def test_pixels_that_are_not_square_are_stretched_when_asked(resize, turns):
    """45x64 pixels of 64:45 are shown as a square, upright or turned; without the option they are scaled as they are."""
    picture = np.zeros((64, 45, 3), np.uint8)
    picture[:, 20:25] = 200
    orientation = Orientation(quarter_turns=turns)
    aspect = Fraction(45, 64) if turns else Fraction(64, 45)
    rule = FrameRule(64, 64, 64, (0.0,) * 3, (1.0,) * 3, resize)
    scaler = Scaler(orientation, aspect)
    square = np.rot90(scaler.picture(rgb_frame(picture), replace(rule, square_pixels=True)), turns)
    bright = np.flatnonzero(square[32, :, 0] > 100)
    assert 5 * 64 / 45 - 2 < len(bright) < 5 * 64 / 45 + 2
    np.testing.assert_array_equal(
        scaler.picture(rgb_frame(picture), rule), Scaler(orientation).picture(rgb_frame(picture), rule)
    )


@pytest.mark.parametrize("resize", [SWSCALE_BILINEAR, PILLOW_BILINEAR])
@pytest.mark.parametrize("turns", [0, 1])
def test_the_whole_picture_is_squashed_when_the_rule_says_so(resize, turns):
    picture = np.zeros((40, 80, 3), np.uint8)
    picture[:, :10] = picture[:, -10:] = 200  # a crop of the centre would lose both
    rule = FrameRule(32, 32, 32, (0.0,) * 3, (1.0,) * 3, resize, squash=True)
    found = np.rot90(Scaler(Orientation(quarter_turns=turns)).picture(rgb_frame(picture), rule), turns)
    assert found.shape == (32, 32, 3)
    assert (found[:, :3] == 200).all() and (found[:, -3:] == 200).all() and not found[:, 6:-6].any()
    assert rule.facts()["squash"] is True and "squash" not in replace(rule, squash=False).facts()


def test_pictures_are_stretched_before_the_crop_as_torchvisions_videos_are():
    torch = pytest.importorskip("torch")
    from torchvision.transforms import functional

    picture = np.random.default_rng(0).integers(0, 256, (90, 130, 3), np.uint8)
    rule = FrameRule(48, 40, 40, (0.0,) * 3, (1.0,) * 3, OPENCV_BILINEAR, stretch_height=48, stretch_width=64)
    found = Scaler().picture(rgb_frame(picture), rule)
    whole = functional.resize(torch.from_numpy(picture).permute(2, 0, 1), [48, 64], antialias=False)
    expected = functional.center_crop(whole, [40, 40]).permute(1, 2, 0).numpy()
    assert np.abs(found.astype(int) - expected).max() <= 1, "they round at another place"


def test_the_shape_of_pixels_is_in_the_recipe_only_when_it_is_used():
    rule = FrameRule(64, 64, 64, (0.0,) * 3, (1.0,) * 3)
    assert "square_pixels" not in rule.facts()
    assert replace(rule, square_pixels=True).facts()["square_pixels"] is True
