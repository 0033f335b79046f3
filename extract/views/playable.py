"""A video that browsers play, for pages: the file itself, or an MP4 with the same times and the same sound."""

from __future__ import annotations

import os
import shutil
from functools import partial
from pathlib import Path

from longtake.extract.decode import get_decoder
from longtake.extract.decode.base import VideoInfo, with_true_times
from longtake.extract.views.overlay import draw_overlay
from longtake.files import temporary_path

PLAYED = {("mp4", "h264"), ("mov", "h264"), ("webm", "vp8"), ("webm", "vp9"), ("webm", "av1"), ("mp4", "av1")}
"""(ending, codec) that all current browsers play."""


def playable(video: Path, out: Path, most_bytes: int) -> str:
    """Write `out` and return its media type. The file itself where browsers play it and it has at most `most_bytes`; else H.264 of at
    most 540 lines. Raises as `draw_overlay` does."""
    decoder = get_decoder("pyav")
    ending = video.suffix.lower().removeprefix(".")
    info = with_true_times(partial(decoder.probe, video), lambda info: info)
    if (ending, info.codec) in PLAYED and _plain(info) and video.stat().st_size <= most_bytes:
        temporary = temporary_path(out)
        shutil.copyfile(video, temporary)
        os.replace(temporary, out)
        return "video/webm" if ending == "webm" else "video/mp4"
    draw_overlay(video, out, [])
    return "video/mp4"


def _plain(info: VideoInfo) -> bool:
    return info.pixel_format in ("yuv420p", "yuvj420p") and info.transfer == "SDR"
