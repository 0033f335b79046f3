"""The pictures of the README, made by the commands themselves, from what `tox -e demo` leaves in demo/: python docs/pictures.py demo

A frame of the scored video, docs/overlay.jpg, by PyAV; the beginning of the report, docs/report.jpg, by a headless Chromium. Each has a line
below it that says what it is of.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

import av
from PIL import Image, ImageDraw, ImageFont

DOCS = Path(__file__).resolve().parent
WIDTH = 720
QUALITY = 82
WHERE = 0.6
"""Of the video's length: the frame that is shown."""
REPORT_SIZE = 1100, 900
LETTERS, LINE = 13, 18
"""Of the line below a picture, in pixels."""


def overlay(video: Path) -> Image.Image:
    """The frame at `WHERE`."""
    with av.open(video) as file:
        stream = file.streams.video[0]
        frames = stream.frames or sum(1 for _ in file.decode(stream))
        file.seek(0)
        for number, frame in enumerate(file.decode(stream)):
            if number >= WHERE * frames:
                return frame.to_image()
    raise ValueError(f"{video} has no frame at {WHERE:.0%} of its length")


def report(page: Path) -> Image.Image:
    """The page in a window of `REPORT_SIZE`."""
    with TemporaryDirectory() as folder:
        size = ",".join(map(str, REPORT_SIZE))
        command = [
            "chromium",
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            f"--window-size={size}",
        ]
        subprocess.run(
            [*command, f"--screenshot={folder}/page.png", page.resolve().as_uri()], check=True, capture_output=True
        )
        return Image.open(BytesIO(Path(folder, "page.png").read_bytes()))


def about(run: Path) -> list[str]:
    """What the pictures are of, by the run's own record."""
    features = json.loads((run / "config.json").read_text(encoding="utf-8"))["features"]
    weights = "RANDOM weights" if features["weights_random"] else "published weights"
    return ["A SIMULATED routine of the demo.", f"Features of {features['backbone']}, {weights}."]


def captioned(picture: Image.Image, lines: Sequence[str]) -> Image.Image:
    """With lines of text below it, one where they fit side by side."""
    font = ImageFont.load_default(LETTERS)
    joined = " ".join(lines)
    lines = [joined] if font.getlength(joined) < picture.width - 12 else lines
    below = Image.new("RGB", (picture.width, picture.height + len(lines) * LINE + 8), "white")
    below.paste(picture, (0, 0))
    for place, line in enumerate(lines):
        ImageDraw.Draw(below).text((6, picture.height + 4 + place * LINE), line, fill="#333333", font=font)
    return below


def main(demo: Path) -> None:
    lines = about(demo / "run")
    for name, picture in (("overlay", overlay(demo / "scored.mp4")), ("report", report(demo / "report.html"))):
        small = picture.convert("RGB")
        small.thumbnail((WIDTH, WIDTH), Image.Resampling.LANCZOS)
        path = DOCS / f"{name}.jpg"
        captioned(small, lines).save(path, quality=QUALITY, optimize=True)
        print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
