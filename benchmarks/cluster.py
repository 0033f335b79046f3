"""What a cluster costs and how far it scales, with the real scheduler: python benchmarks/cluster.py overhead|simulate

`overhead`: local worker processes on a folder of small files with a backbone that computes nothing, against one process, which has all cores; so what is
measured is what a cluster adds to a video, and what its processes take from each other. `simulate`: SIMULATED videos, a sleep for each, on as many workers as asked for; the scheduler and the
handing out of tasks are the product's own, and the order is the longest first, as there; each worker stores small features in a segment of its own, and one process
publishes them all the time. Writes JSON where --json or --out says.
"""

from __future__ import annotations

import json
import math
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import psutil
from measured import Machine, Ratio, Result, Row, Table
from simulated import (
    CLIPS,
    DIM,
    host_scheduler,
    host_workers,
    publish_all_the_time,
    seconds_of_workers,
    sleep_for,
    spans_of,
)

ROOT = Path(__file__).resolve().parents[1]
AT_MOST = 1.15
"""The makespan of a simulated run, over the ideal."""
GROWTH = {"scheduler": 1.1, "publisher": 1.25}
"""The most memory in the last fifth of the videos, over that in the second. The process that publishes knows the ids of all videos, and reads up to three
times as many from segments at the end, where videos are shortest. In the first fifth it may take more: a store of less than 32 MiB is written whole each time."""
MANY = 100_000
"""Videos whose makespan is computed from the rates of a shorter run."""


@click.group()
def main() -> None:
    """What a cluster costs."""


