"""Times of clips from files made elsewhere."""

from __future__ import annotations

import numpy as np

from longtake.features.errors import InvalidFeatures


def spans(
    values: np.ndarray, num_clips: int, *, clip_length: int | None, clip_stride: int | None, fps: float | None
) -> np.ndarray:
    """`(clips, 2)`, start and end of each clip in seconds.

    `values` are, in seconds: start and end of each clip; or their starts, where a clip ends after `clip_length` frames or, where that is not
    known, when the next begins, and the last is as long as the one before (a single one: 1 s); or times of frames, of which clip i has
    those from `i * clip_stride` on. Raises `InvalidFeatures`.
    """
    times = np.asarray(values)
    if times.dtype.kind not in "fiu":
        raise InvalidFeatures(f"its times are {times.dtype}; numbers expected")
    times = times.astype(np.float64)
    if times.ndim == 2 and 1 in times.shape and times.shape != (num_clips, 2):
        times = times.reshape(-1)
    if times.shape == (num_clips, 2):
        made = times
    elif times.shape == (num_clips,):
        made = np.stack([times, _ends(times, clip_length, fps)], 1)
    elif times.ndim == 1 and len(times) > num_clips and clip_length and clip_stride:
        made = _of_frames(times, num_clips, clip_length, clip_stride, fps)
    elif times.ndim == 1 and len(times) > num_clips:
        raise InvalidFeatures(
            f"{num_clips} clips have {len(times)} times: if these are times of frames, say --clip-length and --clip-stride in frames"
        )
    else:
        raise InvalidFeatures(
            f"{num_clips} clips have times {times.shape}; ({num_clips},) or ({num_clips}, 2) expected"
        )
    if not np.isfinite(made).all() or (made[:, 1] <= made[:, 0]).any() or (np.diff(made[:, 0]) < 0).any():
        raise InvalidFeatures("its times are not finite and ascending, or a clip ends before it starts")
    return made


def _ends(starts: np.ndarray, clip_length: int | None, fps: float | None) -> np.ndarray:
    if clip_length and fps:
        return starts + clip_length / fps
    steps = np.diff(starts)
    return starts + np.append(steps, steps[-1] if len(steps) else 1.0)


def _of_frames(times: np.ndarray, num_clips: int, length: int, stride: int, fps: float | None) -> np.ndarray:
    frame = 1 / fps if fps else float(np.median(np.diff(times)))
    first = np.arange(num_clips) * stride
    last = first + length - 1
    if last[-1] >= len(times) or first[-1] + 2 * stride + length < len(times):
        expected = max(0, (len(times) - length) // stride + 1)
        raise InvalidFeatures(
            f"{num_clips} clips, but {len(times)} frames make {expected} clips of {length} frames every {stride}"
        )
    return np.stack([times[first], times[last] + frame], 1)
