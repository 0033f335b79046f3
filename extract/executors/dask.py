"""The executor on dask workers, `extract run --cluster`: a task is a video, or several short ones; their features, in the worker's segment on a
shared disk, are the result.

A worker keeps its backbones from one video to the next. It runs the plan that a single process would run, with batches of the
same fixed shape, so the store is equal bit for bit however the videos are distributed, given as many threads for a model.
"""

from __future__ import annotations

import atexit
import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from longtake.extract.errors import ExtractError, VideoError
from longtake.extract.executors.local import run_jobs_into, write_failure
from longtake.extract.executors.pace import Pace
from longtake.extract.executors.request import Request, TaskResult, unpacked
from longtake.extract.executors.schedulers import GPU, LOCAL, Note, connected, without_pause
from longtake.extract.find_videos import find_video, known_seconds
from longtake.extract.plan.plan import Job, Plan, make_plan
from longtake.extract.records import VideoResult
from longtake.features.parts import part_writer
from longtake.features.segments.writer import SegmentWriter
from longtake.manifests.table import ManifestRow

if TYPE_CHECKING:
    from distributed import Client, Future, as_completed

logger = logging.getLogger(__name__)

SHOWN_ROWS = 20
MOST_TRIES = 3
"""The first, and two more, for a video that kills its process. A scheduler with its own policy, 3 failures by default, has tried
that often before it reports one."""


def run_on_cluster(plan: Plan, cluster: str, note: Note) -> Iterator[VideoResult]:
    """Yield each video as a worker finishes it. Raises `ExtractError` when the cluster cannot be reached, differs, or is lost.

    A video whose worker died, or could not store it, is tried by another, `MOST_TRIES` times in all; then it is a failure row.
    """
    options = plan.options
    device = str(plan.extractors[0].backbone.device)
    with connected(cluster, options.workers, options.cluster_options, note, device) as client:
        try:
            yield from spread(plan, client, device)
        finally:
            _end_segments_of_all(client)


def _end_segments_of_all(client: Client) -> None:
    """Workers may live on. What they stored is published in any case; it is removed when they have sealed it."""
    from distributed import CancelledError
    from distributed.comm import CommClosedError

    with suppress(CancelledError, CommClosedError, OSError, TimeoutError):
        client.run(end_segments, on_error="ignore")


