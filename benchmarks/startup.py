"""How long a command takes before it does anything: python benchmarks/startup.py [--rounds 5] [--json FILE]

Each is started as from a shell, next to a Python that does nothing. The store that `features info` opens has SIMULATED features.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click
import numpy as np
from measured import Machine, Ratio, Result, Row, Table, ratios

from longtake.features.content import StreamItem, StreamPlan
from longtake.features.labels import Labels
from longtake.features.store import write_store
from longtake.features.types import FeatureHeader, VideoFeatures, VideoRecord

HELPS = (
    "extract --help", "extract run --help", "extract weights --help", "features --help", "features info --help",
    "train --help", "train heads --help",
)  # fmt: skip
HELP_SECONDS, INFO_SECONDS = 0.3, 0.5


def write_small_store(path: Path, num_videos: int = 200) -> None:
    """Of RG's size, but narrow."""
    names = tuple(f"v{number:03}" for number in range(num_videos))
    header = FeatureHeader("i3d", "video", 64, "random:0", None, True, 16, 16, "pad", None)
    rng = np.random.default_rng(0)

    def item(name: str) -> StreamItem:
        times = np.arange(8.0)
        features = rng.normal(size=(8, 64)).astype(np.float32)
        video = VideoFeatures(VideoRecord(name, duration_seconds=8.0, fps=25.0), features, times, times + 1)
        return StreamItem(video.record, 8, lambda: video)

    labels = Labels(names, ("train",) * num_videos, ("A",) * num_videos, ("total",), rng.normal(size=(num_videos, 1)))
    plan = StreamPlan(header, np.dtype(np.float32), [item(name) for name in names])
    write_store(path, dataset="simulated", card=None, labels=labels, streams=[plan])


def seconds(call: list[str]) -> float:
    began = time.perf_counter()
    done = subprocess.run(call, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(call)}: {done.stderr}")
    return time.perf_counter() - began


def calls(store: Path) -> dict[str, list[str]]:
    """As the installed scripts call them, from this tree."""

    def command(words: str) -> list[str]:
        program, *arguments = words.split()
        code = f"import sys; sys.argv[0] = {program!r}; from longtake.{program}.cli import main; main()"
        return [sys.executable, "-c", code, *arguments]

    found = {"python -c pass": [sys.executable, "-c", "pass"], "extract list": command("extract list")}
    found |= {words: command(words) for words in HELPS}
    found["features info"] = [*command("features info"), str(store)]
    return found


@click.command()
@click.option("--rounds", default=5, show_default=True)
@click.option("--json", "json_path", type=click.Path(path_type=Path))
def main(rounds: int, json_path: Path | None) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "simulated.h5"
        write_small_store(store)
        every = calls(store)
        taken: dict[str, list[float]] = {name: [] for name in every}
        for number in range(rounds + 1):
            for name, call in every.items():
                one = seconds(call)
                # The first round compiles modules and fills the disk's cache.
                if number:
                    taken[name].append(one)
    bare = taken["python -c pass"]
    rows = tuple(
        Row(name, "s", tuple(values), note=f"{np.median(np.divide(values, bare)):.1f} times a bare Python")
        for name, values in taken.items()
    )
    slowest = tuple(max(taken[name][number] for name in (*HELPS, "extract list")) for number in range(rounds))
    bounds = (
        Ratio("slowest of `--help` and `extract list`, seconds", slowest, at_most=HELP_SECONDS, headline=True),
        Ratio("`features info`, seconds", tuple(taken["features info"]), at_most=INFO_SECONDS, headline=True),
        ratios("`extract list` / bare Python", taken["extract list"], bare),
    )
    result = Result(
        "Commands", "Starting", f"python benchmarks/startup.py --rounds {rounds}", Machine.this(),
        (Table("", rows, bounds),), simulated="The store has SIMULATED features of 200 videos",
    )  # fmt: skip
    result.tell(json_path)


if __name__ == "__main__":
    main()
