"""`extract run --cluster`: the same pipeline on dask workers. A video is the task; its part, on a shared disk, is the result.

A worker keeps its backbones from one video to the next. It runs the plan that a single process would run, with batches of the
same fixed shape, so the store is equal bit for bit however the videos were shared out, given as many threads for a model.
"""

from __future__ import annotations

import logging
import os
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import count, islice
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from longtake.extract.decode import get_decoder
from longtake.extract.decode.killable import InProcess, KillableProcess
from longtake.extract.errors import ExtractError, VideoError
from longtake.extract.executors.schedulers import GPU, LOCAL, Note, connected
from longtake.extract.find_videos import find_video
from longtake.extract.pipeline.reader import Job
from longtake.extract.plan.plan import Finished, Plan, RunOptions, make_plan, run_plan, write_failure
from longtake.manifests.table import Manifest, ManifestRow

if TYPE_CHECKING:
    from distributed import Client, Future

logger = logging.getLogger(__name__)

AHEAD = 2000
"""Videos that the scheduler knows of at a time: enough for many hundred workers, few enough that 100,000 cost it nothing."""
PROBES = 16
"""File headers that are read at a time, to put the longest videos first; on a network disk it is the waiting that takes long."""
MOST_TRIES = 3
"""The first, and two more: a video that takes its process down is not tried for ever. A scheduler with a policy of its own, which
is 3 failures unless it is told otherwise, has tried that often before it says so."""


class WorkerCannotStore(Exception):
    """A worker's own trouble, on its way to whoever shares out the videos."""

    def __init__(self, worker: str, reason: str) -> None:
        super().__init__(worker, reason)
        self.worker, self.reason = worker, reason


@dataclass(frozen=True)
class Request:
    """What a worker needs to make the same plan again."""

    run_id: str
    manifest: Manifest
    videos_folder: Path
    out: Path
    options: RunOptions
    recipe_ids: tuple[str, ...]


def run_on_cluster(plan: Plan, cluster: str, note: Note = lambda line: None) -> Iterator[Finished]:
    """Yield each video as a worker finishes it. Raises `ExtractError` for a cluster that is not there, differs, or fails whole.

    A video whose worker died, or could not store it, is tried by another, `MOST_TRIES` times in all; then it is a failure row.
    """
    options = plan.options
    device = next((str(e.backbone.device) for e in plan.extractors if hasattr(e.backbone, "device")), "cpu")
    with connected(cluster, options.workers, options.cluster_options, device=device, note=note) as client:
        yield from spread(plan, client, device)


def spread(plan: Plan, client: Client, device: str = "cpu") -> Iterator[Finished]:
    """The videos of a plan over the workers of a client, the longest first."""
    from distributed import CancelledError, KilledWorker, as_completed
    from distributed.comm import CommClosedError

    run_id = uuid4().hex
    request = Request(
        run_id,
        plan.manifest,
        plan.videos_folder.absolute(),
        plan.out.absolute(),
        replace(
            plan.options,
            cluster=None,
            cluster_options=None,
            workers=1,
            weights=tuple(map(_absolute, plan.options.weights)),
            # A worker of ours sees its own GPU alone.
            device="cuda" if plan.options.cluster == LOCAL and device.startswith("cuda") else plan.options.device,
        ),
        tuple(header.recipe_id for header in plan.headers),
    )
    offers = [worker.get("resources", {}) for worker in client.scheduler_info(n_workers=-1)["workers"].values()]
    resources = {GPU: 1} if device.startswith("cuda") and any(GPU in offer for offer in offers) else None
    submitted = count()
    deaths: Counter[str] = Counter()
    retired: set[str] = set()

    def submit(jobs: Sequence[Job]) -> dict[Future, Job]:
        if not jobs:
            return {}
        # A task, not scattered data: what a dead worker held can then be made again.
        shared = client.submit(_itself, request, key=f"request-{uuid4().hex}")
        futures = {}
        for job in jobs:
            wanted = tuple(extractor.header.recipe_id for extractor in job.extractors)
            key = f"video-{job.row.video_id}-{next(submitted)}-{run_id}"
            future = client.submit(extract_video, shared, job.row, wanted, key=key, resources=resources)
            futures[future] = job
        return futures

    suspects: list[Job] = []
    waiting = iter(longest_first(plan))
    futures = submit(list(islice(waiting, AHEAD)))
    running = as_completed(list(futures))
    try:
        for future in running:
            job = futures.pop(future)
            if len(futures) < AHEAD // 2:
                more = submit(list(islice(waiting, AHEAD - len(futures))))
                futures |= more
                running.update(list(more))
            try:
                yield future.result()
            except KilledWorker as error:
                deaths[job.row.video_id] += error.allowed_failures + 1
                suspects.append(job)
            except WorkerCannotStore as error:
                _retire(client, error, retired)
                again = submit([job])
                futures |= again
                running.update(list(again))
        while suspects:
            job = suspects.pop(0)
            (future,) = submit([job])
            try:
                yield future.result()
            except KilledWorker as error:
                deaths[job.row.video_id] += error.allowed_failures + 1
                if deaths[job.row.video_id] < MOST_TRIES:
                    suspects.append(job)
                    continue
                message = f"the process that read it died, {deaths[job.row.video_id]} times, without a word from Python"
                yield write_failure(plan, job, "KilledWorker", message)
            except WorkerCannotStore as error:
                _retire(client, error, retired)
                suspects.append(job)
    except (CancelledError, CommClosedError) as error:
        raise ExtractError(f"the dask scheduler is gone ({error}); run the same command again") from error


