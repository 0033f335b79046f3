"""Videos to features: decoding threads, a bounded queue, and batches of clips across videos.

A video is decoded once for all backbones. Memory depends on the batches and the queue, not on a video's length. Every batch has the
same shape, the last one filled up, so that a clip's numbers do not depend on the other clips of its batch: a run that was killed and
resumed gives the same bits as one that was not.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import numpy as np

from longtake.allocator import large_arrays_kept
from longtake.extract.clips import Clip
from longtake.extract.errors import VideoError
from longtake.extract.pipeline.device import ConvertedRunner, CudaRunner, HostRunner, Started, runner_for
from longtake.extract.pipeline.reader import Begin, End, Files, Message, NoSound, ReadClip, Restart, read_videos
from longtake.extract.plan.plan import Job
from longtake.extract.plan.settle import Extractor
from longtake.extract.records import failed_record, failed_with
from longtake.features.types import FAILED, FeatureHeader, VideoFeatures, VideoRecord
from longtake.manifests.table import ManifestRow

QUEUED_BATCHES = 2
"""Clips that wait for the model, in batches of the largest backbone: enough that neither side waits for the other's
jitter, little enough memory (a batch of 8 clips of 16x224x224 is 19 MB)."""

OnBatch = Callable[[Extractor, list[tuple[str, Clip]], np.ndarray], None]
"""Gets each batch with its extractor: the video id and the clip of every row, and the model's input."""
OnClips = Callable[[str, int, int], None]
"""Gets the id of a video, how many of its clips are computed, and how many it has, over all backbones."""


@dataclass(frozen=True)
class ExtractedVideo:
    """One video with its features for each header, or its failure as an empty row."""

    row: ManifestRow
    features: Mapping[FeatureHeader, VideoFeatures]


def run_jobs(
    jobs: Sequence[Job], files: Files, on_batch: OnBatch | None = None, on_clips: OnClips | None = None
) -> Generator[ExtractedVideo]:
    """Yield each video when it is finished. Closing the iterator, or an interruption, stops the decoding threads."""
    waiting: queue.SimpleQueue[Job] = queue.SimpleQueue()
    for job in jobs:
        waiting.put(job)
    largest = max((e.batch_size for job in jobs for e in job.extractors), default=1)
    messages: queue.Queue[Message] = queue.Queue(QUEUED_BATCHES * largest)
    stop = threading.Event()
    threads = [
        threading.Thread(
            target=read_videos, args=(waiting, messages, stop, files), name=f"decode-{number}", daemon=True
        )
        for number in range(min(files.num_workers, len(jobs)))
    ]
    for thread in threads:
        thread.start()
    try:
        with large_arrays_kept():
            yield from _Batcher(messages, on_batch, on_clips).run(len(jobs))
    finally:
        stop.set()
        for thread in threads:
            thread.join()


class _Table:
    """The rows of one video by one recipe, in arrays of their final size."""

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
    """The features of one video so far."""

    tables: dict[str, _Table] = field(default_factory=dict)
    """By recipe."""
    failures: dict[str, VideoError] = field(default_factory=dict)
    """By recipe, where this video has no features for it but has for others."""
    ended: VideoRecord | None = None
    waiting: int = 0
    """Clips that are queued for a model, or in it."""
    num_clips: int = 0
    num_done: int = 0


