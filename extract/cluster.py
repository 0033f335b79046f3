"""`extract run --cluster`: the same pipeline on dask workers. A video is the task; its part, on a shared disk, is the result.

A worker keeps its backbones from one video to the next. It runs the plan that a single process would run, with batches of the
same fixed shape, so the store is equal bit for bit however the videos were shared out.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import uuid4

from extract.decode import get_decoder
from extract.errors import ExtractError, VideoError
from extract.reading import Job
from extract.run import Finished, Plan, RunOptions, make_plan, run_plan, write_failure
from extract.sources import find_video
from manifests.table import Manifest, ManifestRow

LOCAL = "local"
CONNECT_SECONDS = 20


@dataclass(frozen=True)
class Request:
    """What a worker needs to make the same plan again."""

    run_id: str
    manifest: Manifest
    videos_folder: Path
    out: Path
    options: RunOptions
    recipe_ids: tuple[str, ...]


def run_on_cluster(plan: Plan, cluster: str) -> Iterator[Finished]:
    """Yield each video as a worker finishes it. Raises `ExtractError` for a cluster that is not there or differs."""
    try:
        import dask
        from distributed import CancelledError, KilledWorker, as_completed
    except ImportError as error:
        raise ExtractError(f"--cluster needs {error.name}: python -m pip install 'longtake[extract]'") from error
    run_id = uuid4().hex
    request = Request(
        run_id,
        plan.manifest,
        plan.videos_folder.absolute(),
        plan.out.absolute(),
        replace(plan.options, cluster=None, workers=1),
        tuple(extractor.header.recipe_id for extractor in plan.extractors),
    )
    # Dask blames a worker's death on every video that waited there. Each is then tried once more, alone, which tells who did it.
    with dask.config.set({"distributed.scheduler.allowed-failures": 0}), ExitStack() as stack:
        client = _connect(cluster, plan.options.workers, stack)
        suspects = []

        def submit(jobs: Sequence[Job], name: str) -> dict:
            # A task, not scattered data: what a dead worker held can then be made again.
            shared = client.submit(_itself, request, key=f"request-{name}-{run_id}")
            futures = {}
            for job in jobs:
                wanted = tuple(extractor.header.recipe_id for extractor in job.extractors)
                future = client.submit(
                    extract_video, shared, job.row, wanted, key=f"{name}-{job.row.video_id}-{run_id}"
                )
                futures[future] = job
            return futures

        try:
            futures = submit(longest_first(plan), "video")
            for future in as_completed(list(futures)):
                job = futures.pop(future)
                try:
                    yield future.result()
                except KilledWorker:
                    suspects.append(job)
            for job in suspects:
                (future,) = submit([job], "alone")
                try:
                    yield future.result()
                except KilledWorker:
                    message = "the process that read it died, twice, without a word from Python"
                    yield write_failure(plan, job, "KilledWorker", message)
        except CancelledError as error:
            raise ExtractError(
                f"--cluster {cluster}: the scheduler gave up ({error}); run the same command again"
            ) from error


def longest_first(plan: Plan) -> list[Job]:
    """So that no worker starts the longest video when the others are done. By the manifest's span, else by what the file's header
    promises; a file that cannot be opened comes last."""
    decoder = get_decoder(plan.options.decoder)

    def seconds(job: Job) -> float:
        row = job.row
        try:
            promised = decoder.promised_seconds(find_video(row, plan.videos_folder, plan.stems))
        except (VideoError, OSError):
            return 0.0
        end = promised if row.end_seconds is None else min(row.end_seconds, promised or row.end_seconds)
        return max(end - (row.start_seconds or 0.0), 0.0)

    return sorted(plan.jobs, key=seconds, reverse=True)


def _connect(cluster: str, num_workers: int, stack: ExitStack):
    from distributed import Client, LocalCluster

    if cluster == LOCAL:
        address = stack.enter_context(
            LocalCluster(
                n_workers=num_workers, threads_per_worker=1, dashboard_address=None, silence_logs=logging.CRITICAL
            )
        )
    else:
        address = cluster
    try:
        return stack.enter_context(Client(address, timeout=CONNECT_SECONDS))
    except (OSError, ValueError) as error:
        raise ExtractError(
            f"--cluster {cluster}: no dask scheduler answers there ({error}). Start one with `dask scheduler`, or use "
            f"--cluster local"
        ) from error


def _itself(request: Request) -> Request:
    return request


_plans: dict[str, Plan] = {}
"""The worker's plan, with its loaded backbones, by run."""


def extract_video(request: Request, row: ManifestRow, recipe_ids: Sequence[str]) -> Finished:
    """On a worker: one video with the backbones that it still lacks."""
    plan = _plans.get(request.run_id)
    if plan is None:
        plan = make_plan(request.manifest, request.videos_folder, request.out, request.options)
        ours = tuple(extractor.header.recipe_id for extractor in plan.extractors)
        if ours != request.recipe_ids:
            raise ExtractError(
                f"this worker would make features of recipe {', '.join(ours)}, not {', '.join(request.recipe_ids)}: its "
                f"weights or libraries are others than those of the machine that started the run"
            )
        _plans.clear()
        _plans[request.run_id] = plan
    job = Job(row, tuple(e for e in plan.extractors if e.header.recipe_id in recipe_ids))
    (finished,) = run_plan(replace(plan, jobs=(job,)))
    return finished
