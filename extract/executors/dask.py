"""The executor on dask workers, `extract run --cluster`: a video is the task; its part, on a shared disk, is the result.

A worker keeps its backbones from one video to the next. It runs the plan that a single process would run, with batches of the
same fixed shape, so the store is equal bit for bit however the videos are distributed, given as many threads for a model.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from longtake.extract.errors import ExtractError
from longtake.extract.executors.local import run_locally, write_failure
from longtake.extract.executors.schedulers import GPU, LOCAL, Note, connected
from longtake.extract.find_videos import known_seconds
from longtake.extract.plan.options import RunOptions
from longtake.extract.plan.plan import Job, Plan, make_plan
from longtake.extract.records import VideoResult
from longtake.manifests.table import Manifest, ManifestRow

if TYPE_CHECKING:
    from distributed import Client, Future

logger = logging.getLogger(__name__)

AHEAD = 2000
"""Videos submitted to the scheduler at a time: enough for many hundred workers, few enough that 100,000 cost it nothing."""
MOST_TRIES = 3
"""The first, and two more, for a video that kills its process. A scheduler with its own policy, 3 failures by default, has tried
that often before it reports one."""


class WorkerCannotStore(Exception):
    """The address of a worker and a reason: its disk is full or not mounted. Handled by the process that distributes the videos."""


@dataclass(frozen=True)
class Request:
    """What a worker needs to make the same plan itself."""

    run_id: str
    manifest: Manifest
    videos_folder: Path
    out: Path
    options: RunOptions
    recipe_ids: tuple[str, ...]


def run_on_cluster(plan: Plan, cluster: str, note: Note) -> Iterator[VideoResult]:
    """Yield each video as a worker finishes it. Raises `ExtractError` when the cluster cannot be reached, differs, or is lost.

    A video whose worker died, or could not store it, is tried by another, `MOST_TRIES` times in all; then it is a failure row.
    """
    options = plan.options
    device = str(plan.extractors[0].backbone.device)
    with connected(cluster, options.workers, options.cluster_options, note, device) as client:
        yield from spread(plan, client, device)


def spread(plan: Plan, client: Client, device: str = "cpu") -> Iterator[VideoResult]:
    """Distribute the videos of a plan over the workers of a client, the longest first."""
    from distributed import CancelledError, KilledWorker, as_completed
    from distributed.comm import CommClosedError

    request = Request(
        uuid4().hex,
        plan.manifest,
        plan.videos_folder.absolute(),
        plan.out.absolute(),
        replace(
            plan.options,
            cluster=None,
            cluster_options=None,
            workers=1,
            weights=tuple(map(_absolute, plan.options.weights)),
            # A worker that we start sees only its own GPU.
            device="cuda" if plan.options.cluster == LOCAL and device.startswith("cuda") else plan.options.device,
        ),
        tuple(header.recipe_id for header in plan.headers),
    )
    offers = [worker.get("resources", {}) for worker in client.scheduler_info(n_workers=-1)["workers"].values()]
    resources = {GPU: 1} if device.startswith("cuda") and any(GPU in offer for offer in offers) else None
    deaths: Counter[str] = Counter()
    retired: set[str] = set()
    futures: dict[Future, Job] = {}
    running = as_completed(loop=client.loop)
    waiting = iter(longest_first(plan))
    suspects: list[Job] = []

    def submit(jobs: Sequence[Job]) -> None:
        if not jobs:
            return
        # A task, not scattered data: what a dead worker held can then be recomputed.
        shared = client.submit(_itself, request, key=f"request-{uuid4().hex}")
        for job in jobs:
            wanted = tuple(extractor.header.recipe_id for extractor in job.extractors)
            key = f"video-{job.row.video_id}-{uuid4().hex}"
            future = client.submit(extract_video, shared, job.row, wanted, key=key, resources=resources)
            futures[future] = job
            running.add(future)

    submit(list(islice(waiting, AHEAD)))
    alone = False
    try:
        while futures:
            for future in running:
                job = futures.pop(future)
                if len(futures) < AHEAD // 2:
                    submit(list(islice(waiting, AHEAD - len(futures))))
                try:
                    yield future.result()
                except KilledWorker as error:
                    deaths[job.row.video_id] += error.allowed_failures + 1
                    times = deaths[job.row.video_id]
                    if alone and times >= MOST_TRIES:
                        message = f"the process that read it died, {times} times, without a Python error"
                        yield write_failure(plan, job, "KilledWorker", message)
                    else:
                        suspects.append(job)
                except WorkerCannotStore as error:
                    _retire(client, error, retired)
                    submit([job])
            # Several videos are blamed for one death: each is tried again by itself.
            alone = True
            submit(suspects[:1])
            del suspects[:1]
    except (CancelledError, CommClosedError) as error:
        raise ExtractError(
            f"the connection to the dask scheduler is lost ({error}); run the same command again to resume"
        ) from error


def _retire(client: Client, error: WorkerCannotStore, retired: set[str]) -> None:
    """Send no more videos to a worker that cannot store; adds it to `retired`. Raises `ExtractError` when it was the last."""
    worker, reason = error.args
    workers = set(client.scheduler_info(n_workers=-1)["workers"])
    if workers <= retired | {worker}:
        raise ExtractError(
            f"no worker is left that can store features: {reason}. What was finished is kept; run the same command again to resume"
        )
    if worker not in retired:
        retired.add(worker)
        logger.warning("worker %s takes no more videos: %s", worker, reason)
        client.retire_workers(workers=[worker], close_workers=True)


def longest_first(plan: Plan) -> list[Job]:
    """The jobs by length, so that no worker starts the longest video when the others are done.

    The length is the manifest's span, else the file's size, which needs no file to be opened; a missing file comes last.
    """

    def seconds(job: Job) -> float:
        return known_seconds(job.row, plan.videos_folder, plan.stems)

    return sorted(plan.jobs, key=seconds, reverse=True)


def _absolute(weights: str) -> str:
    """A path that is valid for workers, which may run in another folder; other weights are returned as they are."""
    name, equals, path = weights.partition("=")
    if Path(weights).is_file():
        return str(Path(weights).absolute())
    return f"{name}={Path(path).absolute()}" if equals and Path(path).is_file() else weights


def _itself(request: Request) -> Request:
    return request


_plans: dict[str, Plan] = {}
"""The worker's plan, with its loaded backbones, by run."""
_one_at_a_time = threading.Lock()


