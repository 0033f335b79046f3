"""Small pictures of moments of a video, for pages."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from extract.backbones.spec import FrameRule
from extract.decode import get_decoder
from extract.decode.frames import resized
from extract.errors import VideoMissing
from extract.sources import find_video, index_by_stem
from manifests.table import ManifestRow

SHORT_SIDE = 120


def thumbnails(folder: Path, video_id: str, source_name: str, seconds: Sequence[float]) -> list[bytes]:
    """A JPEG of the frame shown at each of `seconds`, which ascend. Raises `VideoError` for a file that is missing or broken."""
    path = folder / Path(source_name).name if source_name else folder
    if not path.is_file():
        if not folder.is_dir():
            raise VideoMissing(f"no folder {folder}")
        path = find_video(ManifestRow(video_id), folder, index_by_stem(folder))
    decoder = get_decoder("pyav")
    info = decoder.probe(path)
    wanted = np.searchsorted(info.timeline.seconds, np.asarray(seconds) + 1e-6, side="right") - 1
    wanted = np.clip(wanted, 0, len(info.timeline) - 1)
    width, height = resized(info.width, info.height, SHORT_SIDE)
    rule = FrameRule(SHORT_SIDE, height, width, (0.0,) * 3, (1.0,) * 3)
    found = {}
    for index, pictures in decoder.pictures(info, {rule: set(wanted.tolist())}, num_threads=0):
        file = BytesIO()
        Image.fromarray(pictures[rule]).save(file, "JPEG", quality=80)
        found[index] = file.getvalue()
    return [found[index] for index in wanted.tolist()]
