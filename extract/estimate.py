"""Estimate the hours and gigabytes of a run from a measured sample of the user's own videos: the work of `extract plan`."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from longtake.extract.backbones.download import Progress
from longtake.extract.errors import ExtractError, VideoError
from longtake.extract.executors.local import run_locally
from longtake.extract.find_videos import find_video
from longtake.extract.plan.options import RunOptions
from longtake.extract.plan.plan import make_plan
from longtake.manifests.table import Manifest

BYTES_PER_VALUE = 4


@dataclass(frozen=True)
class Estimate:
    num_videos: int
    num_missing: int
    """Videos of the manifest that are not in the folder; they are not counted."""
    num_sampled: int
    num_failed: int
    """Of the sample."""
    sample_seconds: float
    """Wall time of the sample, on this machine, weights already loaded."""
    hours: float
    """For all videos, divided by the number of workers."""
    clips: int
    gigabytes: float
    """Of features, before compression."""


def estimate(
    manifest: Manifest, videos_folder: Path, options: RunOptions, *, sample: int, workers: int,
    on_download: Progress | None = None, on_note: Callable[[str], None] | None = None,
) -> Estimate:  # fmt: skip
    """Extract some videos into a temporary folder, and scale by the bytes of all files.

    The sample is spread evenly over the files by size, so that short and long videos are in it in proportion.
    """
    with tempfile.TemporaryDirectory(prefix="longtake-plan-") as folder:
        plan = make_plan(
            manifest, videos_folder, Path(folder) / "sample.h5", options, on_download=on_download, on_note=on_note
        )
        sizes = {}
        for job in plan.jobs:
            try:
                sizes[job.row.video_id] = find_video(job.row, videos_folder, plan.stems).stat().st_size
            except (VideoError, OSError):
                continue
        if not sizes:
            raise ExtractError(f"{videos_folder} holds none of the videos of {manifest.name}")
        by_size = sorted(sizes, key=sizes.__getitem__)
        num_sampled = min(sample, len(by_size))
        chosen = {by_size[int((number + 0.5) / num_sampled * len(by_size))] for number in range(num_sampled)}
        few = replace(plan, jobs=tuple(job for job in plan.jobs if job.row.video_id in chosen))
        began = time.perf_counter()
        done = list(run_locally(few))
        seconds = time.perf_counter() - began
    good = {result.video_id: result for result in done if not result.failure}
    if not good:
        reasons = "; ".join(f"{r.video_id}: {r.failure.error_message}" for r in done if r.failure)
        raise ExtractError(f"no video of the sample could be extracted ({reasons})")
    share = sum(sizes.values()) / sum(sizes[video_id] for video_id in chosen)
    share_good = sum(sizes.values()) / sum(sizes[video_id] for video_id in good)
    return Estimate(
        num_videos=len(sizes),
        num_missing=len(plan.jobs) + len(plan.missing) - len(sizes),
        num_sampled=len(chosen),
        num_failed=len(done) - len(good),
        sample_seconds=seconds,
        hours=seconds * share / 3600 / workers,
        clips=round(share_good * sum(result.num_clips for result in good.values())),
        gigabytes=share_good * sum(result.num_values for result in good.values()) * BYTES_PER_VALUE / 1e9,
    )
