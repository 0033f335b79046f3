"""Folders as video_features (github.com/v-iashin/video_features) writes them: `NAME_rgb.npy`, `NAME_fps.npy`, `NAME_timestamps_ms.npy`."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from longtake.errors import LongtakeError
from longtake.features.errors import FeaturesError, InvalidFeatures
from longtake.features.imports.layouts import SourceVideo
from longtake.features.imports.mapping import Found, Mapped, Unique, named
from longtake.features.imports.path_pattern import find_files
from longtake.features.imports.safe_pickle import read_array, read_values

FPS, TIMES = "_fps", "_timestamps_ms"
STACKS = ("rgb", "flow")
"""Kinds of I3D, whose times are those of the last frames of stacks: the end of each clip."""


def find_video_features(source: Path, mapped: Mapped) -> Found:
    """The videos of one kind of features, `mapped.features`, such as `rgb`, `flow`, `clip` or `r21d`. Raises `FeaturesError` if there are
    several kinds and none is chosen."""
    if not source.is_dir():
        raise FeaturesError(f"there is no folder {source}")
    files = [
        one.path
        for one in find_files(source, "**/*")
        if one.path.suffix in (".npy", ".pkl") and not one.path.stem.endswith((FPS, TIMES))
    ]
    kinds = sorted({path.stem.rpartition("_")[2] for path in files})
    wanted = mapped.features or (kinds[0] if len(kinds) == 1 else "")
    if wanted not in kinds:
        raise FeaturesError(
            f"{source} holds features of the kinds {', '.join(kinds[:20]) or 'none'}: choose one with --features KIND"
            + (f"; there is no {wanted!r}" if wanted else "")
        )
    made = Unique()
    for path in files:
        name, _, kind = path.stem.rpartition("_")
        if kind == wanted:
            where = path.relative_to(source).as_posix()
            read = partial(named, path.name, partial(_pooled, path, mapped))
            has_times = any(path.with_name(f"{name}{kind}{path.suffix}").exists() for kind in (TIMES, FPS))
            made.add(
                name,
                SourceVideo(path, read, partial(_seconds, path, name, mapped) if has_times else None, where),
                where,
            )
    return Found(made.finish(f"**/{{id}}_{wanted}.npy"), {})


def _pooled(path: Path, mapped: Mapped) -> object:
    return mapped.pooled(read_array(path))


def _fps(path: Path, name: str) -> float | None:
    """The rate of the frames, if its file is there and can be read."""
    try:
        value = np.asarray(read_values(path.with_name(f"{name}{FPS}{path.suffix}")))
        fps = float(value.reshape(-1)[0]) if value.size == 1 else 0.0
    except (LongtakeError, ValueError, TypeError):
        return None
    return fps if 0 < fps < 1e6 else None


def _seconds(path: Path, name: str, mapped: Mapped, num_clips: int) -> np.ndarray:
    """A row for each frame has the times of frames, each as long as a frame. A row for each stack of frames has the time where it ends, those of
    its frames, or follows from the rate, where the lengths of stacks and steps are known."""
    fps, times = _fps(path, name), path.with_name(f"{name}{TIMES}{path.suffix}")
    length, stride = mapped.clip_length, mapped.clip_stride
    if times.exists():
        values = read_array(times)
        if path.stem.endswith(tuple(f"_{kind}" for kind in STACKS)) and values.shape == (num_clips,):
            if not (fps and length):
                raise InvalidFeatures(
                    f"{path.name}: its times are those where stacks of frames end, its rate is {fps or 'unknown'}: say --clip-length "
                    f"(stack_size)"
                )
            ends = values.astype(np.float64) / 1000
            return mapped.spans(np.stack([ends - length / fps, ends], 1), num_clips, "seconds")
        if values.shape == (num_clips,) and fps and not length:
            starts = values.astype(np.float64) / 1000
            return mapped.spans(np.stack([starts, starts + 1 / fps], 1), num_clips, "seconds")
        return mapped.spans(values, num_clips, times.name, fps)
    if not (fps and length and stride):
        raise InvalidFeatures(
            f"{path.name}: its rate is {fps or 'unknown'}, but not how many frames a row has: say --clip-length and --clip-stride "
            f"(stack_size and step_size)"
        )
    starts = np.arange(num_clips) * stride / fps
    return mapped.spans(np.stack([starts, starts + length / fps], 1), num_clips, "seconds")
