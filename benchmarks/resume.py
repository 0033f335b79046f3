"""What it costs to resume a run: python benchmarks/resume.py [--videos 10000] [--rounds 5] [--unpublished] [--json FILE]

A store of as many finished videos as the manifest has, with SIMULATED features, and the same `extract run` over it again and again, each in a process
of its own, compared with one over a single finished video: what is left is the price of the finished videos.

With --unpublished, a run that was killed before it published: all videos but the last are finished and not in the store. It ends when the last one,
an empty file, has failed, and is killed there: that is when the run has begun with its first video.
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
from longtake.features.parts import part_writer
from longtake.features.store import write_store
from longtake.features.types import VideoFeatures, VideoRecord
from longtake.manifests.table import read_manifest

CLIPS = 8
BOUND_SECONDS = 3.0
UNPUBLISHED_SECONDS = 10.0


def make(folder: Path, num_videos: int, backbone: str, unpublished: bool) -> list[str]:
    """Manifest, files, and the store or what a killed run left; the call that resumes."""
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

    def video(name: str) -> VideoFeatures:
        record = VideoRecord(name, source_name=f"{name}.mp4", source_sha256="0" * 64, duration_seconds=CLIPS, fps=25.0)
        return VideoFeatures(record, rng.normal(size=(CLIPS, spec.dim)).astype(np.float32), times, times + 1)

    chosen = read_manifest(manifest)
    labels = labels_of(chosen)
    if unpublished:
        with part_writer(out, at_once=False) as writer:
            for row, name in enumerate(names[:-1]):
                writer.append(chosen.name, labels.subset([row]), {header: video(name)})
    else:
        plan = StreamPlan(header, np.dtype(np.float32), [StreamItem.of(video(name)) for name in names])
        write_store(out, dataset=chosen.name, card=None, labels=labels, streams=[plan])
    code = "from longtake.extract.cli import main; main()"
    call = [sys.executable, "-c", code, "run", "--manifest", str(manifest), "--videos", str(videos), "--out", str(out)]
    return [*call, "--weights", str(weights), "--backbone", backbone, "--runtime", "torch", "--device", "cpu"]


def seconds(call: list[str], num_videos: int) -> float:
    began = time.perf_counter()
    done = subprocess.run(call, capture_output=True, text=True)
    wall = time.perf_counter() - began
    if done.returncode or f"0 new, {num_videos} were there" not in done.stdout:
        raise SystemExit(f"{done.stdout}{done.stderr}")
    return wall


def begins(call: list[str]) -> float:
    """Seconds until the run has begun with its first video."""
    began = time.perf_counter()
    with subprocess.Popen(
        [*call, "-v", "--retry-failed"], stderr=subprocess.STDOUT, stdout=subprocess.PIPE, text=True
    ) as run:
        lines = []
        for line in run.stdout or ():
            lines.append(line)
            if line.startswith("[1/1] "):
                run.kill()
                return time.perf_counter() - began
    raise SystemExit("".join(lines))


@click.command()
@click.option("--videos", "num_videos", default=10_000, show_default=True)
@click.option("--backbone", default="i3d", show_default=True)
@click.option("--rounds", default=5, show_default=True)
@click.option("--unpublished", is_flag=True, help="The finished videos are not in the store yet.")
@click.option("--json", "json_path", type=click.Path(path_type=Path))
def main(num_videos: int, backbone: str, rounds: int, unpublished: bool, json_path: Path | None) -> None:
    counts = (2 if unpublished else 1, num_videos)
    with tempfile.TemporaryDirectory() as folder:
        calls = {count: make(Path(folder) / str(count), count, backbone, unpublished) for count in counts}
        taken: dict[int, list[float]] = {count: [] for count in calls}
        for _ in range(rounds):
            for count, call in calls.items():
                taken[count].append(begins(call) if unpublished else seconds(call, count))
    state = "unpublished" if unpublished else "finished"
    shown = {count - unpublished: values for count, values in taken.items()}
    rows = tuple(Row(f"{count:,} {state} video{'s' * (count > 1)}", "s", tuple(v)) for count, v in shown.items())
    bound = Ratio(
        f"resuming {num_videos - unpublished:,} {state} videos, seconds", tuple(taken[num_videos]),
        at_most=UNPUBLISHED_SECONDS if unpublished else BOUND_SECONDS, headline=True,
    )  # fmt: skip
    words = f"--videos {num_videos} --rounds {rounds}{' --unpublished' * unpublished}"
    title = "Resuming a run that was killed before it published" if unpublished else "Resuming"
    result = Result(
        "Extraction", title, f"python benchmarks/resume.py {words}", Machine.this(),
        (Table("", rows, (bound,)),), simulated=f"Features are SIMULATED, weights of {backbone} random",
    )  # fmt: skip
    result.tell(json_path)


if __name__ == "__main__":
    main()
