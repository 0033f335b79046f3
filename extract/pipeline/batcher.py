"""Videos to features: decoding threads, a bounded queue, batches across videos, a part per finished video.

A video is decoded once for all backbones. Frames take as much memory as the batches and the queue, whatever a video's length. Every
batch has the same shape, the last one filled up, so that a clip's numbers do not depend on what it was batched with: a run that
was killed and resumed gives the same bits as one that was not.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from longtake.extract.clips import Clip
from longtake.extract.decode.base import Decoder
from longtake.extract.decode.killable import STALL_SECONDS
from longtake.extract.errors import VideoError
from longtake.extract.pipeline.device import Lane, Started, lane_for
from longtake.extract.pipeline.reader import (
    Crash,
    End,
    Extractor,
    Job,
    NoSound,
    ReadClip,
    Restart,
    failed_record,
    failed_with,
    read_videos,
)
from longtake.features.types import FAILED, FeatureHeader, VideoFeatures, VideoRecord
from longtake.manifests.table import ManifestRow

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


class _Table:
    """The rows of one video by one recipe, as they come; made in the size that they will have."""

    def __init__(self, num_clips: int, dim: int) -> None:
        self.features = np.empty((num_clips, dim), np.float32)
        self.start_seconds, self.end_seconds = np.empty(num_clips), np.empty(num_clips)
        self.num_filled = 0

    def put(self, clip: Clip, row: np.ndarray) -> None:
        self.num_filled += 1
        self.features[clip.index] = row
        self.start_seconds[clip.index], self.end_seconds[clip.index] = clip.start_seconds, clip.end_seconds


@dataclass
class _Gathered:
    """What one video gave so far, per recipe."""

    tables: dict[str, _Table] = field(default_factory=dict)
    failures: dict[str, VideoError] = field(default_factory=dict)
    """Recipes for which this video gave nothing, while it did for others."""
    ended: VideoRecord | None = None
    waiting: int = 0
    """Clips that are queued for a model, or in it."""


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
        yield from _Models(clips, on_clips, on_batch).run(len(jobs))
    finally:
        stop.set()
        for thread in threads:
            thread.join()


class _Models:
    """The side that runs the models, in the caller's thread."""

    def __init__(self, clips: queue.Queue, on_clips: Callable[[int], None], on_batch: OnBatch | None) -> None:
        self._clips, self._on_clips, self._on_batch = clips, on_clips, on_batch
        self._videos: dict[str, _Gathered] = {}
        self._pending: dict[str, list[ReadClip]] = {}
        """Clips by recipe that do not fill a batch yet."""
        self._lanes: dict[str, Lane] = {}
        self._under_way: deque[tuple[list[ReadClip], Started]] = deque()

    def run(self, unfinished: int) -> Iterator[Done]:
        while unfinished:
            try:
                item = self._clips.get_nowait()
            except queue.Empty:
                # Whoever waits for the decoder may as well fetch what the device has done.
                yield from self._collect(0)
                item = self._clips.get()
            if isinstance(item, Crash):
                raise item.error
            video = self._videos.setdefault(item.job.row.video_id, _Gathered())
            if isinstance(item, End):
                unfinished -= 1
                if item.record.status == FAILED:
                    yield from self._forget(item.job, video)
                video.ended = item.record
                if not video.waiting:
                    yield self._finish(item.job)
            elif isinstance(item, Restart):
                yield from self._forget(item.job, video)
            elif isinstance(item, NoSound):
                video.failures[item.extractor.header.recipe_id] = item.error
            else:
                recipe = item.extractor.header.recipe_id
                batch = self._pending.setdefault(recipe, [])
                batch.append(item)
                video.waiting += 1
                if len(batch) == item.extractor.batch_size:
                    self._pending[recipe] = []
                    yield from self._start(batch)
        for batch in self._pending.values():
            if batch:
                yield from self._start(batch)
        yield from self._collect(0)

    def _start(self, batch: list[ReadClip]) -> Iterator[Done]:
        extractor = batch[0].extractor
        recipe = extractor.header.recipe_id
        if recipe not in self._lanes:
            self._lanes[recipe] = lane_for(extractor.backbone, extractor.batch_size)
        lane = self._lanes[recipe]
        self._under_way.append((batch, lane.start([clip.frames for clip in batch])))
        yield from self._collect(lane.lag)

    def _collect(self, remaining: int) -> Iterator[Done]:
        """Fetch the oldest batches until so many are left, and yield the videos that they finish."""
        while len(self._under_way) > remaining:
            batch, started = self._under_way.popleft()
            extractor, rows = batch[0].extractor, started.rows()
            self._on_clips(len(batch))
            if self._on_batch is not None:
                self._on_batch(extractor, [(clip.job.row.video_id, clip.clip) for clip in batch], started.frames)
            finished = {}
            for clip, row in zip(batch, rows):
                video = self._videos[clip.job.row.video_id]
                recipe = extractor.header.recipe_id
                if recipe not in video.tables:
                    video.tables[recipe] = _Table(clip.num_clips, extractor.spec.dim)
                video.tables[recipe].put(clip.clip, row)
                video.waiting -= 1
                if video.ended is not None and not video.waiting:
                    finished[clip.job.row.video_id] = clip.job
            for job in finished.values():
                yield self._finish(job)

    def _forget(self, job: Job, video: _Gathered) -> Iterator[Done]:
        """Drop what a video has given so far, and its clips that still wait for a batch."""
        yield from self._collect(0)
        for recipe, batch in self._pending.items():
            self._pending[recipe] = [clip for clip in batch if clip.job is not job]
        video.tables.clear()
        video.failures.clear()
        video.waiting = 0

    def _finish(self, job: Job) -> Done:
        return _done(job, self._videos.pop(job.row.video_id))


def _done(job: Job, video: _Gathered) -> Done:
    record = replace(video.ended, finished_utc=datetime.now(UTC).isoformat(timespec="seconds"))
    videos = {}
    for extractor in job.extractors:
        recipe = extractor.header.recipe_id
        table = video.tables.get(recipe)
        failed = _failure(record, extractor, table, video.failures.get(recipe))
        videos[extractor.header] = (
            VideoFeatures.failure(failed, extractor.spec.dim)
            if failed
            else VideoFeatures(record, table.features, table.start_seconds, table.end_seconds)
        )
    return Done(job.row, videos)


def _failure(
    record: VideoRecord, extractor: Extractor, table: _Table | None, error: VideoError | None
) -> VideoRecord | None:
    """Why a video has no features of this backbone; None if it has."""
    if record.status == FAILED:
        return record
    if error is not None:
        return failed_with(record, error)
    if table is None:
        rule = extractor.rule
        begin, end = record.span_start_seconds, record.span_end_seconds
        seconds = np.fmin(end, record.duration_seconds) - np.fmax(begin, 0.0)
        message = f"{seconds:.2f} s give no clip of {rule.length} frames with tail {rule.tail!r}"
        message += (
            "; --tail pad of `extract run` keeps short videos" if rule.tail != "pad" else ": no frame is shown in them"
        )
        if begin >= record.duration_seconds:
            message = f"start_seconds {begin:g} lies after its end, {record.duration_seconds:.2f} s"
        return failed_record(record, "plan", "TooShort", message)
    if table.num_filled != len(table.features):
        message = f"the decoder gave {table.num_filled} of {len(table.features)} clips and said that all was well"
        return failed_record(record, "decode", "ClipsMissing", message)
    if not np.isfinite(table.features).all():
        return failed_record(record, "model", "NotFinite", "the network gave NaN or infinity; are the weights right?")
    return None
