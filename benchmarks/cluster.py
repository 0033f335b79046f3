"""What a cluster costs and how far it scales, with the real scheduler: python benchmarks/cluster.py overhead|simulate

`overhead`: local worker processes on a folder of small files with a backbone that computes nothing, against one process, which has all cores; so what is
measured is what a cluster adds to a video, and what its processes take from each other. `simulate`: SIMULATED videos, a sleep for each, on as many workers as asked for; the scheduler and the
handing out of tasks are the product's own, and the order is the longest first, as there; each worker stores small features in a segment of its own, and one process
publishes them all the time. Writes JSON where --out says.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click
import numpy as np
import psutil

ROOT = Path(__file__).resolve().parents[1]


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


def _host_workers(address: str, count: int) -> None:
    """A process with many workers of one thread each."""
    import logging

    from distributed import Worker

    logging.getLogger("distributed").setLevel(logging.CRITICAL)

    async def serve() -> None:
        workers = [Worker(address, nthreads=1, dashboard=False, silence_logs=logging.CRITICAL) for _ in range(count)]
        await asyncio.gather(*(worker.finished() for worker in [await worker for worker in workers]))

    asyncio.run(serve())


def _host_scheduler(port: int) -> None:
    import logging

    from distributed import Scheduler

    logging.getLogger("distributed").setLevel(logging.CRITICAL)

    async def serve() -> None:
        async with Scheduler(host="127.0.0.1", port=port, dashboard=False) as scheduler:
            scheduler.allowed_failures = 0
            await scheduler.finished()

    asyncio.run(serve())


CLIPS, DIM = 8, 64
"""Of a simulated video."""


def sleep_for(request, wanted):
    """In the place of a worker's task: a sleep for each video, and features into the worker's segment."""
    from distributed import get_worker

    from longtake.extract.executors import dask as cluster
    from longtake.extract.executors.dask import TaskResult
    from longtake.extract.records import VideoResult
    from longtake.features.labels import labels_of
    from longtake.features.parts import part_writer
    from longtake.features.types import VideoFeatures, VideoRecord
    from longtake.manifests.table import Manifest

    began, done = time.monotonic(), []
    # Many workers are threads of one process here: each has its segment, as its own process would have.
    key = Path(f"{request.out}#{get_worker().address}")
    parts = cluster._parts.setdefault(key, part_writer(request.out))
    features, times = np.ones((CLIPS, DIM), np.float32), np.arange(float(CLIPS))
    for row, _ in wanted:
        time.sleep(row.end_seconds / 1000)
        record = VideoRecord(row.video_id, finished_utc="2026-11-30T00:00:00+00:00")
        own = labels_of(Manifest("simulated", (row,), ()))
        parts.append("simulated", own, {_header(): VideoFeatures(record, features, times, times + 1)})
        done.append(VideoResult(row.video_id, CLIPS, CLIPS * DIM, None))
    return TaskResult(tuple(done), time.monotonic() - began)


def _header():
    from longtake.features.types import FeatureHeader

    return FeatureHeader("noise", "video", DIM, "random:0", None, True, 16, 16, "pad", 25.0)


def _publish_all_the_time(out: Path, num_videos: int, every_seconds: float, ended, facts) -> None:
    """Another process publishes what there is, until all is published."""
    import warnings

    from longtake.features.labels import no_labels
    from longtake.features.parts import pack
    from longtake.features.store import open_store, store_exists

    warnings.simplefilter("ignore")
    process, rounds, last = psutil.Process(), [], False
    while not last:
        last = ended.wait(every_seconds)
        began = time.perf_counter()
        pack(out, dataset="simulated", card=None, labels=no_labels())
        seconds, held = time.perf_counter() - began, 0
        if store_exists(out):
            with open_store(out) as store:
                held = sum(len(stream.videos) for stream in store.streams)
        rounds.append({"seconds": seconds, "videos": held, "memory_mb": process.memory_info().rss / 1e6})
    facts["rounds"] = rounds
    facts["cpu_seconds"] = sum(process.cpu_times()[:2])


@main.command()
@click.option("--videos", default=20_000, show_default=True)
@click.option("--workers", default=64, show_default=True)
@click.option(
    "--mean-seconds", default=0.4, show_default=True, help="Of a simulated video; times vary by a factor of 3."
)
@click.option("--hosts", default=2, show_default=True, help="Processes that the workers live in.")
@click.option("--port", default=18790, show_default=True)
@click.option("--store", "suffix", type=click.Choice([".zarr", ".h5"]), default=".zarr", show_default=True)
@click.option("--every-seconds", default=30.0, show_default=True, help="Between two publications.")
@click.option("--folder", type=click.Path(path_type=Path), help="Where the store is written; a temporary folder.")
@click.option("--out", type=click.Path(path_type=Path))
def simulate(
    videos: int, workers: int, mean_seconds: float, hosts: int, port: int, suffix: str, every_seconds: float, folder: Path | None,
    out: Path | None,
) -> None:  # fmt: skip
    """Makespan against the ideal, time and memory of scheduler and packer, for a run of sleeps."""
    with tempfile.TemporaryDirectory(dir=folder) as room:
        _simulate(videos, workers, mean_seconds, hosts, port, Path(room) / f"s{suffix}", every_seconds, out)


def _simulate(
    videos: int,
    workers: int,
    mean_seconds: float,
    hosts: int,
    port: int,
    store: Path,
    every_seconds: float,
    out: Path | None,
) -> None:
    from distributed import Client

    from longtake.extract.executors import dask as cluster
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
    scheduler = spawn.Process(target=_host_scheduler, args=(port,), daemon=True)
    scheduler.start()
    address = f"tcp://127.0.0.1:{port}"
    farms = [spawn.Process(target=_host_workers, args=(address, workers // hosts), daemon=True) for _ in range(hosts)]
    shared = spawn.Manager()
    ended, packing = shared.Event(), shared.dict()
    packer = spawn.Process(target=_publish_all_the_time, args=(store, videos, every_seconds, ended, packing))
    for process in (*farms, packer):
        process.start()
    watched = psutil.Process(scheduler.pid)
    memory: list[float] = []
    with Client(address, timeout=60) as client:
        client.wait_for_workers(workers // hosts * hosts, timeout=300)
        before = watched.memory_info().rss
        cpu, own, began, first, done = _cpu(watched), _cpu(psutil.Process()), time.perf_counter(), None, 0
        for _ in cluster.spread(plan, client):
            first = first or time.perf_counter() - began
            done += 1
            if done % max(1, videos // 10) == 0:
                memory.append(watched.memory_info().rss / 1e6)
        makespan = time.perf_counter() - began
        cpu, own = _cpu(watched) - cpu, _cpu(psutil.Process()) - own
        cluster._end_segments_of_all(client)
    ended.set()
    packer.join()
    ideal = max(float(seconds.sum()) / (workers // hosts * hosts), float(seconds.max()))
    rounds = packing["rounds"]
    facts = {
        "videos": done,
        "workers": workers // hosts * hosts,
        "ideal_seconds": ideal,
        "makespan_seconds": makespan,
        "ratio": makespan / ideal,
        "seconds_to_first": first,
        "scheduler_cpu_ms_per_video": 1000 * cpu / done,
        "command_cpu_ms_per_video": 1000 * own / done,
        "scheduler_memory_mb": {"before": before / 1e6, "by_tenths": memory},
        "videos_per_second": done / makespan,
        "packer": {
            "publications": len(rounds), "videos_published": rounds[-1]["videos"], "cpu_ms_per_video": 1000 * packing["cpu_seconds"] / done,
            "seconds_of_each": [one["seconds"] for one in rounds], "memory_mb_of_each": [one["memory_mb"] for one in rounds],
            "left_in_parts": len(list(store.parent.glob("*.parts/*"))),
        },
    }  # fmt: skip
    _say(facts, out)
    if rounds[-1]["videos"] != videos or done != videos:
        raise SystemExit("videos were lost")


def _cpu(process: psutil.Process) -> float:
    return sum(process.cpu_times()[:2])


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