def spread(plan: Plan, client: Client, device: str = "cpu") -> Iterator[VideoResult]:
    """Distribute the videos of a plan over the workers of a client, the longest first."""
    from distributed import CancelledError, KilledWorker, as_completed
    from distributed.comm import CommClosedError

    request = Request(
        uuid4().hex,
        # Tasks bring their rows: a table of 100,000 takes each worker a second to load.
        replace(plan.manifest, rows=tuple(islice(_rows_with_video(plan), SHOWN_ROWS))),
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
    packed = request.packed()
    offers = [worker.get("resources", {}) for worker in _workers(client).values()]
    resources = {GPU: 1} if device.startswith("cuda") and any(GPU in offer for offer in offers) else None
    deaths: Counter[str] = Counter()
    retired: set[str] = set()
    tasks: dict[Future, Sequence[Job]] = {}
    running = as_completed(loop=client.loop)
    waiting = deque(longest_first(plan))
    suspects: list[Job] = []
    parts = part_writer(plan.out)
    pace = Pace(lambda: len(_workers(client)))

    def submit(jobs: Sequence[Job]) -> None:
        if jobs:
            wanted = [(job.row, tuple(extractor.header.recipe_id for extractor in job.extractors)) for job in jobs]
            future = client.submit(
                without_pause, extract_task, packed, wanted, key=f"video-{uuid4().hex}", resources=resources
            )
            tasks[future] = jobs
            running.add(future)

    def fill() -> None:
        while waiting and len(tasks) < pace.num_ahead:
            submit([waiting.popleft() for _ in range(min(len(waiting), pace.num_videos(len(waiting))))])

    fill()
    alone = False
    try:
        while tasks:
            for future, result in _completed(client, running):
                jobs = tasks.pop(future)
                try:
                    done = result or future.result()
                    pace.took(len(done.videos), done.seconds)
                    fill()
                    yield from done.videos
                    if done.cannot_store:
                        _retire(client, done.cannot_store, retired)
                        stored = {video.video_id for video in done.videos}
                        submit([job for job in jobs if job.row.video_id not in stored])
                except KilledWorker as error:
                    for job in jobs:
                        deaths[job.row.video_id] += error.allowed_failures + 1
                        times = deaths[job.row.video_id]
                        if alone and times >= MOST_TRIES:
                            message = f"the process that read it died, {times} times, without a Python error, as for lack of memory"
                            yield write_failure(parts, plan, job, "KilledWorker", message)
                        else:
                            suspects.append(job)
                    fill()
            # Several videos are blamed for one death: each is tried again by itself.
            alone = True
            submit(suspects[:1])
            del suspects[:1]
    except (CancelledError, CommClosedError) as error:
        raise ExtractError(
            f"the connection to the dask scheduler is lost ({error}); run the same command again to resume"
        ) from error
    finally:
        parts.seal()


def _completed(client: Client, running: as_completed) -> Iterator[tuple[Future, TaskResult | None]]:
    """Tasks as they end, until none is left, with the result where there is one: all that have ended are asked for at once. One at a time, each
    is a round trip to the scheduler and to its worker, 50 a second at most, and workers run out of tasks meanwhile."""
    from distributed import KilledWorker

    for ended in running.batches():
        finished = [future for future in ended if future.status == "finished"]
        try:
            with _connection():
                results = dict(zip(finished, client.gather(finished)))
        except KilledWorker:
            # One had to run again, because its result was lost with a worker. Asked by itself, each says what became of it.
            results = {}
        for future in ended:
            yield future, results.get(future)


@contextmanager
def _connection() -> Iterator[None]:
    """Dask raises `OSError` as well where a scheduler does not answer any more, as the disk of a worker or of this process may."""
    from distributed.comm import CommClosedError

    try:
        yield
    except OSError as error:
        raise CommClosedError(str(error)) from error


def _workers(client: Client) -> Mapping[str, Any]:
    """What the scheduler says of each, by address."""
    with _connection():
        workers: Mapping[str, Any] = client.scheduler_info(n_workers=-1)["workers"]
        return workers


def _retire(client: Client, cannot_store: tuple[str, str], retired: set[str]) -> None:
    """Send no more videos to a worker that cannot store; adds it to `retired`. Raises `ExtractError` when it was the last."""
    worker, reason = cannot_store
    workers = set(_workers(client))
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


def _rows_with_video(plan: Plan) -> Iterator[ManifestRow]:
    """Rows that show whether a worker has the videos, those of the jobs first. A job may be of a file that is missing, whose row then replaces
    that of another file."""
    for row in chain((job.row for job in plan.jobs), plan.manifest.rows):
        try:
            find_video(row, plan.videos_folder, plan.stems)
        except (VideoError, OSError):
            continue
        yield row


def _absolute(weights: str) -> str:
    """A path that is valid for workers, which may run in another folder; other weights are returned as they are."""
    name, equals, path = weights.partition("=")
    if Path(weights).is_file():
        return str(Path(weights).absolute())
    return f"{name}={Path(path).absolute()}" if equals and Path(path).is_file() else weights


_plans: dict[str, Plan] = {}
"""The worker's plan, with its loaded backbones, by run."""
_one_at_a_time = threading.Lock()


def extract_task(packed: bytes, wanted: Sequence[tuple[ManifestRow, Sequence[str]]]) -> TaskResult:
    """On a worker, with a `Request`: some videos, each with the recipes that it still lacks. Threads of one worker take turns, because they share networks
    and torch's settings."""
    with _one_at_a_time:
        began = time.monotonic()
        request = unpacked(packed)
        plan = _plan_of(request)
        jobs = tuple(Job(row, tuple(e for e in plan.extractors if e.header.recipe_id in ids)) for row, ids in wanted)
        manifest = replace(plan.manifest, rows=tuple(row for row, _ in wanted))
        videos: dict[str, VideoResult] = {}
        failure = None
        try:
            for video in run_jobs_into(_parts_of(request.out), replace(plan, manifest=manifest, jobs=jobs)):
                videos[video.video_id] = video
        except OSError as error:
            # Faults of a video are rows already; this is a fault of the machine: its disk is full, or the folder is missing.
            from distributed import get_worker

            failure = get_worker().address, str(error)
        return TaskResult(tuple(videos.values()), time.monotonic() - began, failure)


_parts: dict[Path, SegmentWriter] = {}
"""The worker's segments, by store."""


def _parts_of(out: Path) -> SegmentWriter:
    if out not in _parts:
        if not _parts:
            atexit.register(end_segments)
        _parts[out] = part_writer(out)
    return _parts[out]


def end_segments() -> None:
    """On a worker, when the run ends: what it stored can be published and removed."""
    for parts in list(_parts.values()):
        parts.seal()


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
