"""From the first table to a trained head at 1,000, 10,000 and 100,000 videos: python benchmarks/scale.py [--sizes 1000] [--stages plan,pack] [--work FOLDER] [--json FILE]

SIMULATED features of a few clips a video, made without decoding: what is measured is the work that grows with the number of videos. Every step is a process of
its own, so its memory and the bytes that it writes are known. Steps and sizes that are not asked for keep what an earlier call has measured in --work, so the
whole can be measured in parts; the page has what was measured last.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import click
import numpy as np
from measured import Machine, Ratio, Result, Row, Table, most_memory, ratios

from longtake.features.finished import read_finished
from longtake.features.formats.disk import copy_file, sync
from longtake.features.labels import Labels, labels_of
from longtake.features.parts import pack, part_writer, parts_folder
from longtake.features.segments.writer import SegmentLimits
from longtake.features.store import STORES, open_store
from longtake.features.types import FeatureHeader, VideoFeatures, VideoRecord
from longtake.manifests.table import read_manifest

DIM = 1024
HEADER = FeatureHeader("noise", "video", DIM, "random:0", None, True, 16, 16, "pad", 25.0)
STAGES = {
    "write": "write finished videos, synced one by one",
    "plan": "plan: read the table, find the videos, compare with the store",
    "resume": "the same with all videos finished and none published",
    "pack": "publish all at once",
    "limited": "publish all with `--memory 50MB`, in several steps",
    "publish": "publish ten times",
    "rewrite": "publish corrected labels alone",
    "open": "open the store and read one video",
    "train": "train a head, `ridge`",
}
MEMORY = 50_000_000
"""Of `limited`."""
MOST_SYNCED = 2_000
"""Videos that `write` writes; each waits for the disk."""
BEFORE = {
    "write": "0.1: 163 a second, of 68 clips",
    "plan": "0.1: 7 s for 100,000",
    "resume": "0.1: 277 s for 26,261 unpublished",
    "pack": "0.1: 95 videos a second",
    "publish": "0.1: all rows again, each time",
}
MANY = 100_000
LONG_CLIPS = 50
"""A routine of 50 seconds or more."""
LIMITS = {".zarr": 1.3, ".h5": 3.0}


class World:
    """A folder with a table, empty video files, and one store of each kind."""

    def __init__(self, folder: Path, num_videos: int, clips: int) -> None:
        self.folder, self.num_videos, self.clips = folder, num_videos, clips
        self.videos, self.manifest, self.copied = folder / "videos", folder / "table.csv", folder / "copy"
        self._labels: Labels | None = None

    def store(self, suffix: str) -> Path:
        return self.folder / f"table{suffix}"

    def make(self) -> None:
        if self.manifest.exists():
            return
        self.videos.mkdir(parents=True, exist_ok=True)
        names = [f"v{number:06}" for number in range(self.num_videos)]
        for name in names:
            (self.videos / f"{name}.mp4").touch()
        lines = [f"{name},{'train' if number % 4 else 'test'},A,{number % 97}" for number, name in enumerate(names)]
        self.manifest.write_text("\n".join(["video_id,split,category,score_total", *lines]) + "\n")

    def labels(self) -> Labels:
        """Read once, as a run does that publishes several times; `plan` measures it."""
        self._labels = self._labels or labels_of(read_manifest(self.manifest))
        return self._labels

    def finish(self, suffix: str, numbers: range, *, at_once: bool = False) -> None:
        """Leave videos as workers do: finished, in segments of 32, and not in the store."""
        noise = np.random.default_rng(0).normal(size=(512, self.clips, DIM)).astype(np.float32)
        times = np.arange(self.clips, dtype=float)
        size = len(numbers) if at_once else SegmentLimits().num_videos
        for begin in range(0, len(numbers), size):
            with part_writer(self.store(suffix), at_once=at_once) as writer:
                for number in numbers[begin : begin + size]:
                    name = f"v{number:06}"
                    record = VideoRecord(
                        name, source_name=f"{name}.mp4", source_sha256="0" * 64, duration_seconds=3, fps=25.0
                    )
                    score = np.array([[number % 97.0]])
                    own = Labels((name,), ("train" if number % 4 else "test",), ("A",), ("total",), score)
                    features = noise[number % len(noise)] + np.float32(number % 97)
                    writer.append("table", own, {HEADER: VideoFeatures(record, features, times, times + 1)})

    def clear(self, suffix: str) -> None:
        for path in (self.store(suffix), parts_folder(self.store(suffix))):
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)

    def pack(self, suffix: str, memory: int | None = None) -> None:
        labels = self.labels()
        done = pack(self.store(suffix), dataset="table", card=None, labels=labels, headers=[HEADER], memory=memory)
        if not done.published or done.num_waiting:
            raise SystemExit(done.trouble(self.store(suffix)))

    def limited(self, suffix: str) -> None:
        self.pack(suffix, MEMORY)

    def rewrite(self, suffix: str) -> None:
        """Nothing but labels is new."""
        labels = self.labels()
        changed = replace(labels, scores=labels.scores + time.time() % 1000)
        if not pack(self.store(suffix), dataset="table", card=None, labels=changed).published:
            raise SystemExit("the store is locked")

    def copy(self, suffix: str) -> None:
        """What the file system needs for as many bytes."""
        copy_file(self.store(suffix), self.copied)
        sync(self.copied)

    def plan(self, suffix: str) -> None:
        from longtake.extract.find_videos import find_missing, require_videos

        table = read_manifest(self.manifest)
        missing = find_missing(table.rows, self.videos, require_videos(table, self.videos))
        finished = read_finished(self.store(suffix), table.name, None)
        held = finished.records[HEADER.recipe_id]
        if missing or any(row.video_id not in held for row in table.rows):
            raise SystemExit("the plan does not find all videos finished")

    def open(self, suffix: str) -> None:
        with open_store(self.store(suffix)) as store:
            found = store.stream().read(f"v{self.num_videos // 2:06}")
        if found.features.shape != (self.clips, DIM):
            raise SystemExit("another video was read")

    def train(self, suffix: str) -> None:
        from longtake.train.cli import main

        out = self.folder / "run"
        shutil.rmtree(out, ignore_errors=True)
        main(
            ["heads", "--features", str(self.store(suffix)), "--head", "ridge", "--out", str(out), "--no-intervals"],
            standalone_mode=False,
        )


def timed(work: Callable[[], object]) -> dict[str, float]:
    """In a process of its own, which does nothing else."""
    for module in set(STORES.values()):
        import_module(module)
    began, before = time.perf_counter(), _written()
    work()
    seconds = time.perf_counter() - began
    return {"seconds": seconds, "peak_mb": most_memory() / 2**20, "written_mb": (_written() - before) / 1e6}


def _written() -> int:
    lines = Path("/proc/self/io").read_text().splitlines()
    return int(dict(line.split(": ") for line in lines)["write_bytes"])


def step(world: World, name: str, suffix: str) -> dict[str, Any]:
    """Run one step in a new process."""
    call = [sys.executable, __file__, "--step", name, "--suffix", suffix, "--work", str(world.folder)]
    call += ["--sizes", str(world.num_videos), "--clips", str(world.clips)]
    done = subprocess.run(call, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{name} of {world.num_videos} videos failed: {done.stdout}{done.stderr}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


Taken = tuple[str, dict[str, Any]]
"""`<stage><suffix>`, and what it took."""


def measure(world: World, stages: list[str], kinds: list[str]) -> Iterator[Taken]:
    """Stores are made where a stage needs one, and removed."""
    world.make()
    for suffix in kinds:
        if "write" in stages and suffix == ".h5":
            yield "write", step(world, "write", suffix)
            world.clear(suffix)
        if "publish" in stages:
            yield f"publish{suffix}", _ten(world, suffix)
            world.clear(suffix)
        if "limited" in stages:
            world.finish(suffix, range(world.num_videos))
            yield f"limited{suffix}", step(world, "limited", suffix)
            world.clear(suffix)
        if set(stages) - {"write", "publish", "limited"}:
            yield from _once(world, suffix, stages)
            world.clear(suffix)


def _once(world: World, suffix: str, stages: list[str]) -> Iterator[Taken]:
    """With all videos finished, and then published."""

    def run(name: str) -> dict[str, Any]:
        found = step(world, name, suffix)
        world.copied.unlink(missing_ok=True)
        return found

    world.finish(suffix, range(world.num_videos))
    if "resume" in stages and suffix == ".h5":
        yield "resume", run("plan")
    yield f"pack{suffix}", run("pack")
    if "plan" in stages and suffix == ".h5":
        yield "plan", run("plan")
    if "open" in stages:
        yield f"open{suffix}", run("open")
    if "train" in stages and suffix == ".h5":
        yield "train", run("train")
    if "rewrite" in stages and suffix == ".h5":
        rounds = [[run(name) for name in ("copy", "rewrite")] for _ in range(3)]
        for name, taken in zip(("copy", "rewrite"), zip(*rounds, strict=True), strict=True):
            most = max(taken, key=lambda one: one["peak_mb"])
            yield f"{name}{suffix}", most | {"rounds": [one["seconds"] for one in taken]}
    elif "rewrite" in stages:
        yield f"rewrite{suffix}", run("rewrite")


def _ten(world: World, suffix: str) -> dict[str, float]:
    """Ten publications of a tenth of the videos, in an order that is not the table's. A call that was stopped is continued."""
    progress = world.folder / f"publish{suffix}.json"
    if not progress.exists():
        world.clear(suffix)
    taken: list[dict[str, float]] = json.loads(progress.read_text()) if progress.exists() else []
    for number in range(len(taken), 10):
        shutil.rmtree(parts_folder(world.store(suffix)), ignore_errors=True)
        world.finish(suffix, range(number, world.num_videos, 10))
        taken.append(step(world, "pack", suffix))
        progress.write_text(json.dumps(taken))
    progress.unlink()
    return {
        name: max(one[name] for one in taken) if name == "peak_mb" else sum(one[name] for one in taken)
        for name in taken[0]
    }


