"""Make `(clips, dim)` of arrays with other axes, by a rule that the user states. Nothing is pooled or turned without one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from longtake.features.errors import FeaturesError, InvalidFeatures

CLIP, FEATURE = "clip", "feature"
WORDS = {
    CLIP: "the clips, in time order",
    FEATURE: "the values of a clip",
    "mean": "averaged, such as ten crops",
    "max": "the largest is taken",
    "one": "of length 1, left out",
}


WIDTHS = {384, 512, 768, 1024, 1280, 1408, 1536, 2048, 2304, 4096}
"""Values of a clip that usual networks give, and numbers of clips that few videos have."""


def parse_axes(text: str) -> tuple[str, ...]:
    """Words for the axes of an array, from the first: `mean,clip,feature`. Raises `FeaturesError`."""
    axes = tuple(word.strip() for word in text.split(","))
    unknown = [word for word in axes if word not in WORDS]
    if unknown or axes.count(FEATURE) != 1 or axes.count(CLIP) > 1:
        known = "; ".join(f"{word}: {about}" for word, about in WORDS.items())
        raise FeaturesError(
            f"--axes names each axis of the arrays, with one {FEATURE} and at most one {CLIP}, such as mean,clip,feature for (crops, clips, "
            f"dim), got {text!r}. Words: {known}"
        )
    return axes


def clips_of(array: np.ndarray, axes: Sequence[str] | None) -> np.ndarray:
    """`(clips, dim)`. Without a rule, an array of two axes as it is. A rule without clips makes one clip. Raises `InvalidFeatures`."""
    if axes is None:
        if array.ndim != 2:
            raise InvalidFeatures(f"{array.dtype} {array.shape}; (clips, dim) expected: {_advice(array)}")
        return array
    if array.ndim != len(axes):
        raise InvalidFeatures(f"{array.shape} has {array.ndim} axes, --axes {','.join(axes)} names {len(axes)}")
    left = list(axes)
    for word in axes:
        place = left.index(word)
        if word == "one" and array.shape[place] != 1:
            raise InvalidFeatures(f"{array.shape}: axis {axes.index(word)} is not of length 1, as --axes says")
        if word in ("mean", "max", "one"):
            if not array.size:
                raise InvalidFeatures(f"{array.shape} has no values")
            array = array.mean(place, dtype=np.float64).astype(array.dtype) if word == "mean" else array.max(place)
            del left[place]
    if CLIP not in left:
        return array[None]
    return array if left == [CLIP, FEATURE] else array.T


def _advice(array: np.ndarray) -> str:
    if array.ndim == 1:
        return f"say --axes feature if the {array.size} values are one clip"
    if 1 in array.shape and array.ndim == 3:
        rest = iter(("clip", "feature"))
        words = ["one" if axis == array.shape.index(1) else next(rest) for axis in range(3)]
        return f"say --axes {','.join(words)}, if these are the axes"
    return "say what each axis is, such as --axes mean,clip,feature for (crops, clips, dim), or clip,feature,mean,mean for a map"


def look_transposed(shapes: Sequence[tuple[int, int]], *, has_rule: bool) -> bool:
    """Whether arrays seem to be `(dim, clips)`: the first axis is the same in all videos and the second is not or, where the user did not say
    what the axes are, the first is a width that networks have and the second is none."""
    first, second = {shape[0] for shape in shapes}, {shape[1] for shape in shapes}
    if len(first) > 1 or not shapes:
        return False
    return len(second) > 1 or (not has_rule and first <= WIDTHS and not second & WIDTHS)
