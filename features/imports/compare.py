"""Compare features with released ones, clip by clip: the best shift in time and the likeliest cause of a difference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from longtake.features.errors import FeaturesError, InvalidFeatures
from longtake.features.imports.layouts import SourceVideo, find_videos
from longtake.features.stream import Stream
from longtake.features.types import OK

MOST_SHIFT = 5
"""Largest shift of the reference, in clips, to either side in the search for the best fit."""
SAME, CLOSE, ALIKE = 0.9999, 0.97, 0.5
"""Likeness from which features count as equal up to rounding; as made with another decoder, filter or precision; as made from the
same moments with another crop, size or order of channels."""
SAME_RECIPE = "the same recipe"
"""What `likely_cause` returns for equal features."""


@dataclass(frozen=True)
class Comparison:
    """One video. Cosines are means over the clips that both sides have."""

    video_id: str
    num_clips: int
    reference_clips: int
    shift: int
    """Delay of the reference, in clips, at which both agree best."""
    stretched: bool
    """Both agree best when the clips of one are stretched over those of the other, which has another rate or stride."""
    cosine: float
    background: float
    """Mean cosine of clips that do not correspond. It is high for all networks that end in a ReLU, so a cosine means little without it."""
    length_ratio: float
    """Length of our vectors divided by theirs."""

    @property
    def likeness(self) -> float:
        """1 for equal directions, about 0 for clips of different moments."""
        return (self.cosine - self.background) / max(1 - self.background, 1e-9)


def find_references(layout: str, paths: Sequence[Path]) -> dict[str, SourceVideo]:
    """The videos of several files or folders. Raises `FeaturesError` if a video is in two of them, or if there are none."""
    videos: dict[str, SourceVideo] = {}
    for path in paths:
        for name, video in find_videos(layout, path, None).items():
            if name in videos:
                raise FeaturesError(
                    f"{videos[name].path} and {video.path} both hold {name}: compare with one of them at a time"
                )
            videos[name] = video
    return videos


def compare_with(stream: Stream, videos: Mapping[str, SourceVideo]) -> list[Comparison]:
    """Every video that both have. Raises `FeaturesError` if there is none, or if the widths differ."""
    rows = {
        name: row
        for row, (name, status) in enumerate(zip(stream.videos.video_ids, stream.videos.statuses))
        if status == OK and name in videos
    }
    if not rows:
        raise FeaturesError(
            f"none of the {len(videos)} reference videos, such as {next(iter(videos))}, is in the store's {stream.name}"
        )
    return [_compare(name, stream.read(row).features, videos[name]) for name, row in rows.items()]


def _compare(video_id: str, ours: np.ndarray, video: SourceVideo) -> Comparison:
    theirs = np.asarray(video.read())
    if theirs.ndim != 2 or not np.issubdtype(theirs.dtype, np.number):
        raise InvalidFeatures(f"{video.path} holds {theirs.dtype} {theirs.shape}; (clips, dim) is expected")
    if theirs.shape[1] != ours.shape[1]:
        raise FeaturesError(
            f"{video.path} is {theirs.shape[1]} wide, our features {ours.shape[1]}: they are of another backbone or layer"
        )
    if not len(theirs) or not np.isfinite(theirs).all():
        raise InvalidFeatures(f"{video.path} is empty or contains NaN or infinity")
    ours, theirs = ours.astype(np.float64), theirs.astype(np.float64)
    cosines = _unit(ours) @ _unit(theirs).T
    shifts = [s for s in range(-MOST_SHIFT, MOST_SHIFT + 1) if _overlap(cosines, s) * 2 > min(cosines.shape)]
    best = max(shifts, key=lambda shift: (cosines.diagonal(shift).mean(), -abs(shift)))
    cosine = float(cosines.diagonal(best).mean())
    spread = np.minimum(((np.arange(len(ours)) + 0.5) * len(theirs) / len(ours)).astype(int), len(theirs) - 1)
    stretched = float(cosines[np.arange(len(ours)), spread].mean())
    is_stretched = abs(len(ours) - len(theirs)) > max(1, 0.03 * len(ours)) and stretched > cosine + 1e-6
    far = np.abs(np.arange(len(ours))[:, None] / len(ours) - np.arange(len(theirs))[None] / len(theirs)) > 0.25
    return Comparison(
        video_id,
        len(ours),
        len(theirs),
        0 if is_stretched else int(best),
        is_stretched,
        stretched if is_stretched else cosine,
        float(cosines[far].mean()) if far.any() else 0.0,
        float(np.linalg.norm(ours, axis=1).mean() / max(np.linalg.norm(theirs, axis=1).mean(), 1e-12)),
    )


def _unit(table: np.ndarray) -> np.ndarray:
    return table / np.maximum(np.linalg.norm(table, axis=1, keepdims=True), 1e-12)


def _overlap(cosines: np.ndarray, shift: int) -> int:
    return len(cosines.diagonal(shift)) if -cosines.shape[0] < shift < cosines.shape[1] else 0


def likely_cause(found: Sequence[Comparison]) -> str:
    """One sentence for all videos, from the medians. It is a guess."""
    likeness = float(np.median([c.likeness for c in found]))
    counts = float(np.median([c.reference_clips / c.num_clips for c in found]))
    ratio = float(np.median([c.length_ratio for c in found]))
    shifted = [c.shift for c in found if c.shift]
    if likeness < ALIKE:
        return "other weights or another backbone of the same width, or other videos under these names"
    parts = []
    if sum(c.stretched for c in found) * 2 > len(found):
        parts.append(f"another frame rate or stride: the reference has {counts:.2f} clips for each of ours")
    elif len(shifted) * 2 > len(found):
        parts.append(f"another start: the reference is {int(np.median(shifted)):+d} clips away")
    elif any(c.reference_clips != c.num_clips for c in found):
        parts.append("another tail: the numbers of clips differ at the end")
    if likeness >= SAME and abs(ratio - 1) < 1e-3:
        parts.append(SAME_RECIPE if not parts else "the clips that both have are the same")
    elif likeness >= SAME:
        parts.append(f"another scale: our vectors are {ratio:.3g} times as long, in the same directions")
    elif likeness >= CLOSE:
        parts.append("another decoder, resize filter, precision, or clips that begin some frames apart")
    else:
        parts.append("another crop or size, channels in another order (BGR), or other values for mean and deviation")
    return "; ".join(parts)