def table_of(num_videos: int, clips: int, found: dict[str, dict[str, Any]]) -> Table:
    rows, bounds = [], []
    for name, what in STAGES.items():
        for suffix in ("", ".h5", ".zarr"):
            if (taken := found.get(f"{name}{suffix}")) is None:
                continue
            count = min(num_videos, MOST_SYNCED) if name == "write" else num_videos
            rate = "" if name == "open" else f"{count / taken['seconds']:,.0f} videos/s, "
            note = f"{rate}{taken['peak_mb']:,.0f} MB of memory, {taken['written_mb']:,.0f} MB written"
            if name in BEFORE:
                note += f"; {BEFORE[name]}"
            seconds = tuple(taken.get("rounds", [taken["seconds"]]))
            rows.append(Row(f"{what}{f', {suffix}' * bool(suffix)}", "s", seconds, note))
    for suffix, limit in LIMITS.items():
        ten, one = (found.get(f"{name}{suffix}") for name in ("publish", "pack"))
        if ten and one:
            name = f"ten publications / one, {suffix}"
            # What a publication costs at least is most of the time where there are few videos.
            bound = {"at_most": limit, "headline": clips > 1} if num_videos == MANY else {}
            bounds.append(Ratio(name, (ten["seconds"] / one["seconds"],), **bound))
            written = (ten["written_mb"] / max(1, one["written_mb"]),)
            bounds.append(Ratio(f"bytes written by ten / by one, {suffix}", written))
    if copied := found.get("copy.h5"):
        again = found["rewrite.h5"]["rounds"]
        # Of videos of few clips, most of it is the table of videos, which is written each time.
        bound = {"at_least": 0.8} if clips >= LONG_CLIPS else {}
        rows.append(Row("copy the file, .h5", "s", tuple(copied["rounds"]), "by the kernel, synced"))
        bounds.append(ratios("copy the file / publish corrected labels, .h5", copied["rounds"], again, **bound))
    return Table(f"{num_videos:,} videos of {clips} clips x {DIM}", tuple(rows), tuple(bounds))