def _retire(client: Client, error: WorkerCannotStore, retired: set[str]) -> None:
    """Nothing more goes to a worker that cannot store; adds it to `retired`. Raises `ExtractError` when it was the last."""
    workers = set(client.scheduler_info(n_workers=-1)["workers"])
    if workers <= retired | {error.worker}:
        raise ExtractError(
            f"no worker is left that can store features: {error.reason}. What was finished is kept; the same command goes on"
        )
    if error.worker not in retired:
        retired.add(error.worker)
        logger.warning("worker %s takes no more videos: %s", error.worker, error.reason)
        client.retire_workers(workers=[error.worker], close_workers=True)


def longest_first(plan: Plan) -> list[Job]:
    """So that no worker starts the longest video when the others are done. By the manifest's span, else by what the file's header
    promises; a file that cannot be opened comes last."""
    decoder, stall_seconds = get_decoder(plan.options.decoder), plan.options.stall_timeout
    stop, own = threading.Event(), threading.local()

    def seconds(job: Job) -> float:
        row = job.row
        if not hasattr(own, "host"):
            own.host = opened.enter_context(KillableProcess(stall_seconds, stop) if stall_seconds else InProcess())
        try:
            path = find_video(row, plan.videos_folder, plan.stems)
            promised = own.host.call(decoder.promised_seconds, path)
        except (VideoError, OSError):
            return 0.0
        end = promised if row.end_seconds is None else min(row.end_seconds, promised or row.end_seconds)
        return max(end - (row.start_seconds or 0.0), 0.0)

    with ExitStack() as opened, ThreadPoolExecutor(min(PROBES, 4 * (os.cpu_count() or 1))) as pool:
        try:
            lengths = list(pool.map(seconds, plan.jobs))
        finally:
            stop.set()
    order = sorted(range(len(lengths)), key=lambda index: -lengths[index])
    return [plan.jobs[index] for index in order]


def _absolute(weights: str) -> str:
    """Workers may have been started in another folder."""
    name, equals, path = weights.partition("=")
    if Path(weights).is_file():
        return str(Path(weights).absolute())
    return f"{name}={Path(path).absolute()}" if equals and Path(path).is_file() else weights


def _itself(request: Request) -> Request:
    return request


_plans: dict[str, Plan] = {}
"""The worker's plan, with its loaded backbones, by run."""
_one_at_a_time = threading.Lock()


def extract_video(request: Request, row: ManifestRow, recipe_ids: Sequence[str]) -> Finished:
    """On a worker: one video with the backbones that it still lacks. Threads of one worker take turns, since they share networks and
    torch's settings."""
    with _one_at_a_time:
        return _extract_video(request, row, recipe_ids)


def _extract_video(request: Request, row: ManifestRow, recipe_ids: Sequence[str]) -> Finished:
    plan = _plans.get(request.run_id)
    if plan is None:
        plan = make_plan(request.manifest, request.videos_folder, request.out, request.options, networks=True)
        ours = tuple(header.recipe_id for header in plan.headers)
        if ours != request.recipe_ids:
            raise ExtractError(
                f"this worker would make features of recipe {', '.join(ours)}, not {', '.join(request.recipe_ids)}: its "
                f"weights or libraries are others than those of the machine that started the run"
            )
        _plans.clear()
        _plans[request.run_id] = plan
    job = Job(row, tuple(e for e in plan.extractors if e.header.recipe_id in recipe_ids))
    try:
        (finished,) = run_plan(replace(plan, jobs=(job,)))
    except OSError as error:
        # Faults of the video are rows already; this one is the machine's: its disk is full, or the folder is not there.
        from distributed import get_worker

        raise WorkerCannotStore(get_worker().address, str(error)) from error
    return finished