class _Batcher:
    """The models' side, in the caller's thread."""

    def __init__(self, messages: queue.Queue[Message], on_batch: OnBatch | None, on_clips: OnClips | None) -> None:
        self._messages, self._on_batch = messages, on_batch
        self._on_clips = on_clips or (lambda video_id, num_done, num_clips: None)
        self._videos: dict[str, _Gathered] = {}
        self._pending: dict[str, list[ReadClip]] = {}
        """Clips by recipe that do not fill a batch yet."""
        self._runners: dict[str, HostRunner | ConvertedRunner | CudaRunner] = {}
        self._running: deque[tuple[list[ReadClip], Started]] = deque()

    def run(self, unfinished: int) -> Iterator[ExtractedVideo]:
        while unfinished:
            try:
                message = self._messages.get_nowait()
            except queue.Empty:
                # The decoder is behind: meanwhile, fetch what the device has computed.
                yield from self._collect(0)
                message = self._messages.get()
            if isinstance(message, BaseException):
                raise message
            video = self._videos.setdefault(message.job.row.video_id, _Gathered())
            if isinstance(message, ReadClip):
                recipe = message.extractor.header.recipe_id
                batch = self._pending.setdefault(recipe, [])
                batch.append(message)
                video.waiting += 1
                if len(batch) == message.extractor.batch_size:
                    self._pending[recipe] = []
                    yield from self._start(batch)
            elif isinstance(message, Begin):
                video.num_clips, video.num_done = message.num_clips, 0
                self._on_clips(message.job.row.video_id, 0, message.num_clips)
            elif isinstance(message, NoSound):
                video.failures[message.extractor.header.recipe_id] = message.error
            elif isinstance(message, Restart):
                yield from self._forget(message.job, video)
            elif isinstance(message, End):
                unfinished -= 1
                if message.record.status == FAILED:
                    yield from self._forget(message.job, video)
                video.ended = message.record
                if not video.waiting:
                    yield self._finish(message.job, message.record)
        for batch in self._pending.values():
            if batch:
                yield from self._start(batch)
        yield from self._collect(0)

    def _start(self, batch: list[ReadClip]) -> Iterator[ExtractedVideo]:
        extractor = batch[0].extractor
        recipe = extractor.header.recipe_id
        if recipe not in self._runners:
            self._runners[recipe] = runner_for(extractor.backbone, extractor.batch_size)
        runner = self._runners[recipe]
        self._running.append((batch, runner.start([clip.frames for clip in batch])))
        yield from self._collect(runner.lag)

    def _collect(self, remaining: int) -> Iterator[ExtractedVideo]:
        """Fetch the oldest batches until `remaining` are left, and yield the videos that they finish."""
        while len(self._running) > remaining:
            batch, started = self._running.popleft()
            extractor, rows = batch[0].extractor, started.rows()
            if self._on_batch is not None:
                self._on_batch(extractor, [(clip.job.row.video_id, clip.clip) for clip in batch], started.frames)
            finished: dict[str, tuple[Job, VideoRecord]] = {}
            for clip, row in zip(batch, rows):
                video = self._videos[clip.job.row.video_id]
                recipe = extractor.header.recipe_id
                if recipe not in video.tables:
                    video.tables[recipe] = _Table(clip.num_clips, extractor.spec.dim)
                video.tables[recipe].put(clip.clip, row)
                video.waiting -= 1
                video.num_done += 1
                if video.ended is not None and not video.waiting:
                    finished[clip.job.row.video_id] = clip.job, video.ended
            for video_id in dict.fromkeys(clip.job.row.video_id for clip in batch):
                video = self._videos[video_id]
                self._on_clips(video_id, video.num_done, video.num_clips)
            for job, record in finished.values():
                yield self._finish(job, record)

    def _forget(self, job: Job, video: _Gathered) -> Iterator[ExtractedVideo]:
        """Drop the features of a video so far, and its clips that wait for a batch."""
        yield from self._collect(0)
        for recipe, batch in self._pending.items():
            self._pending[recipe] = [clip for clip in batch if clip.job is not job]
        video.tables.clear()
        video.failures.clear()
        video.waiting = 0

    def _finish(self, job: Job, record: VideoRecord) -> ExtractedVideo:
        video = self._videos.pop(job.row.video_id)
        record = replace(record, finished_utc=datetime.now(UTC).isoformat(timespec="seconds"))
        return ExtractedVideo(job.row, {e.header: _features(record, e, video) for e in job.extractors})


def _features(record: VideoRecord, extractor: Extractor, video: _Gathered) -> VideoFeatures:
    """The features of one video for one backbone, or the failure that says why there are none."""
    recipe = extractor.header.recipe_id
    table, error = video.tables.get(recipe), video.failures.get(recipe)
    if record.status == FAILED:
        failed = record
    elif error is not None:
        failed = failed_with(record, error)
    elif table is None:
        failed = failed_record(record, "plan", "TooShort", _too_short(record, extractor))
    elif table.num_filled != len(table.features):
        message = f"the decoder returned {table.num_filled} of {len(table.features)} clips without reporting an error"
        failed = failed_record(record, "decode", "ClipsMissing", message)
    elif not np.isfinite(table.features).all():
        message = "the network returned NaN or infinity; check the weights"
        failed = failed_record(record, "model", "NotFinite", message)
    else:
        return VideoFeatures(record, table.features, table.start_seconds, table.end_seconds)
    return VideoFeatures.failure(failed, extractor.spec.dim)


def _too_short(record: VideoRecord, extractor: Extractor) -> str:
    rule = extractor.rule
    begin, end = record.span_start_seconds, record.span_end_seconds
    if begin >= record.duration_seconds:
        return f"start_seconds {begin:g} is after the end of the video, {record.duration_seconds:.2f} s"
    seconds = np.fmin(end, record.duration_seconds) - np.fmax(begin, 0.0)
    advice = "; --tail pad of `extract run` keeps short videos" if rule.tail != "pad" else ": no frame is shown in them"
    return f"{seconds:.2f} s give no clip of {rule.length} frames with tail {rule.tail!r}{advice}"