def extract_video(request: Request, row: ManifestRow, recipe_ids: Sequence[str]) -> VideoResult:
    """On a worker: one video with the backbones that it still lacks. Threads of one worker take turns, because they share networks
    and torch's settings."""
    with _one_at_a_time:
        plan = _plan_of(request)
        job = Job(row, tuple(e for e in plan.extractors if e.header.recipe_id in recipe_ids))
        try:
            (finished,) = run_locally(replace(plan, jobs=(job,)))
        except OSError as error:
            # Faults of a video are rows already; this is a fault of the machine: its disk is full, or the folder is missing.
            from distributed import get_worker

            raise WorkerCannotStore(get_worker().address, str(error)) from error
        return finished


def _plan_of(request: Request) -> Plan:
    if request.run_id not in _plans:
        plan = make_plan(
            request.manifest, request.videos_folder, request.out, request.options, for_recipes=request.recipe_ids
        )
        ours = tuple(header.recipe_id for header in plan.headers)
        if ours != request.recipe_ids:
            raise ExtractError(
                f"this worker would make features of recipe {', '.join(ours)}, not {', '.join(request.recipe_ids)}: its "
                f"weights, library versions or runtime differ from those on the submitting machine; in bfloat16, give --runtime torch or openvino"
            )
        _plans.clear()
        _plans[request.run_id] = plan
    return _plans[request.run_id]
