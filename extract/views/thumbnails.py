"""Small pictures of a video at given times, for pages."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from functools import partial
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from longtake.extract.decode import get_decoder
from longtake.extract.decode.base import Decoder, VideoInfo, with_true_times
from longtake.extract.decode.scale import resized
from longtake.extract.errors import VideoMissing
from longtake.extract.find_videos import find_video
from longtake.extract.folders import index_by_stem
from longtake.extract.preprocessing import FrameRule
from longtake.manifests.table import ManifestRow

SHORT_SIDE = 120


def thumbnails(
    folder: Path, video_id: str, source_name: str, seconds: Sequence[float], short_side: int = SHORT_SIDE
) -> list[bytes]:
    """A JPEG of the frame shown at each of `seconds`, which ascend. Raises `VideoError` for a missing or corrupt file."""
    path = _find(folder, video_id, Path(source_name).name)
    decoder = get_decoder("pyav")
    return with_true_times(
        partial(decoder.probe, path), lambda info: _small(decoder, info, np.asarray(seconds), short_side)
    )


def _find(folder: Path, video_id: str, name: str) -> Path:
    """Find the file by name, in any folder below, else by the video's id."""
    if not folder.is_dir():
        raise VideoMissing(f"no folder {folder}")
    if (folder / name).is_file():
        return folder / name
    below = [path for path in folder.rglob(glob.escape(name)) if path.is_file()] if name.strip(".") else []
    return below[0] if len(below) == 1 else find_video(ManifestRow(video_id), folder, index_by_stem(folder))


def _small(decoder: Decoder, info: VideoInfo, seconds: np.ndarray, short_side: int) -> list[bytes]:
    wanted = info.timeline.shown_at(seconds)
    width, height = resized(info.width, info.height, short_side)
    rule = FrameRule(short_side, height, width, (0.0,) * 3, (1.0,) * 3)
    found = {}
    for index, pictures in decoder.pictures(info, {rule: set(wanted.tolist())}, num_threads=0):
        file = BytesIO()
        Image.fromarray(pictures[rule]).save(file, "JPEG", quality=80)
        found[index] = file.getvalue()
    return [found[index] for index in wanted.tolist()]
