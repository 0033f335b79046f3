"""What it costs to begin a run: python benchmarks/planning.py [--rows 1000 --rows 100000] [--rounds 3] [--json FILE]

SIMULATED tables in which nine of ten videos are in the folder and have features in the store, and one of ten is missing. Each step of a plan is measured by
itself; then the whole command, `extract run`, in a process of its own, with the imports that every command pays for.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import click
import numpy as np
import torch
from measured import Machine, Ratio, Result, Row, Table

from longtake.extract.backbones import build, get_spec
from longtake.extract.find_videos import find_missing, require_videos
from longtake.extract.plan.options import RunOptions
from longtake.extract.plan.plan import _lacking
from longtake.extract.plan.settle import clip_rule, settle
from longtake.features.content import StreamItem, StreamPlan
from longtake.features.finished import read_finished
from longtake.features.labels import labels_of
from longtake.features.store import write_store
from longtake.features.types import FeatureHeader, VideoFeatures, VideoRecord
from longtake.manifests.table import read_manifest

BACKBONE = "i3d"
BOUND_SECONDS = 3.0
STEPS = "read and check the table", "list the folder, find videos", "read the store", "compare", "labels"


def make(folder: Path, num_rows: int) -> tuple[FeatureHeader, list[str]]:
    """Table, files and store; the header of its features and the call that finds nothing to do."""
    videos, manifest, out, weights = (folder / name for name in ("videos", "table.csv", "table.h5", "random.pt"))
    videos.mkdir(parents=True)
    names = [f"v{number:06}" for number in range(num_rows)]
    there = [name for number, name in enumerate(names) if number % 10]
    for name in there:
        (videos / f"{name}.mp4").touch()
    lines = [f"{name},{'train' if number % 4 else 'test'},A,{number},s{number % 500}" for number, name in enumerate(names)]  # fmt: skip
    manifest.write_text("\n".join(["video_id,split,category,score_total,group_skater", *lines]) + "\n")
    spec, options = get_spec(BACKBONE), RunOptions()
    network = build(spec)
    network.init_random(0)
    torch.save(network.state_dict(), weights)
    header, _ = settle(spec, clip_rule(spec, None, options), str(weights), options)
    features, times = np.ones((1, spec.dim), np.float32), np.zeros(1)

    def item(name: str) -> StreamItem:
        record = VideoRecord(name, source_name=f"{name}.mp4", source_sha256="0" * 64, duration_seconds=1, fps=25.0)
        return StreamItem(record, 1, lambda: VideoFeatures(record, features, times, times + 1))

    table = read_manifest(manifest)
    plan = StreamPlan(header, np.dtype(np.float32), [item(name) for name in there])
    write_store(out, dataset=table.name, card=None, labels=labels_of(table), streams=[plan])
    code = "from longtake.extract.cli import main; main()"
    call = [sys.executable, "-c", code, "run", "--manifest", str(manifest), "--videos", str(videos), "--out", str(out)]
    return header, [*call, "--weights", str(weights), "--backbone", BACKBONE, "--missing", str(folder / "missing.csv")]


def steps(folder: Path, header: FeatureHeader) -> list[float]:
    """Seconds of each of `STEPS`."""
    taken: list[float] = []

    def timed(work: Callable[[], object]) -> object:
        began = time.perf_counter()
        found = work()
        taken.append(time.perf_counter() - began)
        return found

    table = timed(lambda: read_manifest(folder / "table.csv"))
    videos = folder / "videos"
    missing = timed(lambda: find_missing(table.rows, videos, require_videos(table, videos)))
    finished = timed(lambda: read_finished(folder / "table.h5", table.name, None))
    lacking, _ = timed(lambda: _lacking(table.rows, [header], finished, False))
    timed(lambda: labels_of(table))
    if {one.video_id for one in missing} != {one.row.video_id for one in lacking}:
        raise SystemExit("the videos that are missing are not those without features")
    return taken


def command(call: list[str], num_missing: int) -> float:
    began = time.perf_counter()
    done = subprocess.run(call, capture_output=True, text=True)
    wall = time.perf_counter() - began
    if done.returncode != 1 or f" 0 failed, {num_missing} missing" not in done.stdout:
        raise SystemExit(f"{done.stdout}{done.stderr}")
    return wall


@click.command()
@click.option("--rows", multiple=True, type=int, default=(1_000, 10_000, 100_000), show_default=True)
@click.option("--rounds", default=3, show_default=True)
@click.option("--json", "json_path", type=click.Path(path_type=Path))
def main(rows: tuple[int, ...], rounds: int, json_path: Path | None) -> None:
    tables = []
    for num_rows in rows:
        with tempfile.TemporaryDirectory() as folder:
            header, call = make(Path(folder), num_rows)
            taken = [steps(Path(folder), header) for _ in range(rounds)]
            walls = tuple(command(call, -(-num_rows // 10)) for _ in range(rounds))
        found = [Row(name, "s", values) for name, values in zip(STEPS, zip(*taken, strict=True), strict=True)]
        planned = tuple(map(sum, taken))
        found += [Row("all of these", "s", planned), Row("the whole `extract run` with nothing to do", "s", walls)]
        bound = Ratio(
            f"planning {num_rows:,} rows, seconds", planned, at_most=BOUND_SECONDS, headline=num_rows == 100_000
        )
        tables.append(Table(f"{num_rows:,} rows", tuple(found), (bound,)))
    chosen = "".join(f" --rows {number}" for number in rows) if rows != (1_000, 10_000, 100_000) else ""
    result = Result(
        "Extraction", "Planning", f"python benchmarks/planning.py{chosen} --rounds {rounds}", Machine.this(), tuple(tables),
        simulated=f"Tables and features are SIMULATED, files are empty, weights of {BACKBONE} random",
    )  # fmt: skip
    result.tell(json_path)


if __name__ == "__main__":
    main()
