"""What it costs to find that nothing is left to do: python benchmarks/resume.py [--videos 10000] [--rounds 5] [--json FILE]

A store of as many finished videos as the manifest has, with SIMULATED features, and the same `extract run` over it again and again, each in a process
of its own, compared with one over a single finished video: what is left is the price of the finished videos.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click
import numpy as np
import torch
from measured import Machine, Ratio, Result, Row, Table

from longtake.extract.backbones import build, get_spec
from longtake.extract.plan.options import RunOptions
from longtake.extract.plan.settle import clip_rule, settle
from longtake.features.content import StreamItem, StreamPlan
from longtake.features.labels import labels_of
from longtake.features.store import write_store
from longtake.features.types import VideoFeatures, VideoRecord
from longtake.manifests.table import read_manifest

CLIPS = 8
BOUND_SECONDS = 3.0


def make(folder: Path, num_videos: int, backbone: str) -> list[str]:
    """Manifest, files and store; the call that resumes."""
    videos, manifest, out = folder / "videos", folder / "simulated.csv", folder / "simulated.h5"
    videos.mkdir(parents=True)
    names = [f"v{number:06}" for number in range(num_videos)]
    for name in names:
        (videos / f"{name}.mp4").touch()
    lines = [f"{name},{'test' if number % 4 == 0 else 'train'},A,{number}" for number, name in enumerate(names)]
    manifest.write_text("\n".join(["video_id,split,category,score_total", *lines]) + "\n", encoding="utf-8")
    spec, options = get_spec(backbone), RunOptions()
    weights = folder / "random.pt"
    network = build(spec)
    network.init_random(0)
    torch.save(network.state_dict(), weights)
    header, _ = settle(spec, clip_rule(spec, None, options), str(weights), options)
    rng = np.random.default_rng(0)
    times = np.arange(float(CLIPS))

    def item(name: str) -> StreamItem:
        record = VideoRecord(name, source_name=f"{name}.mp4", source_sha256="0" * 64, duration_seconds=CLIPS, fps=25.0)
        features = rng.normal(size=(CLIPS, spec.dim)).astype(np.float32)
        return StreamItem(record, CLIPS, lambda: VideoFeatures(record, features, times, times + 1))

    plan = StreamPlan(header, np.dtype(np.float32), [item(name) for name in names])
    chosen = read_manifest(manifest)
    write_store(out, dataset=chosen.name, card=None, labels=labels_of(chosen), streams=[plan])
    code = "from longtake.extract.cli import main; main()"
    call = [sys.executable, "-c", code, "run", "--manifest", str(manifest), "--videos", str(videos), "--out", str(out)]
    return [*call, "--weights", str(weights), "--backbone", backbone]


def seconds(call: list[str], num_videos: int) -> float:
    began = time.perf_counter()
    done = subprocess.run(call, capture_output=True, text=True)
    wall = time.perf_counter() - began
    if done.returncode or f"0 new, {num_videos} were there" not in done.stdout:
        raise SystemExit(f"{done.stdout}{done.stderr}")
    return wall


@click.command()
@click.option("--videos", "num_videos", default=10_000, show_default=True)
@click.option("--backbone", default="i3d", show_default=True)
@click.option("--rounds", default=5, show_default=True)
@click.option("--json", "json_path", type=click.Path(path_type=Path))
def main(num_videos: int, backbone: str, rounds: int, json_path: Path | None) -> None:
    with tempfile.TemporaryDirectory() as folder:
        calls = {count: make(Path(folder) / str(count), count, backbone) for count in (1, num_videos)}
        taken: dict[int, list[float]] = {count: [] for count in calls}
        for _ in range(rounds):
            for count, call in calls.items():
                taken[count].append(seconds(call, count))
    rows = tuple(Row(f"{count:,} finished video{'s' * (count > 1)}", "s", tuple(v)) for count, v in taken.items())
    bound = Ratio(
        f"resuming {num_videos:,} finished videos, seconds", tuple(taken[num_videos]), at_most=BOUND_SECONDS,
        headline=True,
    )  # fmt: skip
    result = Result(
        "Extraction", "Resuming", f"python benchmarks/resume.py --videos {num_videos} --rounds {rounds}", Machine.this(),
        (Table("", rows, (bound,)),), simulated=f"Features are SIMULATED, weights of {backbone} random",
    )  # fmt: skip
    result.tell(json_path)


if __name__ == "__main__":
    main()
