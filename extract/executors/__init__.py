"""Two executors of one plan: this process, or the workers of a dask scheduler. Which of them runs it is decided here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from longtake.extract.pipeline.batcher import OnBatch, OnClips
    from longtake.extract.plan.plan import Plan
    from longtake.extract.records import VideoResult


def execute(
    plan: Plan, on_batch: OnBatch | None, on_clips: OnClips, on_note: Callable[[str], None]
) -> Iterator[VideoResult]:
    """Extract what is missing, yielding each video when its part is on disk. Call `publish` afterwards, even after an error.

    `on_batch` gets the models' input, `on_clips` the clips done; the workers of a cluster call neither. `on_note` gets the messages of a cluster.
    """
    if not plan.jobs:
        return
    if plan.options.cluster:
        from longtake.extract.executors.dask import run_on_cluster

        yield from run_on_cluster(plan, plan.options.cluster, on_note)
    else:
        from longtake.extract.executors.local import run_locally

        yield from run_locally(plan, on_batch, on_clips)
