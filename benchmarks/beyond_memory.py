"""Training from features that do not fit in memory: python benchmarks/beyond_memory.py [--gigabytes 10] [--limit 2GB] [--steps 60] [--json FILE]

A SIMULATED store of videos of 100 clips x 1024 is written once into a temporary folder. Two processes train `gdlt` in turns, batches of 32 and windows of
68 clips, one thread: one reads its batches from the disk, since the features take more than --limit; the other has as many videos in memory as fit in
half of --limit. Before each round, the kernel is asked to drop the file from its cache, so that batches come from the disk.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import click
import numpy as np
from measured import Machine, Result, Row, Table, most_memory, ratios

from longtake.features.columns import VideoTable
from longtake.features.content import Block, Storage, StreamPlan
from longtake.features.labels import Labels
from longtake.features.store import open_store, write_store
from longtake.features.types import FeatureHeader, VideoRecord, sha256_of
from longtake.memory import parse_size, shown_size

CLIPS, DIM, WINDOW, BATCH = 100, 1024, 68, 32
PER_BLOCK = 64
"""Videos that are written at a time."""
AT_LEAST = 0.8
DISK, MEMORY = "from the disk", "in memory"


@dataclass(frozen=True)
class Noise:
    """Videos to be written: rows of one table of noise, of each video from another place on and times a factor of its own."""

    num_videos: int
    dtype: str

    @property
    def counts(self) -> list[int]:
        return [CLIPS] * self.num_videos

    def blocks(self) -> Iterator[Block]:
        table = np.random.default_rng(0).normal(size=(8 * CLIPS, DIM)).astype(self.dtype)
        for begin in range(0, self.num_videos, PER_BLOCK):
            numbers = range(begin, min(begin + PER_BLOCK, self.num_videos))
            parts = []
            for number in numbers:
                first = number * 7 % (7 * CLIPS)
                parts.append(table[first : first + CLIPS] * table.dtype.type(1 + number / self.num_videos))
            videos = [(VideoRecord(f"v{number}"), sha256_of(part)) for number, part in zip(numbers, parts)]
            times = np.tile(np.arange(float(CLIPS)), len(numbers))
            yield Block(np.concatenate(parts), times, times + 1, VideoTable.of(videos))


def write(path: Path, num_videos: int, dtype: str, compression: str) -> None:
    header = FeatureHeader("simulated", "video", DIM, "none", None, False, 16, 16, "pad", 16.0)
    ids = tuple(f"v{number}" for number in range(num_videos))
    splits = tuple("test" if number % 100 == 0 else "train" for number in range(num_videos))
    scores = np.random.default_rng(1).uniform(0, 10, size=(num_videos, 1))
    labels = Labels(ids, splits, ("",) * num_videos, ("total",), scores)
    plan = StreamPlan(header, np.dtype(dtype), [Noise(num_videos, dtype)])
    storage = Storage(compression=compression)
    write_store(path, dataset="simulated", card=None, labels=labels, streams=[plan], storage=storage)


def drop_from_cache(path: Path) -> None:
    for file in [path] if path.is_file() else [one for one in path.rglob("*") if one.is_file()]:
        descriptor = os.open(file, os.O_RDONLY)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def train(path: Path, memory: str, steps: int) -> None:
    """In a process of its own: load, then an epoch for each line of standard input, a seed."""
    import torch

    from longtake.train.data.clip_table import ClipTable
    from longtake.train.data.dataset import FeatureSet, ScoreScale
    from longtake.train.engine import loop
    from longtake.train.engine.job import Job, Task
    from longtake.train.engine.settings import TrainSettings
    from longtake.train.heads import get_head

    torch.set_num_threads(1)
    began = time.perf_counter()
    with open_store(path) as store:
        if memory:
            data = FeatureSet.load(store, memory=memory)
        else:
            data = whole_of(store, FeatureSet, ClipTable)
    print(
        json.dumps(
            {
                "on_disk": data.on_disk,
                "bytes": data.num_bytes,
                "seconds": time.perf_counter() - began,
                "MB": most_memory() / 2**20,
            }
        ),
        flush=True,
    )
    head = get_head("gdlt")
    for line in sys.stdin:
        seed = int(line)
        rows = np.random.default_rng(seed).permutation(len(data))[: steps * BATCH]
        task = Task(data, ScoreScale("total", 0.0, 10.0, True), rows, rows[:2], WINDOW, 10.0)
        job = Job(task, partial(head, DIM, head.Settings()), TrainSettings(epochs=1, batch_size=BATCH, lr=1e-4), seed)
        print(json.dumps({"seconds": loop.fit(job).seconds_per_epoch, "MB": most_memory() / 2**20}), flush=True)


def whole_of(store, feature_set, clip_table):  # type: ignore[no-untyped-def]
    """The first videos of the store, in memory."""
    stream, labels = store.stream(), store.labels
    rows = list(range(int(os.environ["LONGTAKE_VIDEOS"])))
    nothing = np.full(len(rows), "", dtype=object)
    return feature_set(
        clip_table.read(store.path, stream, rows),
        labels.video_ids[: len(rows)],
        nothing,
        nothing,
        {"total": labels.scores[rows, 0]},
    )


@dataclass
class Child:
    process: subprocess.Popen

    @classmethod
    def start(cls, path: Path, memory: str, steps: int, videos: int, folder: Path) -> tuple[Child, dict]:
        call = [sys.executable, __file__, "--train", str(path), "--limit", memory, "--steps", str(steps)]
        environment = {**os.environ, "LONGTAKE_VIDEOS": str(videos), "TMPDIR": str(folder), "OMP_NUM_THREADS": "1"}
        child = cls(subprocess.Popen(call, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment))
        return child, child.answer()

    def answer(self) -> dict:
        assert self.process.stdout
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"a training process ended with status {self.process.wait()}")
        return json.loads(line)

    def epoch(self, seed: int) -> dict:
        assert self.process.stdin
        print(seed, file=self.process.stdin, flush=True)
        return self.answer()


def measure(path: Path, folder: Path, limit: str, steps: int, rounds: int, videos: int, cold: bool) -> Iterator[dict]:
    drop_from_cache(path)
    disk, loaded = Child.start(path, limit, steps, videos, folder)
    memory, _ = Child.start(path, "", steps, videos, folder)
    if not loaded["on_disk"]:
        raise SystemExit("the features fit in --limit, so that nothing is read from the disk: take more --gigabytes")
    try:
        for seed in range(rounds + 1):
            if cold:
                drop_from_cache(path)
            found = {DISK: disk.epoch(seed), MEMORY: memory.epoch(seed)}
            # The first one warms up.
            if seed:
                yield {**found, "load": loaded}
    finally:
        for child in (disk, memory):
            child.process.stdin.close()
            child.process.wait()


@click.command()
@click.option("--gigabytes", default=10.0, show_default=True, help="Of the store.")
@click.option("--limit", default="2GB", show_default=True, help="Memory for features.")
@click.option("--steps", default=60, show_default=True, help="Of an epoch.")
@click.option("--rounds", default=5, show_default=True)
@click.option("--dtype", type=click.Choice(["float32", "float16"]), default="float32", show_default=True)
@click.option("--suffix", type=click.Choice([".h5", ".zarr"]), default=".h5", show_default=True)
@click.option("--compression", default="default", show_default=True)
@click.option(
    "--cold/--warm",
    default=True,
    show_default=True,
    help="Ask the kernel to drop the file from its cache before each round.",
)
@click.option(
    "--store",
    type=click.Path(path_type=Path),
    help="Write the store there if it is missing, and keep it; --rounds 0 ends after that.",
)
@click.option("--train", "train_path", type=click.Path(path_type=Path), hidden=True)
@click.option("--json", "json_path", type=click.Path(path_type=Path))
def main(
    gigabytes: float, limit: str, steps: int, rounds: int, dtype: str, suffix: str, compression: str, cold: bool, store: Path | None,
    train_path: Path | None, json_path: Path | None,
) -> None:  # fmt: skip
    if train_path:
        train(train_path, limit, steps)
        return
    per_video = CLIPS * DIM * np.dtype(dtype).itemsize
    num_videos = max(2, round(gigabytes * 1e9 / per_video))
    in_memory = min(num_videos, max(2, int(parse_size(limit) / 2 / per_video)))
    written = 0.0
    with tempfile.TemporaryDirectory(prefix="longtake-benchmark-", dir=store and store.parent) as place:
        path = store or Path(place) / f"simulated{suffix}"
        if not path.exists():
            began = time.perf_counter()
            write(path, num_videos, dtype, compression)
            written = time.perf_counter() - began
            click.echo(f"{path} is written, in {written:.0f} s", err=True)
        if not rounds:
            return
        found = list(measure(path, Path(place), limit, steps, rounds, in_memory, cold))
    seconds = {name: [one[name]["seconds"] / steps for one in found] for name in (DISK, MEMORY)}
    rates = {name: tuple(1 / each for each in mine) for name, mine in seconds.items()}
    load = found[0]["load"]
    rows = [Row(f"steps a second, {name}", "", rates[name]) for name in (DISK, MEMORY)]
    rows += [
        Row(
            "read by batches, from the disk",
            "MB/s",
            tuple(rate * BATCH * WINDOW * DIM * np.dtype(dtype).itemsize / 1e6 for rate in rates[DISK]),
        ),
        Row(
            "before the first step, all features read once",
            "s",
            (load["seconds"],),
            f"{load['bytes'] / 1e6 / load['seconds']:.0f} MB/s",
        ),
        Row("most memory of the process that reads from the disk", "MB", tuple(one[DISK]["MB"] for one in found)),
        Row(
            "most memory of the process with features in memory",
            "MB",
            tuple(one[MEMORY]["MB"] for one in found),
            f"{in_memory} of {num_videos} videos",
        ),
    ]
    share = ratios(
        "steps a second, from the disk / in memory", rates[DISK], rates[MEMORY], at_least=AT_LEAST, headline=True
    )
    size = shown_size(num_videos * per_video)
    result = Result(
        "Training", f"Features that do not fit in memory: {size} of {dtype}, {suffix}",
        f"python benchmarks/beyond_memory.py --gigabytes {gigabytes:g} --limit {limit} --steps {steps} --rounds {rounds} --dtype {dtype} --suffix {suffix} "
        f"--compression {compression} --{'cold' if cold else 'warm'}",
        Machine.this(threads=1), (Table("", tuple(rows), (share,)),), simulated="features and labels",
        notes=(
            f"{num_videos} videos of {CLIPS} clips of {DIM}; `gdlt`, {steps} steps a round, each of {BATCH} videos that no other step of the round has. "
            + ("The kernel was asked to drop the file from its cache before each round; a virtual machine's host may still have it. " if cold else "The kernel's cache may hold the file. ")
            + (f"The store was written in {written:.0f} s." if written else ""),
        ),
    )  # fmt: skip
    result.tell(json_path)


if __name__ == "__main__":
    main()
