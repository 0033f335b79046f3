"""The executor in this process: the pipeline, and a thread that writes parts while the models run."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing

from longtake.extract.decode import get_decoder
from longtake.extract.executors.parts import write_video
from longtake.extract.pipeline.batcher import OnBatch, run_jobs
from longtake.extract.plan.plan import Plan
from longtake.extract.records import VideoResult

QUEUED_PARTS = 2
"""Finished videos that wait for the disk; if it is slower than the models, the models wait for it."""


def run_locally(
    plan: Plan, *, on_clips: Callable[[int], None] = lambda num_clips: None, on_batch: OnBatch | None = None
) -> Iterator[VideoResult]:
    """Yield each video when its part is on disk. Raises `OSError` when a part cannot be written."""
    videos = run_jobs(
        plan.jobs,
        videos_folder=plan.videos_folder,
        stems=plan.stems,
        decoder=get_decoder(plan.options.decoder),
        num_workers=plan.options.workers or 1,
        stall_seconds=plan.options.stall_timeout,
        on_clips=on_clips,
        on_batch=on_batch,
    )
    # Parts are written, and synced to the disk, while the models run on.
    waiting: deque[Future[VideoResult]] = deque()
    with closing(videos), ThreadPoolExecutor(1, thread_name_prefix="write") as writer:
        try:
            for video in videos:
                waiting.append(writer.submit(write_video, plan, video))
                while waiting and (len(waiting) > QUEUED_PARTS or waiting[0].done()):
                    yield waiting.popleft().result()
        except KeyboardInterrupt:
            # What was computed is kept and reported.
            while waiting:
                yield waiting.popleft().result()
            raise
        while waiting:
            yield waiting.popleft().result()
