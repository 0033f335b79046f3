"""The executor in this process: the pipeline, and a thread that stores finished videos while the models run."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing

from longtake.extract.decode import get_decoder
from longtake.extract.pipeline.batcher import ExtractedVideo, OnBatch, OnClips, run_jobs
from longtake.extract.pipeline.reader import Files
from longtake.extract.plan.plan import Job, Plan
from longtake.extract.records import VideoResult, failed_record, unread_record
from longtake.features.parts import WAIT_SECONDS, Packed, pack_or_wait, part_writer
from longtake.features.segments.writer import SegmentWriter
from longtake.features.types import FAILED, VideoFeatures, VideoRecord

QUEUED_VIDEOS = 2
"""Finished videos that wait for the disk; if it is slower than the models, the models wait for it."""
CLOCK_SECONDS = 1.0
"""A file may end this much before the end that a table states, without a remark."""


def run_locally(plan: Plan, on_batch: OnBatch | None = None, on_clips: OnClips | None = None) -> Iterator[VideoResult]:
    """Yield each video when it is on the disk. Raises `OSError` when it cannot be stored."""
    with part_writer(plan.out) as parts:
        yield from run_jobs_into(parts, plan, on_batch, on_clips)


def run_jobs_into(
    parts: SegmentWriter, plan: Plan, on_batch: OnBatch | None = None, on_clips: OnClips | None = None
) -> Iterator[VideoResult]:
    """`run_locally` for a process that stores the videos of several calls in one segment."""
    options = plan.options
    decoder = get_decoder(options.decoder)
    files = Files(plan.videos_folder, plan.stems, decoder, options.workers or 1, options.stall_timeout)
    # Videos are stored, and synced to the disk, while the models run on.
    waiting: deque[Future[VideoResult]] = deque()
    with (
        closing(run_jobs(plan.jobs, files, on_batch, on_clips)) as videos,
        ThreadPoolExecutor(1, thread_name_prefix="write") as writer,
    ):
        try:
            for video in videos:
                waiting.append(writer.submit(write_video, parts, plan, video))
                while waiting and (len(waiting) > QUEUED_VIDEOS or waiting[0].done()):
                    yield waiting.popleft().result()
        except KeyboardInterrupt:
            # What was computed is kept and reported.
            while waiting:
                yield waiting.popleft().result()
            raise
        while waiting:
            yield waiting.popleft().result()


def write_video(parts: SegmentWriter, plan: Plan, video: ExtractedVideo) -> VideoResult:
    """Store one video, and report it. Raises `OSError`, such as for a full disk."""
    own_labels = plan.labels.subset([plan.label_rows[video.row.video_id]])
    parts.append(plan.manifest.name, own_labels, video.features)
    found = list(video.features.values())
    return VideoResult(
        video.row.video_id,
        num_clips=sum(len(one.features) for one in found),
        num_values=sum(one.features.size for one in found),
        failure=next((one.record for one in found if one.record.status == FAILED), None),
        remark=_remark(found[0].record),
        warnings=tuple(_warnings(found[0].record, plan.options.square_pixels)),
    )


def write_failure(parts: SegmentWriter, plan: Plan, job: Job, kind: str, message: str) -> VideoResult:
    """Store the row of a video whose worker died."""
    record = failed_record(unread_record(job.row), "crash", kind, message)
    failures = {e.header: VideoFeatures.failure(record, e.spec.dim) for e in job.extractors}
    return write_video(parts, plan, ExtractedVideo(job.row, failures))


def _warnings(record: VideoRecord, square_pixels: bool) -> Iterator[str]:
    if not square_pixels and abs(record.pixel_aspect - 1) > 0:
        yield "pixels that are not square are taken as square: --square-pixels stretches pictures to their shown shape"
    if record.transfer in ("PQ", "HLG"):
        yield f"pictures of high dynamic range ({record.transfer}) are taken as they are stored, so they look pale to the networks"


def _remark(record: VideoRecord) -> str:
    """About a file that was read: a span that ends after it, as if the table had other units or the file were cut, and damage."""
    end, remarks = record.span_end_seconds, []
    if record.status == FAILED:
        return ""
    if end > record.duration_seconds + CLOCK_SECONDS:
        remarks.append(f"end_seconds is {end:g}, but the file ends at {record.duration_seconds:.1f} s")
    if record.damaged_frames > 0:
        remarks.append(f"{record.damaged_frames:.0f} pictures are damaged or lost")
    return "; ".join(remarks)


def publish(
    plan: Plan, *, wait_seconds: float = WAIT_SECONDS, on_wait: Callable[[str], None] = lambda line: None
) -> Packed:
    """Merge all parts into the store that readers see, as `pack_or_wait` does."""
    return pack_or_wait(
        plan.out, wait_seconds=wait_seconds, on_wait=on_wait, dataset=plan.manifest.name, card=plan.manifest.card,
        labels=plan.labels, headers=plan.headers, beside=plan.options.beside, memory=plan.options.memory,
    )  # fmt: skip
