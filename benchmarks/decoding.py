"""Decoding and preprocessing alone, compared with the ffmpeg command line: python benchmarks/decoding.py [--decoder decord] [--json FILE]

In turns, --rounds times each: the ffmpeg command decodes a file, scales it to the same size and writes raw pictures to a pipe that is
read to its end; each decoder gives the pictures of the same frames, in this process and in one of its own as `extract run` has it, the
start of that process included. Videos are SIMULATED, 1280x720 at 25 frames a second, written here once with libx264: `film`, a panning picture with
grain, and `noise`, which costs so many bits that decoding hides all else.
"""

from __future__ import annotations

import resource
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import av
import click
import numpy as np
from measured import Machine, Result, Row, Table, ratios
from PIL import Image

from longtake.extract.decode import get_decoder
from longtake.extract.decode.base import Decoder
from longtake.extract.decode.killable import KillableProcess
from longtake.extract.decode.scale import resized
from longtake.extract.errors import ExtractError
from longtake.extract.preprocessing import PILLOW_BILINEAR, FrameRule

WIDTH, HEIGHT = 1280, 720
SHORT_SIDE = 224
SMALL_WIDTH, SMALL_HEIGHT = resized(WIDTH, HEIGHT, SHORT_SIDE)
SCALED = FrameRule(SHORT_SIDE, SMALL_HEIGHT, SHORT_SIDE, (0.0,) * 3, (1.0,) * 3)
WITH_PILLOW = FrameRule(SHORT_SIDE, SMALL_HEIGHT, SHORT_SIDE, (0.0,) * 3, (1.0,) * 3, PILLOW_BILINEAR)
SPEED = 0.9
"""Of the ffmpeg command line's: so fast must the default decoder be at least."""


def write_film(path: Path, num_frames: int) -> None:
    rng = np.random.default_rng(0)
    blotches = Image.fromarray(rng.integers(0, 255, (45, 90, 3), np.uint8)).resize(
        (2 * WIDTH, 2 * HEIGHT), Image.BICUBIC
    )
    scene = np.asarray(blotches).astype(np.int16)
    grain = [rng.integers(-9, 10, (HEIGHT, WIDTH, 1), np.int16) for _ in range(8)]

    def picture(number: int) -> np.ndarray:
        x = int(WIDTH / 2 * (1 + 0.9 * np.sin(number / 180)))
        y = int(HEIGHT / 2 * (1 + 0.9 * np.cos(number / 210)))
        return np.clip(scene[y : y + HEIGHT, x : x + WIDTH] + grain[number % 8], 0, 255).astype(np.uint8)

    _write(path, num_frames, picture, crf=24)


def write_noise(path: Path, num_frames: int) -> None:
    rng = np.random.default_rng(0)

    def picture(number: int) -> np.ndarray:
        small = Image.fromarray(rng.integers(0, 255, (HEIGHT // 8, WIDTH // 8, 3), np.uint8))
        return np.asarray(small.resize((WIDTH, HEIGHT), Image.BILINEAR))

    _write(path, num_frames, picture, crf=20)


def _write(path: Path, num_frames: int, picture: Callable[[int], np.ndarray], crf: int) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.options = {"preset": "veryfast", "crf": str(crf)}
        stream.thread_type = "AUTO"
        for number in range(num_frames):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture(number), "rgb24")))
        container.mux(stream.encode(None))


def run_ffmpeg(path: Path) -> int:
    """How many pictures it gave."""
    call = [
        "ffmpeg",
        "-v",
        "error",
        "-nostdin",
        "-i",
        str(path),
        "-vf",
        f"scale={SMALL_WIDTH}:{SMALL_HEIGHT}:flags=bilinear",
    ]
    picture, count = bytearray(SMALL_WIDTH * SMALL_HEIGHT * 3), 0
    with subprocess.Popen([*call, "-pix_fmt", "rgb24", "-f", "rawvideo", "-"], stdout=subprocess.PIPE) as process:
        while process.stdout.readinto(picture) == len(picture):
            count += 1
    if process.returncode:
        raise click.ClickException(f"the ffmpeg command failed with status {process.returncode}")
    return count


def run_here(decoder: Decoder, path: Path, rule: FrameRule) -> int:
    info = decoder.probe(path)
    wanted = {rule: set(range(len(info.timeline)))}
    return sum(1 for _ in decoder.pictures(info, wanted, num_threads=0))


def run_apart(decoder: Decoder, path: Path, rule: FrameRule) -> int:
    with KillableProcess(120.0, threading.Event()) as host:
        info = host.call(decoder.probe, path)
        wanted = {rule: set(range(len(info.timeline)))}
        return sum(1 for _ in host.stream(decoder.pictures, info, wanted, num_threads=0))


