"""What a run's memory owes to the length of a video: python benchmarks/memory.py [--short 2] [--long 120] [--rounds 3] [--json FILE]

`extract run` over one file, with a network that computes nothing: the most memory that its process ever held, and the one that decodes. The
files are SIMULATED: small pictures, --rate frames a second. The clips are I3D's, of 16 frames of 224x224, each with 1024 values.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import av
import click
import numpy as np
from measured import Machine, Result, Row, Table, ratios

OVER_SHORT = 1.2
SIZE = (96, 64)

CHILD = """
from dataclasses import replace

import torch

from longtake.extract import backbones
from longtake.extract.backbones.i3d import RGB
from longtake.extract.backbones.spec import Network

SPEC = replace(RGB, name="nothing")


def build(spec):
    return Network(lambda num_classes: torch.nn.Linear(1, 1), features=lambda network, pictures: torch.zeros(len(pictures), spec.dim))


if __name__ == "__main__":
    backbones.TABLE["nothing"] = "child:SPEC"
    from longtake.extract.cli import main

    main()
"""

LOOK_SECONDS = 0.05


def write_video(path: Path, minutes: float, rate: int) -> None:
    width, height = SIZE
    rng = np.random.default_rng(0)
    scene = rng.integers(0, 255, (height, 2 * width, 3), dtype=np.uint8)
    pictures = [np.ascontiguousarray(scene[:, left : left + width]) for left in range(width)]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=rate, options={"preset": "ultrafast", "crf": "40"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for number in range(round(minutes * 60 * rate)):
            picture = pictures[number // 4 % width]
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        container.mux(stream.encode(None))


def read(file: Path) -> str:
    """Empty for a process that is gone."""
    try:
        return file.read_text(encoding="utf-8")
    except (FileNotFoundError, ProcessLookupError):
        return ""


def held(pid: int) -> float:
    """MB, the most that a process had until now."""
    found = [line.split()[1] for line in read(Path(f"/proc/{pid}/status")).splitlines() if line.startswith("VmHWM")]
    return int(found[0]) / 1024 if found else 0.0


def peak(folder: Path, video: Path) -> tuple[float, float]:
    """MB of the process that extracts this one file, and of the one that decodes it."""
    manifest = folder / "one.csv"
    manifest.write_text(f"video_id,path\nv,{video.name}\n", encoding="utf-8")
    with tempfile.TemporaryDirectory(dir=folder) as out:
        call = [sys.executable, folder / "child.py", "run", "--manifest", manifest, "--videos", video.parent]
        call += [
            "--backbone",
            "nothing",
            "--weights",
            "random",
            "--quiet",
            "--stall-timeout",
            "3600",
            "--out",
            Path(out) / "store.h5",
        ]
        path = os.pathsep.join([str(folder), *sys.path[1:]])
        process = subprocess.Popen(call, env={**os.environ, "PYTHONPATH": path})
        run = decoding = 0.0
        while process.poll() is None:
            # The kernel keeps the most so far; what wait() reports for a child begins with the memory of its parent.
            run = max(run, held(process.pid))
            every = Path(f"/proc/{process.pid}/task").glob("*/children")
            decoding = max([decoding, *(held(int(pid)) for file in every for pid in read(file).split())])
            time.sleep(LOOK_SECONDS)
    if process.returncode:
        raise SystemExit(f"extract run ended with status {process.returncode}")
    return run, decoding


@click.command()
@click.option("--short", "short_minutes", default=2.0, show_default=True)
@click.option("--long", "long_minutes", default=120.0, show_default=True)
@click.option("--rate", default=25, show_default=True, help="Frames per second.")
@click.option("--rounds", default=3, show_default=True)
@click.option("--json", "json_path", type=click.Path(path_type=Path))
def main(short_minutes: float, long_minutes: float, rate: int, rounds: int, json_path: Path | None) -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "child.py").write_text(CHILD, encoding="utf-8")
        files = {minutes: folder / f"simulated{minutes:g}.mp4" for minutes in (short_minutes, long_minutes)}
        for minutes, path in files.items():
            write_video(path, minutes, rate)
        found: dict[float, list[tuple[float, float]]] = {minutes: [] for minutes in files}
        for _ in range(rounds):
            for minutes, path in files.items():
                found[minutes].append(peak(folder, path))
    clips = {minutes: round(minutes * 60 * rate / 16) for minutes in files}
    rows = []
    for minutes, pairs in found.items():
        note = f"{clips[minutes]:,} clips, {clips[minutes] * 4096 / 1e6:.0f} MB of features"
        rows.append(Row(f"{minutes:g} minutes", "MB", tuple(one for one, _ in pairs), note))
        rows.append(Row(f"{minutes:g} minutes, the decoder's process", "MB", tuple(other for _, other in pairs)))
    long, short = ([sum(pair) for pair in found[minutes]] for minutes in (long_minutes, short_minutes))
    bound = ratios(
        f"memory for {long_minutes:g} minutes / for {short_minutes:g}, both processes", long, short, at_most=OVER_SHORT,
        headline=True,
    )  # fmt: skip
    result = Result(
        "Extraction", "Memory and the length of a video",
        f"python benchmarks/memory.py --short {short_minutes:g} --long {long_minutes:g} --rate {rate} --rounds {rounds}", Machine.this(),
        (Table("", tuple(rows), (bound,)),), simulated=f"The network computes nothing, videos are SIMULATED ({SIZE[0]}x{SIZE[1]}, {rate} frames a second)",
    )  # fmt: skip
    result.tell(json_path)


if __name__ == "__main__":
    main()
