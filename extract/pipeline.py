"""Videos to features: decoding threads, a bounded queue, batches across videos, a part per finished video.

A video is decoded once for all backbones. Memory is a function of the batch and the queue, never of a video's length. Every
batch has the same shape, the last one filled up, so that a clip's numbers do not depend on what it was batched with: a run that
was killed and resumed gives the same bits as one that was not.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from extract.apart import STALL_SECONDS
from extract.clips import Clip
from extract.decode import Decoder
from extract.errors import VideoError
from extract.reading import Crash, End, Extractor, Job, NoSound, ReadClip, Restart, failed_record, read_videos
from features.types import FAILED, FeatureHeader, VideoFeatures, VideoRecord
from manifests.table import ManifestRow

if TYPE_CHECKING:
    import torch

QUEUED_BATCHES = 2
"""Clips that wait for the model, in batches of the largest backbone: enough that neither side waits for the other's
jitter, few enough that memory does not notice (a batch of 8 clips of 16x224x224 is 19 MB)."""


OnBatch = Callable[["Extractor", list[tuple[str, Clip]], "torch.Tensor"], None]
"""Gets each batch as the model does: which clips of which videos, and their input."""


@dataclass(frozen=True)
class Done:
    """What a video gave: features for each header, or its failure as an empty row."""

    row: ManifestRow
    videos: Mapping[FeatureHeader, VideoFeatures]


@dataclass
class _Gathered:
    """The rows of one video so far, per recipe."""

    rows: dict[str, list[tuple[Clip, np.ndarray]]] = field(default_factory=dict)
    failures: dict[str, VideoError] = field(default_factory=dict)
    """Recipes for which this video gave nothing, while it did for others."""
    ended: VideoRecord | None = None
    waiting: int = 0
    """Clips that are queued for a model."""


def extract_videos(
    jobs: Sequence[Job],
    *,
    videos_folder: Path,
    stems: Mapping[str, list[str]],
    decoder: Decoder,
    num_workers: int,
    stall_seconds: float = STALL_SECONDS,
    on_clips: Callable[[int], None] = lambda num_clips: None,
    on_batch: OnBatch | None = None,
) -> Iterator[Done]:
    """Yield each video as it is finished. Closing the iterator, or an interruption, stops the decoding threads."""
    waiting: queue.SimpleQueue[Job] = queue.SimpleQueue()
    for job in jobs:
        waiting.put(job)
    largest = max((e.batch_size for job in jobs for e in job.extractors), default=1)
    clips: queue.Queue = queue.Queue(QUEUED_BATCHES * largest)
    stop = threading.Event()
    threads = [
        threading.Thread(
            target=read_videos,
            args=(waiting, clips, stop, videos_folder, stems, decoder, max(num_workers, 1), stall_seconds),
            name=f"decode-{number}",
            daemon=True,
        )
        for number in range(min(max(num_workers, 1), len(jobs)))
    ]
    for thread in threads:
        thread.start()
    try:
        yield from _run_models(clips, len(jobs), on_clips, on_batch)
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def _run_models(
    clips: queue.Queue, num_jobs: int, on_clips: Callable[[int], None], on_batch: OnBatch | None
) -> Iterator[Done]:
    gathered: dict[str, _Gathered] = {}
    pending: dict[str, list[ReadClip]] = {}
    unfinished = num_jobs
    while unfinished:
        item = clips.get()
        if isinstance(item, Crash):
            raise item.error
        video = gathered.setdefault(item.job.row.video_id, _Gathered())
        if isinstance(item, End):
            video.ended = item.record
            unfinished -= 1
            if item.record.status == FAILED:
                _forget(item.job, video, pending)
            if not video.waiting:
                yield _finish(item.job, gathered.pop(item.job.row.video_id))
        elif isinstance(item, Restart):
            _forget(item.job, video, pending)
        elif isinstance(item, NoSound):
            video.failures[item.extractor.header.recipe_id] = item.error
        else:
            recipe = item.extractor.header.recipe_id
            batch = pending.setdefault(recipe, [])
            batch.append(item)
            video.waiting += 1
            if len(batch) == item.extractor.batch_size:
                pending[recipe] = []
                yield from _run_batch(batch, gathered, on_clips, on_batch)
    for batch in pending.values():
        if batch:
            yield from _run_batch(batch, gathered, on_clips, on_batch)


def _forget(job: Job, video: _Gathered, pending: dict[str, list[ReadClip]]) -> None:
    """Drop what a video has given so far, and its clips that still wait for a batch."""
    for recipe, batch in pending.items():
        pending[recipe] = [clip for clip in batch if clip.job is not job]
    video.rows.clear()
    video.failures.clear()
    video.waiting = 0


def _run_batch(
    batch: list[ReadClip], gathered: dict[str, _Gathered], on_clips: Callable[[int], None], on_batch: OnBatch | None
) -> Iterator[Done]:
    import torch

    extractor = batch[0].extractor
    filler = [batch[-1].frames] * (extractor.batch_size - len(batch))
    frames = torch.from_numpy(np.stack([clip.frames for clip in batch] + filler))
    features = extractor.backbone.forward(frames).cpu().numpy()
    on_clips(len(batch))
    if on_batch is not None:
        on_batch(extractor, [(clip.job.row.video_id, clip.clip) for clip in batch], frames)
    finished = {}
    for clip, row in zip(batch, features):
        video = gathered[clip.job.row.video_id]
        video.rows.setdefault(extractor.header.recipe_id, []).append((clip.clip, row))
        video.waiting -= 1
        if video.ended is not None and not video.waiting:
            finished[clip.job.row.video_id] = clip.job
    for video_id, job in finished.items():
        yield _finish(job, gathered.pop(video_id))


def _finish(job: Job, video: _Gathered) -> Done:
    record = replace(video.ended, finished_utc=datetime.now(UTC).isoformat(timespec="seconds"))
    videos = {}
    for extractor in job.extractors:
        recipe = extractor.header.recipe_id
        rows = sorted(video.rows.get(recipe, []), key=lambda pair: pair[0].index)
        if recipe in video.failures and record.status != FAILED:
            error = video.failures[recipe]
            failed = failed_record(record, error.stage, type(error).__name__, str(error))
            videos[extractor.header] = VideoFeatures.failure(failed, extractor.spec.dim)
            continue
        if record.status == FAILED or not rows:
            videos[extractor.header] = VideoFeatures.failure(_no_clips(record, extractor), extractor.spec.dim)
            continue
        table = np.stack([row for _, row in rows]).astype(np.float32)
        if not np.isfinite(table).all():
            failed = failed_record(
                record, "model", "NotFinite", "the network gave NaN or infinity; are the weights right?"
            )
            videos[extractor.header] = VideoFeatures.failure(failed, extractor.spec.dim)
            continue
        starts = np.array([clip.start_seconds for clip, _ in rows])
        ends = np.array([clip.end_seconds for clip, _ in rows])
        videos[extractor.header] = VideoFeatures(record, table, starts, ends)
    return Done(job.row, videos)


def _no_clips(record: VideoRecord, extractor: Extractor) -> VideoRecord:
    if record.status == FAILED:
        return record
    rule = extractor.rule
    message = (
        f"{record.duration_seconds:.2f} s give no clip of {rule.length} frames with tail {rule.tail!r}; "
        f"--tail pad keeps short videos"
    )
    return failed_record(record, "plan", "TooShort", message)
