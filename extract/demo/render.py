"""Encode a routine of the demo as a video file with its pictures and its music."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from longtake.extract.demo.routine import FPS, Routine
from longtake.extract.demo.scene import HEIGHT, WIDTH, draw_frames
from longtake.extract.demo.sound import SAMPLE_RATE_HZ, play
from longtake.extract.errors import ExtractError
from longtake.packages import needs

RENDER_VERSION = 3
"""Increase it whenever the same plan gives other pictures or sounds, so that old files are not mixed with new ones."""


def render_routine(routine: Routine, path: Path | str) -> Path:
    """Draw, play and encode one routine: H.264 320x240 at 25 fps and AAC mono at 44.1 kHz, in mp4.

    Written to a temporary file and renamed, so a file that exists is whole. Byte-identical for the same routine
    on the same machine and library versions.
    """
    path = Path(path)
    partial = path.with_name(f".{path.name}.partial")
    try:
        _encode(routine, partial)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    return path


def _encode(routine: Routine, path: Path) -> None:
    with needs(lambda name: ExtractError(f"drawing the demo needs {name}: python -m pip install 'longtake[extract]'")):
        import av
        import cv2

    sound = play(routine)
    options = {"fflags": "+bitexact", "movflags": "+faststart"}
    with av.open(f"file:{path.absolute()}", "w", format="mp4", options=options) as container:
        video = container.add_stream("libx264", rate=FPS, width=WIDTH, height=HEIGHT, pix_fmt="yuv420p")
        # For identical bytes. One thread: with several, x264's rate control may depend on scheduling. No macroblock tree: with it, about
        # one file in a hundred differed for the same pictures.
        video.codec_context.options = {
            "preset": "veryfast", "crf": "23", "threads": "1", "g": str(2 * FPS), "x264-params": "mbtree=0"
        }  # fmt: skip
        audio = container.add_stream("aac", rate=SAMPLE_RATE_HZ, layout="mono", bit_rate=64000)
        for stream in (video, audio):
            stream.codec_context.flags |= av.codec.context.Flags.bitexact
        for index, picture in enumerate(draw_frames(routine)):
            frame = av.VideoFrame.from_ndarray(cv2.cvtColor(picture, cv2.COLOR_RGB2YUV_I420), format="yuv420p")
            frame.pts = index
            container.mux(video.encode(frame))
            if index % FPS == 0:  # a second of sound per second of picture keeps the muxer's queue short
                first = index // FPS * SAMPLE_RATE_HZ
                second = np.ascontiguousarray(sound[None, first : first + SAMPLE_RATE_HZ])
                samples = av.AudioFrame.from_ndarray(second, format="fltp", layout="mono")
                samples.sample_rate, samples.pts = SAMPLE_RATE_HZ, first
                container.mux(audio.encode(samples))
        container.mux(video.encode(None))
        container.mux(audio.encode(None))