@contextmanager
def _folder(work: Path | None) -> Iterator[Path]:
    if work is not None:
        work.mkdir(parents=True, exist_ok=True)
        yield work
        return
    with tempfile.TemporaryDirectory() as made:
        yield Path(made)


@click.command()
@click.option("--sizes", multiple=True, type=int, default=(1_000, 10_000, 100_000), show_default=True)
@click.option("--clips", default=4, show_default=True, help="Of each video.")
@click.option("--stages", default=",".join(STAGES), show_default=True, help="Separated by commas.")
@click.option("--kinds", default=".h5,.zarr", show_default=True, help="Of stores, separated by commas.")
@click.option("--work", type=click.Path(path_type=Path), help="Keep what was measured here; 100,000 videos need 6 GB.")
@click.option("--json", "json_path", type=click.Path(path_type=Path))
@click.option("--step", "step_name", hidden=True)
@click.option("--suffix", default=".h5", hidden=True)
def main(
    sizes: tuple[int, ...],
    clips: int,
    stages: str,
    kinds: str,
    work: Path | None,
    json_path: Path | None,
    step_name: str | None,
    suffix: str,
) -> None:
    if step_name and work:
        world = World(work, sizes[0], clips)
        if step_name in ("pack", "limited", "rewrite"):
            world.labels()
        write = lambda: world.finish(suffix, range(min(world.num_videos, MOST_SYNCED)), at_once=True)  # noqa: E731
        steps = {"write": write} | {
            name: lambda name=name: getattr(world, name)(suffix)
            for name in ("pack", "limited", "plan", "open", "train", "rewrite", "copy")
        }
        click.echo(json.dumps(timed(steps[step_name])))
        return
    chosen = stages.split(",")
    if unknown := set(chosen) - STAGES.keys():
        raise click.UsageError(f"no stage {', '.join(sorted(unknown))}; there are {', '.join(STAGES)}")
    with _folder(work) as folder:
        for size in sizes:
            kept, made = folder / f"{clips}-{size}.json", folder / f"{clips}-{size}"
            found = json.loads(kept.read_text()) if kept.exists() else {}
            for name, taken in measure(World(made, size, clips), chosen, kinds.split(",")):
                found[name] = taken
                kept.write_text(json.dumps(found, indent=1))
            shutil.rmtree(made)
        files = {tuple(map(int, path.stem.split("-"))): json.loads(path.read_text()) for path in folder.glob("*.json")}
        tables = tuple(table_of(size, clips, found) for (clips, size), found in sorted(files.items()))
    result = Result(
        "Stores", "From a table to a head at scale", "python benchmarks/scale.py", Machine.this(), tables,
        simulated="Features are SIMULATED, noise without decoding, and video files are empty",
        notes=(
            "Figures of 0.1 are of other videos, measured on a machine of the same kind.",
            "A publication does not include reading the table, which a run does once; `plan` has it.",
        ),
    )  # fmt: skip
    result.tell(json_path)


if __name__ == "__main__":
    main()
