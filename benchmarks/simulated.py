"""The processes of a simulated cluster: dask's scheduler, many workers in few processes, videos that are sleeps, and a process that publishes.

A module of its own, so that tasks name their function, as the product's do, and do not carry its code.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil

CLIPS, DIM = 8, 64
"""Of a simulated video."""


@dataclass(frozen=True)
class Span:
    """A task on a worker, in seconds of the machine's monotonic clock."""

    begin: float
    end: float
    asked: float
    """What its videos should take."""
    slept: float
    """What they took; the rest is storing."""


_spans: dict[str, list[Span]] = {}
"""By the address of the worker."""


def _run(serve: Callable[[], Coroutine[Any, Any, None]]) -> None:
    import logging

    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    asyncio.run(serve())


def host_workers(address: str, count: int, gpus: bool) -> None:
    """A process with many workers of one thread each."""
    import logging

    import dask
    from distributed import Worker

    # Each of them watches its process, and what its thread does, 100 times a second: what one node can spare is too much for 32 on one core.
    dask.config.set({"distributed.worker.profile.enabled": False, "distributed.admin.system-monitor.interval": "60s"})
    # Nodes have imported what a task needs long before the first one, each on its own cores.
    import longtake.extract.executors.dask  # noqa: F401

    async def serve() -> None:
        quiet = {"dashboard": False, "silence_logs": logging.CRITICAL}
        resources = {"GPU": 1} if gpus else None
        workers = [Worker(address, nthreads=1, resources=resources, **quiet) for _ in range(count)]
        await asyncio.gather(*(worker.finished() for worker in [await worker for worker in workers]))

    _run(serve)


def host_scheduler(port: int) -> None:
    """With the settings of the schedulers that the product starts."""
    import dask
    from distributed import Scheduler

    from longtake.extract.executors.schedulers import OURS

    async def serve() -> None:
        async with Scheduler(host="127.0.0.1", port=port, dashboard=False) as scheduler:
            await scheduler.finished()

    with dask.config.set(OURS):
        _run(serve)


def sleep_for(packed, wanted):
    """In the place of a worker's task: a sleep for each video, and features into the worker's segment."""
    from distributed import get_worker

    from longtake.extract.executors import dask as cluster
    from longtake.extract.executors.request import TaskResult, unpacked
    from longtake.extract.records import VideoResult
    from longtake.features.labels import labels_of
    from longtake.features.parts import part_writer
    from longtake.features.types import FeatureHeader, VideoFeatures, VideoRecord
    from longtake.manifests.table import Manifest

    request = unpacked(packed)
    begin, address, asked, slept, done = time.monotonic(), get_worker().address, 0.0, 0.0, []
    # Many workers are threads of one process here: each has its segment, as its own process would have.
    parts = cluster._parts.setdefault(Path(f"{request.out}#{address}"), part_writer(request.out))
    header = FeatureHeader("noise", "video", DIM, "random:0", None, True, 16, 16, "pad", 25.0)
    features, times = np.ones((CLIPS, DIM), np.float32), np.arange(float(CLIPS))
    for row, _ in wanted:
        asleep = time.monotonic()
        time.sleep(row.end_seconds / 1000)
        slept += time.monotonic() - asleep
        asked += row.end_seconds / 1000
        record = VideoRecord(row.video_id, finished_utc="2026-11-30T00:00:00+00:00")
        own = labels_of(Manifest("simulated", (row,), ()))
        parts.append("simulated", own, {header: VideoFeatures(record, features, times, times + 1)})
        done.append(VideoResult(row.video_id, CLIPS, CLIPS * DIM, None))
    end = time.monotonic()
    _spans.setdefault(address, []).append(Span(begin, end, asked, slept))
    return TaskResult(tuple(done), end - begin)


def spans_of(dask_worker) -> list[Span]:
    """On a worker: its tasks, in their order."""
    return _spans.pop(dask_worker.address, [])


def seconds_of_workers(spans: list[list[Span]], begin: float, end: float) -> dict[str, float]:
    """What workers did from the beginning to the end of a run, in seconds of an average worker; they add up to the makespan."""
    found = dict.fromkeys(
        ("until the first video", "videos", "later than asked", "storing", "between tasks", "after the last video"), 0.0
    )
    for tasks in spans:
        ends = [begin, *(task.end for task in tasks)]
        waits = [task.begin - before for task, before in zip(tasks, ends)]
        found["until the first video"] += waits[0] if waits else end - begin
        found["between tasks"] += sum(waits[1:])
        found["videos"] += sum(task.asked for task in tasks)
        found["later than asked"] += sum(task.slept - task.asked for task in tasks)
        found["storing"] += sum(task.end - task.begin - task.slept for task in tasks)
        found["after the last video"] += end - ends[-1] if tasks else 0.0
    return {name: seconds / len(spans) for name, seconds in found.items()}


def _reset_peak() -> None:
    """Where the system counts it: Linux."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")


def _peak_mb() -> float:
    """Of this process since then; 0 where it is not known."""
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / 1e6
    return 0.0


def publish_all_the_time(out: Path, every_seconds: float, ended, facts) -> None:
    """Another process publishes what there is, until all is published."""
    import warnings

    from longtake.features.labels import no_labels
    from longtake.features.parts import pack
    from longtake.features.store import open_store, store_exists

    warnings.simplefilter("ignore")
    process, rounds, last = psutil.Process(), [], False
    while not last:
        last = ended.wait(every_seconds)
        _reset_peak()
        began = time.perf_counter()
        packed = pack(out, dataset="simulated", card=None, labels=no_labels())
        seconds, held = time.perf_counter() - began, 0
        if store_exists(out):
            with open_store(out) as store:
                held = sum(len(stream.videos) for stream in store.streams)
        memory = process.memory_info().rss / 1e6
        peak = max(_peak_mb() or memory, memory)
        rounds.append(
            {"seconds": seconds, "videos": held, "read": packed.num_videos, "memory_mb": memory, "peak_mb": peak}
        )
        facts["rounds"] = list(rounds)
    facts["cpu_seconds"] = sum(process.cpu_times()[:2])
