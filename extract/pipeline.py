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

from extract.backbones.spec import Backbone, BackboneSpec, ClipRule, FrameRule, SoundRule
from extract.clips import Clip, plan_clips
from extract.decode import Decoder, VideoInfo
from extract.errors import FramesNotPackets, SoundMissing, VideoError
from extract.sources import find_video
from extract.weights import file_sha256
from features.types import FAILED, FeatureHeader, VideoFeatures, VideoRecord
from manifests.table import ManifestRow

if TYPE_CHECKING:
    import torch

MAX_MESSAGE = 500
"""Characters of an error message that a row keeps."""
QUEUED_BATCHES = 2
"""Clips that wait for the model, in batches of the largest backbone: enough that neither side waits for the other's
jitter, few enough that memory does not notice (a batch of 8 clips of 16x224x224 is 19 MB)."""


OnBatch = Callable[["Extractor", list[tuple[str, Clip]], "torch.Tensor"], None]
"""Gets each batch as the model does: which clips of which videos, and their input."""


@dataclass(frozen=True)
class Extractor:
    """A backbone ready to run, and the recipe its features will carry."""

    spec: BackboneSpec
    rule: ClipRule
    header: FeatureHeader
    backbone: Backbone
    batch_size: int


@dataclass(frozen=True)
class Job:
    """One video and the backbones that still lack it."""

    row: ManifestRow
    extractors: tuple[Extractor, ...]


@dataclass(frozen=True)
class Done:
    """What a video gave: features for each header, or its failure as an empty row."""

    row: ManifestRow
    videos: Mapping[FeatureHeader, VideoFeatures]


@dataclass(frozen=True)
class _Clip:
    """A clip on its way to the model."""

    job: Job
    extractor: Extractor
    clip: Clip
    frames: np.ndarray
    """uint8 `(length, height, width, 3)`, or float32 `(frames, bins)` of sound."""


@dataclass(frozen=True)
class _End:
    """No more clips of this video will come."""

    job: Job
    record: VideoRecord


@dataclass(frozen=True)
class _NoSound:
    """One backbone gets nothing of this video; the others go on."""

    job: Job
    extractor: Extractor
    error: VideoError


@dataclass(frozen=True)
class _Restart:
    """Forget the clips of this video; they come again."""

    job: Job


@dataclass(frozen=True)
class _Crash:
    """A decoding thread met a defect of ours; the run must not go on as if nothing had happened."""

    error: BaseException


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
            target=_decode_videos,
            args=(waiting, clips, stop, videos_folder, stems, decoder, max(num_workers, 1)),
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
    pending: dict[str, list[_Clip]] = {}
    unfinished = num_jobs
    while unfinished:
        item = clips.get()
        if isinstance(item, _Crash):
            raise item.error
        video = gathered.setdefault(item.job.row.video_id, _Gathered())
        if isinstance(item, _End):
            video.ended = item.record
            unfinished -= 1
            if item.record.status == FAILED:
                _forget(item.job, video, pending)
            if not video.waiting:
                yield _finish(item.job, gathered.pop(item.job.row.video_id))
        elif isinstance(item, _Restart):
            _forget(item.job, video, pending)
        elif isinstance(item, _NoSound):
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


def _forget(job: Job, video: _Gathered, pending: dict[str, list[_Clip]]) -> None:
    """Drop what a video has given so far, and its clips that still wait for a batch."""
    for recipe, batch in pending.items():
        pending[recipe] = [clip for clip in batch if clip.job is not job]
    video.rows.clear()
    video.failures.clear()
    video.waiting = 0