def timed(run: Callable[[], int], num_frames: int) -> tuple[float, float]:
    """Wall and processor seconds, those of ended children included."""

    def processor_seconds() -> float:
        usage = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        return sum(one.ru_utime + one.ru_stime for one in usage)

    began, processor = time.perf_counter(), processor_seconds()
    found = run()
    taken = time.perf_counter() - began, processor_seconds() - processor
    if found != num_frames:
        raise click.ClickException(f"{found} pictures instead of {num_frames}")
    return taken


def measure(path: Path, decoders: dict[str, Decoder], rounds: int, num_frames: int) -> Table:
    runs: dict[str, Callable[[], int]] = {"ffmpeg": lambda: run_ffmpeg(path)}
    for name, decoder in decoders.items():
        runs[name] = lambda decoder=decoder: run_here(decoder, path, SCALED)
        runs[f"{name}, own process"] = lambda decoder=decoder: run_apart(decoder, path, SCALED)
        runs[f"{name}, Pillow's filter"] = lambda decoder=decoder: run_here(decoder, path, WITH_PILLOW)
    wall: dict[str, list[float]] = {name: [] for name in runs}
    processor: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            one = timed(run, num_frames)
            wall[name].append(one[0])
            processor[name].append(one[1])
    rows = [
        Row(name, "s", tuple(wall[name]), note=f"{np.median(processor[name]):.2f} s of processor time") for name in runs
    ]
    found = []
    for name in decoders:
        # What extract run does; the bound is on the default.
        bound = {"at_least": SPEED, "headline": True} if name == "pyav" else {}
        found.append(
            ratios(
                f"speed of {name} in its own process / ffmpeg's, {path.stem}",
                wall["ffmpeg"],
                wall[f"{name}, own process"],
                **bound,
            )
        )
        bound = {"at_least": SPEED} if name == "pyav" else {}
        found.append(
            ratios(
                f"the same in processor seconds, {name}, {path.stem}",
                processor["ffmpeg"],
                processor[f"{name}, own process"],
                **bound,
            )
        )
    megabits = path.stat().st_size * 8 / 1e6 / (num_frames / 25)
    title = (
        f"{path.stem}: {num_frames} frames of {WIDTH}x{HEIGHT}, {megabits:.1f} Mbit/s, to {SMALL_WIDTH}x{SMALL_HEIGHT}"
    )
    return Table(title, tuple(rows), tuple(found))


@click.command()
@click.option("--decoder", "names", multiple=True, help="Measure this decoder too; may be repeated.")
@click.option("--frames", "num_frames", default=2250, show_default=True)
@click.option("--rounds", default=5, show_default=True)
@click.option("--noise", is_flag=True, help="The second video too.")
@click.option("--keep", type=click.Path(path_type=Path, file_okay=False), help="Folder where the videos stay.")
@click.option("--json", "json_path", type=click.Path(path_type=Path))
def main(
    names: tuple[str, ...], num_frames: int, rounds: int, noise: bool, keep: Path | None, json_path: Path | None
) -> None:
    if shutil.which("ffmpeg") is None:
        click.echo("skipped: no ffmpeg command on the PATH to compare with (Debian: apt-get install ffmpeg)")
        return
    try:
        decoders = {name: get_decoder(name) for name in dict.fromkeys(("pyav", *names))}
    except ExtractError as error:
        raise click.ClickException(str(error)) from error
    tables = []
    with tempfile.TemporaryDirectory() as made:
        folder = keep or Path(made)
        folder.mkdir(parents=True, exist_ok=True)
        for write in (write_film, write_noise) if noise else (write_film,):
            path = folder / f"{write.__name__.removeprefix('write_')}.mp4"
            if not path.exists():
                write(path, num_frames)
            tables.append(measure(path, decoders, rounds, num_frames))
    version = subprocess.run(["ffmpeg", "-version"], capture_output=True, text=True, check=True).stdout.split()[2]
    command = " ".join(["python benchmarks/decoding.py", *(f"--decoder {name}" for name in names)])
    result = Result(
        "Extraction", "Decoding and preprocessing alone", f"{command} --frames {num_frames} --rounds {rounds}{' --noise' * noise}", Machine.this(),
        tuple(tables), simulated="The videos are SIMULATED",
        notes=(f"ffmpeg {version}; " + "; ".join(decoder.description() for decoder in decoders.values()) + ".",),
    )  # fmt: skip
    result.tell(json_path)


if __name__ == "__main__":
    main()
