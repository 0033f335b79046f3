"""Turn a decoder's frame into the network's picture: upright, resized, cropped. All decoders share it, so a rule has one meaning."""

from __future__ import annotations

from collections import defaultdict
from fractions import Fraction

import av
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter

from longtake.extract.decode.orientation import UPRIGHT, Orientation
from longtake.extract.preprocessing import OPENCV_BILINEAR, PILLOW_BICUBIC, SWSCALE_BILINEAR, FrameRule

SQUARE = Fraction(1)


class Scaler:
    """Scales the frames of one file. libswscale computes tables per pair of sizes, so its contexts are kept between frames."""

    def __init__(self, orientation: Orientation = UPRIGHT, pixel_aspect: Fraction = SQUARE) -> None:
        """`orientation` of the frames, `UPRIGHT` if the decoder has turned them; `pixel_aspect` of the upright pictures."""
        self._orientation, self._pixel_aspect = orientation, pixel_aspect
        self._contexts: defaultdict[tuple[int, int, int], VideoReformatter] = defaultdict(VideoReformatter)

    def picture(self, frame: av.VideoFrame, rule: FrameRule) -> np.ndarray:
        """uint8 `(height, width, 3)` of the rule."""
        turn = self._orientation
        width, height = shown_size(*turn.shown(frame.width, frame.height), self._pixel_aspect, rule)
        if rule.resize == SWSCALE_BILINEAR:
            upright = turn.upright(self._rgb(frame, *turn.shown(width, height)))
        else:
            whole = turn.upright(self._rgb(frame, frame.width, frame.height))
            upright = resize_picture(whole, width, height, rule)
        cropped = centre_crop(upright, rule.crop_height, rule.crop_width)
        if not rule.final_height or cropped.shape[:2] == (rule.final_height, rule.final_width):
            return cropped
        if rule.resize != SWSCALE_BILINEAR:
            return resize_picture(cropped, rule.final_width, rule.final_height, rule)
        return np.ascontiguousarray(self._rgb(rgb_frame(cropped), rule.final_width, rule.final_height))

    def _rgb(self, frame: av.VideoFrame, width: int, height: int) -> np.ndarray:
        """A view of the converted frame, or of the frame itself if nothing changes."""
        context = self._contexts[frame.width, width, height]
        # One thread: the decoder's threads keep the cores busy, and slicing a small picture costs more than it gains.
        done = context.reformat(frame, width, height, "rgb24", interpolation=Interpolation.BILINEAR, threads=1)
        plane = done.planes[0]
        rows = np.frombuffer(plane, np.uint8).reshape(height, plane.line_size)
        return rows[:, : width * 3].reshape(height, width, 3)


def rgb_frame(picture: np.ndarray) -> av.VideoFrame:
    """A frame over the memory of a uint8 picture `(height, width, 3)`."""
    return av.VideoFrame.from_numpy_buffer(np.ascontiguousarray(picture), "rgb24")


def shown_size(width: int, height: int, pixel_aspect: Fraction, rule: FrameRule) -> tuple[int, int]:
    """Width and height after the first resize of a rule, before its crop."""
    if rule.stretch_height:
        return rule.stretch_width, rule.stretch_height
    if rule.squash:
        return rule.crop_width, rule.crop_height
    if rule.square_pixels and pixel_aspect != SQUARE:
        # Larger numbers in the same ratio, so that rounding them does not change it.
        return resized(width * pixel_aspect.numerator, height * pixel_aspect.denominator, rule.short_side)
    return resized(width, height, rule.short_side)


def resized(width: int, height: int, short_side: int) -> tuple[int, int]:
    """`(width, height)` with this shorter side and the same aspect ratio; the longer side is rounded down, as torchvision's Resize does."""
    if width <= height:
        return short_side, int(short_side * height / width)
    return int(short_side * width / height), short_side


def resize_picture(picture: np.ndarray, width: int, height: int, rule: FrameRule) -> np.ndarray:
    """Resize as torchvision does for 8-bit pictures, with antialiasing by Pillow or without by OpenCV."""
    if rule.resize == OPENCV_BILINEAR:
        import cv2

        return np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)
    from PIL import Image

    kind = Image.Resampling.BICUBIC if rule.resize == PILLOW_BICUBIC else Image.Resampling.BILINEAR
    return np.asarray(Image.fromarray(np.ascontiguousarray(picture)).resize((width, height), kind))


def centre_crop(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    """uint8 `(height, width, 3)`, with black borders where the picture is smaller."""
    missing = [max(wanted - have, 0) for wanted, have in zip((height, width), picture.shape)]
    if any(missing):
        picture = np.pad(picture, [*((gap // 2, gap - gap // 2) for gap in missing), (0, 0)])
    top = round((picture.shape[0] - height) / 2)
    left = round((picture.shape[1] - width) / 2)
    return np.ascontiguousarray(picture[top : top + height, left : left + width])