def _run_batch(
    batch: list[_Clip], gathered: dict[str, _Gathered], on_clips: Callable[[int], None], on_batch: OnBatch | None
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


def failed_record(record: VideoRecord, stage: str, kind: str, message: str) -> VideoRecord:
    """The row of a video that gave nothing, with a message that any table can show."""
    printable = "".join(c if c.isprintable() else " " for c in message)[:MAX_MESSAGE]
    return replace(record, status=FAILED, error_stage=stage, error_type=kind, error_message=printable)


def _decode_videos(
    waiting: queue.SimpleQueue,
    clips: queue.Queue,
    stop: threading.Event,
    folder: Path,
    stems: Mapping[str, list[str]],
    decoder: Decoder,
    num_workers: int,
) -> None:
    """A thread: one video after the other, until none is left or the run stops."""

    def put(item: object) -> None:
        while not stop.is_set():
            try:
                return clips.put(item, timeout=0.2)
            except queue.Full:
                continue

    while not stop.is_set():
        try:
            job = waiting.get_nowait()
        except queue.Empty:
            return
        row = job.row
        start, end = (float("nan") if value is None else value for value in (row.start_seconds, row.end_seconds))
        record = VideoRecord(row.video_id, span_start_seconds=start, span_end_seconds=end)
        try:
            path = find_video(row, folder, stems)
            record = replace(record, source_name=path.name, source_sha256=file_sha256(path))
            record = _decode_video(job, path, record, decoder, num_workers, put, stop)
        except (VideoError, OSError) as error:
            record = failed_record(record, getattr(error, "stage", "decode"), type(error).__name__, str(error))
        except BaseException as error:  # a thread has nobody else to tell
            put(_Crash(error))
            return
        put(_End(job, record))


def _decode_video(
    job: Job, path: Path, record: VideoRecord, decoder: Decoder, num_workers: int, put: Callable, stop: threading.Event
) -> VideoRecord:
    info = decoder.probe(path)
    try:
        _send_clips(job, info, decoder, num_workers, put, stop)
    except FramesNotPackets:
        # Only known at the end: what was sent is taken back, and the video is decoded again by its pictures' own times.
        put(_Restart(job))
        info = decoder.probe(path, exact=True)
        _send_clips(job, info, decoder, num_workers, put, stop)
    seconds = info.timeline.end_seconds
    return replace(record, duration_seconds=seconds, fps=info.timeline.fps)


def _send_clips(
    job: Job, info: VideoInfo, decoder: Decoder, num_workers: int, put: Callable, stop: threading.Event
) -> None:
    """One pass over the pictures for all backbones that see, one over the sound for each that hears."""
    row = job.row
    plans = {e: plan_clips(info.timeline, e.rule, row.start_seconds, row.end_seconds) for e in job.extractors}
    seeing = [_Assembler(job, e, plan) for e, plan in plans.items() if isinstance(e.spec.frames, FrameRule)]
    _send_pictures(seeing, info, decoder, num_workers, put, stop)
    for extractor, plan in plans.items():
        if isinstance(extractor.spec.frames, SoundRule) and not stop.is_set():
            _send_sound(job, extractor, plan, info, put, stop)


def _send_pictures(
    assemblers: list[_Assembler], info: VideoInfo, decoder: Decoder, num_workers: int, put: Callable,
    stop: threading.Event,
) -> None:  # fmt: skip
    """A picture is kept until the last clip that needs it is sent."""
    wanted = {frame for assembler in assemblers for clip in assembler.plan for frame in clip.frames}
    if not assemblers:  # sound needs the pictures' times, which are known
        return
    for index, picture in decoder.pictures(info, wanted, num_threads=0 if num_workers == 1 else 1):
        converted: dict = {}
        for assembler in assemblers:
            rule = assembler.extractor.spec.frames
            if assembler.needs(index):
                if rule not in converted:
                    converted[rule] = picture.rgb(rule)
                for clip in assembler.add(index, converted[rule]):
                    put(clip)
        if stop.is_set():
            return


def _send_sound(
    job: Job, extractor: Extractor, plan: tuple[Clip, ...], info: VideoInfo, put: Callable, stop: threading.Event
) -> None:
    from extract.banks import filter_banks
    from extract.decode.sound import original_rate, read_sound, sound_seconds

    rule = extractor.spec.frames
    spans = [(clip.start_seconds, clip.end_seconds) for clip in plan]
    try:
        rate = original_rate(info)
        if rule.spans == "equal parts" and plan:
            edges = np.linspace(*sound_seconds(info, rule.sample_rate), len(plan) + 1)
            spans = list(zip(edges, edges[1:]))
        for clip, samples in zip(plan, read_sound(info, spans, rule.sample_rate)):
            put(_Clip(job, extractor, clip, filter_banks(samples, rule, rate)))
            if stop.is_set():
                return
    except SoundMissing as error:
        if rule.missing == "silence":
            silence = filter_banks(np.zeros(0, np.float32), rule, rule.sample_rate)
            for clip in plan:
                put(_Clip(job, extractor, clip, silence))
            return
        put(_NoSound(job, extractor, error))
    except VideoError as error:
        put(_NoSound(job, extractor, error))


class _Assembler:
    """Collects the frames of one backbone's clips as they come by."""

    def __init__(self, job: Job, extractor: Extractor, plan: tuple[Clip, ...]) -> None:
        self.job, self.extractor, self.plan = job, extractor, plan
        self._next = 0
        self._frames: dict[int, np.ndarray] = {}
        self._needed = {frame for clip in plan for frame in clip.frames}

    def needs(self, index: int) -> bool:
        return index in self._needed

    def add(self, index: int, frame: np.ndarray) -> Iterator[_Clip]:
        """Keep a frame; yield every clip that it completes."""
        self._frames[index] = frame
        while self._next < len(self.plan) and self.plan[self._next].frames[-1] <= index:
            clip = self.plan[self._next]
            self._next += 1
            yield _Clip(self.job, self.extractor, clip, np.stack([self._frames[i] for i in clip.frames]))
            first_needed = self.plan[self._next].frames[0] if self._next < len(self.plan) else index + 1
            self._frames = {i: kept for i, kept in self._frames.items() if i >= first_needed}
