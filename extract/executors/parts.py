"""What both executors do with their results: write each video as a part file, and publish all parts as the store."""

from __future__ import annotations

from collections.abc import Callable

from longtake.extract.pipeline.batcher import ExtractedVideo
from longtake.extract.plan.job import Job
from longtake.extract.plan.plan import Plan
from longtake.extract.records import VideoResult, failed_record, unread_record
from longtake.features.parts import WAIT_SECONDS, Packed, pack_or_wait, write_part
from longtake.features.types import FAILED, VideoFeatures, VideoRecord

CLOCK_SECONDS = 1.0
"""A file may end this much before the end that a table states, without a remark."""


def write_video(plan: Plan, video: ExtractedVideo) -> VideoResult:
    """Write one video's part, and report it. Raises `OSError`, such as for a full disk."""
    own_labels = plan.labels.subset([plan.labels.video_ids.index(video.row.video_id)])
    write_part(plan.out, plan.manifest.name, own_labels, video.features)
    found = list(video.features.values())
    return VideoResult(
        video.row.video_id,
        num_clips=sum(len(one.features) for one in found),
        num_values=sum(one.features.size for one in found),
        failure=next((one.record for one in found if one.record.status == FAILED), None),
        remark=_remark(found[0].record),
    )


def write_failure(plan: Plan, job: Job, kind: str, message: str) -> VideoResult:
    """Write the part of a video whose worker died."""
    record = failed_record(unread_record(job.row), "crash", kind, message)
    failures = {e.header: VideoFeatures.failure(record, e.spec.dim) for e in job.extractors}
    return write_video(plan, ExtractedVideo(job.row, failures))


def _remark(record: VideoRecord) -> str:
    """About a span that ends after the file: the table has other units, or the file is cut."""
    end = record.span_end_seconds
    if record.status == FAILED or not end > record.duration_seconds + CLOCK_SECONDS:
        return ""
    return f"end_seconds is {end:g}, but the file ends at {record.duration_seconds:.1f} s"


def publish(
    plan: Plan, *, wait_seconds: float = WAIT_SECONDS, on_wait: Callable[[str], None] = lambda line: None
) -> Packed:
    """Merge all parts into the store that readers see, as `pack_or_wait` does."""
    return pack_or_wait(
        plan.out, wait_seconds=wait_seconds, on_wait=on_wait, dataset=plan.manifest.name, card=plan.manifest.card,
        labels=plan.labels,
    )  # fmt: skip