@main.command()
@click.option("--videos", default=40, show_default=True)
@click.option("--rounds", default=5, show_default=True)
@click.option("--workers", default=2, show_default=True)
@click.option("--out", type=click.Path(path_type=Path))
def overhead(videos: int, rounds: int, workers: int, out: Path | None) -> None:
    """Seconds a video, one process and --cluster local, for two sizes of a run: their difference is free of starting up."""
    sys.path.insert(0, str(ROOT))
    from tests.extract.runs import make_dataset

    found: dict[str, list[float]] = {"one process": [], "cluster": []}
    with tempfile.TemporaryDirectory() as folder:
        make_dataset(Path(folder), [30] * videos)
        for number in range(rounds):
            for name, more in (("one process", ()), ("cluster", ("--cluster", "local", "--workers", str(workers)))):
                seconds = [
                    _run(Path(folder), f"{name[0]}{number}-{limit}.h5", limit, more) for limit in (videos // 4, videos)
                ]
                found[name].append((seconds[1] - seconds[0]) / (videos - videos // 4))
    medians = {name: statistics.median(values) for name, values in found.items()}
    facts = {
        "seconds_per_video": {name: {"median": medians[name], "all": sorted(values)} for name, values in found.items()},
        "workers": workers,
        "overhead_seconds_per_video": medians["cluster"] * workers - medians["one process"],
    }
    _say(facts, out)


def _run(folder: Path, out: str, limit: int, more: tuple[str, ...]) -> float:
    call = [
        sys.executable,
        "-m",
        "tests.extract.fake_backbone",
        "0",
        "run",
        "--manifest",
        str(folder / "small.csv"),
        "--quiet",
    ]
    call += [
        "--videos",
        str(folder / "videos"),
        "--weights",
        "random",
        "--backbone",
        "numbers",
        "--out",
        str(folder / out),
    ]
    began = time.perf_counter()
    subprocess.run([*call, "--limit", str(limit), *more], cwd=ROOT, check=True, stderr=subprocess.DEVNULL)
    return time.perf_counter() - began


@main.command()
@click.option("--videos", default=20_000, show_default=True)
@click.option("--workers", default=64, show_default=True)
@click.option(
    "--mean-seconds", default=0.4, show_default=True, help="Of a simulated video; times vary by a factor of 3."
)
@click.option("--hosts", default=2, show_default=True, help="Processes that the workers live in.")
@click.option("--port", default=18790, show_default=True)
@click.option("--store", "suffix", type=click.Choice([".zarr", ".h5"]), default=".zarr", show_default=True)
@click.option("--every-seconds", default=10.0, show_default=True, help="Between two publications.")
@click.option("--gpus", is_flag=True, help="Workers offer a GPU each, and tasks ask for one.")
@click.option("--folder", type=click.Path(path_type=Path), help="Where the store is written; a temporary folder.")
@click.option("--json", "json_path", type=click.Path(dir_okay=False, path_type=Path))
def simulate(
    videos: int, workers: int, mean_seconds: float, hosts: int, port: int, suffix: str, every_seconds: float, gpus: bool,
    folder: Path | None, json_path: Path | None,
) -> None:  # fmt: skip
    """Makespan against the ideal, time and memory of scheduler and packer, for a run of sleeps."""
    workers = workers // hosts * hosts
    with tempfile.TemporaryDirectory(dir=folder) as room:
        run = _simulate(videos, workers, mean_seconds, hosts, port, Path(room) / f"s{suffix}", every_seconds, gpus)
    result = Result(
        "Extraction", f"A cluster of {workers} workers and {videos:,} videos",
        f"python benchmarks/cluster.py simulate --videos {videos} --workers {workers} --mean-seconds {mean_seconds:g}{' --gpus' * gpus}",
        Machine.this(), tuple(_tables(run)),
        simulated=f"A video is a sleep of {run.ideal_seconds * workers / videos:.2f} s on average, and {CLIPS} x {DIM} features that are stored",
        notes=_notes(run),
    )  # fmt: skip
    result.tell(json_path)
    if run.num_done != videos or run.packing["rounds"][-1]["videos"] != videos:
        raise SystemExit("videos were lost")


@dataclass(frozen=True)
class Simulated:
    """One run of sleeps. CPU is in seconds of one core, from the first task to the last result."""

    num_done: int
    ideal_seconds: float
    """All sleeps over the workers, or the longest one."""
    makespan_seconds: float
    seconds_of_workers: dict[str, float]
    cpu: dict[str, float]
    """By process, and of all other programs."""
    memory_mb: dict[str, tuple[float, ...]]
    """By process: before, and after each tenth of the videos."""
    packing: dict[str, Any]
    """As `publish_all_the_time` has it."""


def _simulate(
    videos: int, workers: int, mean_seconds: float, hosts: int, port: int, store: Path, every_seconds: float, gpus: bool
) -> Simulated:  # fmt: skip
    import dask
    from distributed import Client

    from longtake.extract.executors import dask as cluster
    from longtake.extract.executors.schedulers import OURS
    from longtake.extract.plan.options import RunOptions
    from longtake.extract.plan.plan import Job, Plan
    from longtake.manifests.table import Manifest, ManifestRow

    rng = np.random.default_rng(0)
    seconds = np.minimum(rng.lognormal(0, 0.5, videos) * mean_seconds, 20 * mean_seconds)
    rows = tuple(ManifestRow(f"v{n}", end_seconds=float(s) * 1000) for n, s in enumerate(seconds))
    jobs = tuple(Job(row, ()) for row in rows)
    plan = Plan(Manifest("simulated", rows, ()), store.parent, {}, store, RunOptions(), (), (), jobs, 0, ())
    cluster.extract_task = sleep_for
    # Nothing is on disk: the manifest's own spans stand for the files' lengths.
    cluster.longest_first = lambda plan: sorted(plan.jobs, key=lambda job: -job.row.end_seconds)
    spawn = multiprocessing.get_context("spawn")
    address, manager = f"tcp://127.0.0.1:{port}", spawn.Manager()
    ended, packing = manager.Event(), manager.dict()
    scheduler = spawn.Process(target=host_scheduler, args=(port,), daemon=True)
    farms = [
        spawn.Process(target=host_workers, args=(address, workers // hosts, gpus), daemon=True) for _ in range(hosts)
    ]
    packer = spawn.Process(target=publish_all_the_time, args=(store, every_seconds, ended, packing))
    for process in (scheduler, *farms, packer):
        process.start()
    watched = {
        "the scheduler": [scheduler.pid], "the command": [os.getpid()], "the process that publishes": [packer.pid],
        f"{workers} workers in {hosts} processes": [farm.pid for farm in farms],
    }  # fmt: skip
    memory: dict[str, list[float]] = {name: [] for name, pids in watched.items() if len(pids) == 1}

    def look(num_done: int, seconds: float) -> None:
        for name, values in memory.items():
            values.append(psutil.Process(*watched[name]).memory_info().rss / 1e6)
        peaks = [one["peak_mb"] for one in packing.get("rounds", ())]
        now = ", ".join(f"{name} {values[-1]:.0f} MB" for name, values in memory.items())
        peak = f", {peaks[-1]:.0f} MB at most in its last publication" if peaks else ""
        click.echo(f"{num_done:,} of {videos:,} videos after {seconds:.0f} s: {now}{peak}", err=True)

    with dask.config.set(OURS), Client(address, timeout=60) as client:
        client.wait_for_workers(workers, timeout=300)
        look(0, 0.0)
        before, busy, begin, done = _cpu(watched), _busy(), time.monotonic(), 0
        for _ in cluster.spread(plan, client, "cuda" if gpus else "cpu"):
            done += 1
            if done % max(1, videos // 10) == 0:
                look(done, time.monotonic() - begin)
        end = time.monotonic()
        cpu = {name: seconds - before[name] for name, seconds in _cpu(watched).items()}
        cpu["other programs"] = max(0.0, _busy() - busy - sum(cpu.values()))
        cluster._end_segments_of_all(client)
        spans = list(client.run(spans_of).values())
    ended.set()
    packer.join()
    ideal = max(float(seconds.sum()) / workers, float(seconds.max()))
    return Simulated(done, ideal, end - begin, seconds_of_workers(spans, begin, end), cpu, {name: tuple(values) for name, values in memory.items()}, dict(packing))  # fmt: skip


def _cpu(processes: dict[str, list[int]]) -> dict[str, float]:
    return {name: sum(sum(psutil.Process(pid).cpu_times()[:2]) for pid in pids) for name, pids in processes.items()}


def _busy() -> float:
    """Seconds that cores of this machine have worked."""
    times = psutil.cpu_times()
    return times.user + times.nice + times.system + times.irq + times.softirq


def _tables(run: Simulated) -> Iterator[Table]:
    ideal, makespan = Row("ideal: all sleeps, over the workers", "s", (run.ideal_seconds,)), run.makespan_seconds
    rounds = run.packing["rounds"]
    yield Table(
        "", (ideal, Row("first task to last result", "s", (makespan,), f"{run.num_done / makespan:.0f} videos a second")),
        (Ratio("makespan / ideal", (makespan / run.ideal_seconds,), at_most=AT_MOST, headline=True),),
    )  # fmt: skip
    yield Table(
        "Where the time of a worker goes",
        tuple(Row(name, "s", (seconds,)) for name, seconds in run.seconds_of_workers.items()),
    )
    others = Row("other programs, in cores", "", (run.cpu.pop("other programs") / makespan,))
    per_video = (Row(name, "ms", (1000 * seconds / run.num_done,)) for name, seconds in run.cpu.items())
    yield Table("CPU for each video", (*per_video, others))
    peaks = [(one["videos"], one["peak_mb"]) for one in rounds]
    scheduler = [(run.num_done * tenth // 10, value) for tenth, value in enumerate(run.memory_mb["the scheduler"])]
    growth = (
        _growth("the scheduler", GROWTH["scheduler"], scheduler, run.num_done),
        _growth("the process that publishes", GROWTH["publisher"], peaks, run.num_done),
    )
    yield Table(
        "Memory",
        (
            *(
                Row(f"{name}, after all videos", "MB", values[-1:], _each("before, and after each tenth", values))
                for name, values in run.memory_mb.items()
            ),
            Row(
                "the process that publishes, at most in a publication", "MB", (max(peak for _, peak in peaks),),
                _each("in each", [one["peak_mb"] for one in rounds]),
            ),
            Row(
                "videos in the segments that a publication reads, at most", "", (max(one["read"] for one in rounds),),
                _each("in each", [one["read"] for one in rounds]),
            ),
            *(row for row, _ in growth),
        ),
        tuple(ratio for _, ratio in growth),
    )  # fmt: skip
    left = rounds[-1]["videos"] - (rounds[-2]["videos"] if rounds[1:] else 0)
    slowest = max(one["seconds"] for one in rounds)
    yield Table("Publishing during the run", (Row("the longest publication", "s", (slowest,), f"{left:,} videos were left to the last one"),))  # fmt: skip


def _growth(name: str, bound: float, memory: Sequence[tuple[int, float]], num_videos: int) -> tuple[Row, Ratio]:
    """From the most in the second fifth of a run to that in the last; `memory` is in MB after so many videos."""
    second = max((value for videos, value in memory if 1 <= 5 * videos / num_videos <= 2), default=math.nan)
    last = max(value for videos, value in memory if 5 * videos / num_videos >= 4)
    per_video = 1000 * (last - second) / (0.6 * num_videos)
    return (
        Row(f"{name}, more for each video after the second fifth", "kB", (per_video,)),
        Ratio(f"memory of {name}, last fifth / second fifth", (last / second,), at_most=bound),
    )


def _each(what: str, values: Sequence[float]) -> str:
    return f"{what}: {', '.join(f'{value:.0f}' for value in values)}"


def _notes(run: Simulated) -> tuple[str, ...]:
    spent, done = run.seconds_of_workers, run.num_done
    fixed = spent["until the first video"] + spent["after the last video"]
    many = fixed + (run.makespan_seconds - fixed) * MANY / done
    computed = (
        f" What is before the first video and after the last does not grow with the run: by these rates, {MANY:,} videos take {many:.0f} s, "
        f"{many / (run.ideal_seconds * MANY / done):.3f} of the ideal (computed, not measured)."
    )
    return (
        "The scheduler, the distribution of tasks, segments and publishing are the product's own; all processes share the cores of this machine. "
        f"Workers have imported what they need; their profilers and monitors are off, because many share a process.{computed * (done < MANY)}",
        "The scheduler has the settings of those that `extract run` starts. A store of less than 32 MiB is put in order as a whole at each publication, "
        "so growth is counted from the second fifth of the videos on; the process that publishes has the ids of all videos in memory. The longest videos come first, so that "
        "each second brings more of them towards the end, and each publication reads more.",
    )


@main.command()
@click.option("--videos", default=2000, show_default=True)
@click.option("--clips", default=68, show_default=True)
@click.option("--out", type=click.Path(path_type=Path))
def pack(videos: int, clips: int, out: Path | None) -> None:
    """How fast one process stores finished videos, and packs them into the store."""
    from longtake.features.labels import Labels
    from longtake.features.parts import pack as pack_parts
    from longtake.features.parts import part_writer
    from longtake.features.types import FeatureHeader, VideoFeatures, VideoRecord

    header = FeatureHeader("noise", "video", 1024, "random:0", None, True, 16, 16, "pad", 25.0)
    times, table = np.arange(clips, dtype=float), np.random.default_rng(0).normal(size=(clips, 1024)).astype(np.float32)
    ids = tuple(f"v{number}" for number in range(videos))
    labels = Labels(ids, ("train",) * videos, ("",) * videos, ("total",), np.ones((videos, 1)))
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "s.h5"
        began = time.perf_counter()
        with part_writer(store) as writer:
            for row, video_id in enumerate(ids):
                video = VideoFeatures(VideoRecord(video_id), table, times, times + 1)
                writer.append("noise", labels.subset([row]), {header: video})
        written = time.perf_counter() - began
        began = time.perf_counter()
        pack_parts(store, dataset="noise", card=None, labels=labels)
        packed = time.perf_counter() - began
    gigabytes = videos * clips * 4096 / 1e9
    facts = {"videos": videos, "gigabytes": gigabytes, "stored_per_second": videos / written}
    facts |= {"packed_per_second": videos / packed, "packed_gigabytes_per_second": gigabytes / packed}
    _say(facts, out)


def _say(facts: dict[str, object], out: Path | None) -> None:
    click.echo(json.dumps(facts, indent=2))
    if out:
        out.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
