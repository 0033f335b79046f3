"""From an upright RGB picture to the network's: the parts of a `FrameRule` that no decoder does by itself."""

from __future__ import annotations

import numpy as np

from longtake.extract.backbones.spec import PILLOW_BICUBIC, FrameRule


def resized(width: int, height: int, short_side: int) -> tuple[int, int]:
    """Keeps the aspect ratio; the longer side is cut to whole pixels, as torchvision's Resize does."""
    if width <= height:
        return short_side, int(short_side * height / width)
    return int(short_side * width / height), short_side


def resize_with_pillow(picture: np.ndarray, width: int, height: int, rule: FrameRule) -> np.ndarray:
    """Antialiased, as torchvision resizes 8-bit pictures."""
    from PIL import Image

    kind = Image.Resampling.BICUBIC if rule.resize == PILLOW_BICUBIC else Image.Resampling.BILINEAR
    return np.asarray(Image.fromarray(np.ascontiguousarray(picture)).resize((width, height), kind))


def centre_crop(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    """uint8 `(height, width, 3)`; black borders where the picture is smaller."""
    missing = [max(wanted - have, 0) for wanted, have in zip((height, width), picture.shape)]
    if any(missing):
        picture = np.pad(picture, [*((gap // 2, gap - gap // 2) for gap in missing), (0, 0)])
    top = round((picture.shape[0] - height) / 2)
    left = round((picture.shape[1] - width) / 2)
    return np.ascontiguousarray(picture[top : top + height, left : left + width])
