"""The reading side of the pipeline: threads that turn videos into clips, and what they tell the side that runs the models."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from longtake.errors import printable
from longtake.extract.backbones.spec import Backbone, BackboneSpec
from longtake.extract.clips import Clip, plan_clips
from longtake.extract.decode.base import FRAMES, Decoder, VideoInfo, with_true_times
from longtake.extract.decode.killable import DecoderHost, InProcess, KillableProcess
from longtake.extract.decode.shared_memory import Stopped
from longtake.extract.errors import DecoderFailed, SoundMissing, VideoError
from longtake.extract.find_videos import find_video
from longtake.extract.preprocessing import ClipRule, FrameRule, SoundRule
from longtake.features.types import FAILED, FeatureHeader, VideoRecord
from longtake.files import file_sha256
from longtake.manifests.table import ManifestRow

MAX_MESSAGE = 500
"""Characters of an error message that a row keeps."""


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
class ReadClip:
    """A clip on its way to the model."""

    job: Job
    extractor: Extractor
    clip: Clip
    frames: np.ndarray
    """uint8 `(length, height, width, 3)`, or float32 `(frames, bins)` of sound."""
    num_clips: int
    """Of this video, for this backbone."""


@dataclass(frozen=True)
class End:
    """No more clips of this video will come."""

    job: Job
    record: VideoRecord


@dataclass(frozen=True)
class NoSound:
    """One backbone gets nothing of this video; the others go on."""

    job: Job
    extractor: Extractor
    error: VideoError


@dataclass(frozen=True)
class Restart:
    """Forget the clips of this video; they come again."""

    job: Job


@dataclass(frozen=True)
class Crash:
    """A decoding thread met a defect of ours; the run must not go on as if nothing had happened."""

    error: BaseException


def read_videos(
    waiting: queue.SimpleQueue,
    clips: queue.Queue,
    stop: threading.Event,
    folder: Path,
    stems: Mapping[str, list[str]],
    decoder: Decoder,
    num_workers: int,
    stall_seconds: float,
) -> None:
    """A thread: one video after the other, until none is left or the run stops. Files are opened in a process that is killed when
    it stalls for so long; 0 opens them here."""

    def put(item: object) -> None:
        while not stop.is_set():
            try:
                return clips.put(item, timeout=0.2)
            except queue.Full:
                continue

    with KillableProcess(stall_seconds, stop) if stall_seconds else InProcess() as host:
        while not stop.is_set():
            try:
                job = waiting.get_nowait()
            except queue.Empty:
                return
            try:
                put(End(job, _read_video(job, folder, stems, decoder, num_workers, host, put, stop)))
            except Stopped:
                return
            except BaseException as error:  # a thread has nobody else to tell
                put(Crash(error))
                return


def _read_video(
    job: Job, folder: Path, stems: Mapping[str, list[str]], decoder: Decoder, num_workers: int, host: DecoderHost, put: Callable,
    stop: threading.Event,
) -> VideoRecord:  # fmt: skip
    row, record = job.row, record_of(job.row)
    try:
        path = find_video(row, folder, stems)
        record = replace(record, source_name=printable(path.name), source_sha256=file_sha256(path))
        return _decode_video(job, path, record, decoder, num_workers, host, put, stop)
    except (VideoError, OSError) as error:
        return failed_with(record, error)


def _decode_video(
    job: Job, path: Path, record: VideoRecord, decoder: Decoder, num_workers: int, host: DecoderHost, put: Callable,
    stop: threading.Event,
) -> VideoRecord:  # fmt: skip
    def send(info: VideoInfo) -> VideoRecord:
        if info.times_from == FRAMES:
            put(Restart(job))
        readers = decoder.for_file(info)
        for chosen in readers:
            try:
                _send_clips(job, info, chosen, num_workers, host, put, stop)
                break
            except VideoError:
                if chosen is readers[-1]:
                    raise
                # What a file's probe does not show, such as pictures that differ too much: whoever is right on every file reads it anew.
                put(Restart(job))
        return replace(record, duration_seconds=info.timeline.end_seconds, fps=info.timeline.fps, decoder=chosen.name)

    return with_true_times(partial(host.call, decoder.probe, path), send)


def _send_clips(
    job: Job,
    info: VideoInfo,
    decoder: Decoder,
    num_workers: int,
    host: DecoderHost,
    put: Callable,
    stop: threading.Event,
) -> None:
    """One pass over the pictures for all backbones that see, one over the sound for each that hears."""
    row = job.row
    plans = {e: plan_clips(info.timeline, e.rule, row.start_seconds, row.end_seconds) for e in job.extractors}
    seeing = [_Assembler(job, e, plan) for e, plan in plans.items() if isinstance(e.spec.frames, FrameRule)]
    _send_pictures(seeing, info, decoder, num_workers, host, put, stop)
    for extractor, plan in plans.items():
        if isinstance(extractor.spec.frames, SoundRule) and not stop.is_set():
            _send_sound(job, extractor, plan, info, host, put, stop)


def _send_pictures(
    assemblers: list[_Assembler], info: VideoInfo, decoder: Decoder, num_workers: int, host: DecoderHost, put: Callable,
    stop: threading.Event,
) -> None:  # fmt: skip
    """A picture is kept until the last clip that needs it is sent."""
    if not assemblers:  # sound needs the pictures' times, which are known
        return
    wanted: dict[FrameRule, set[int]] = {}
    for assembler in assemblers:
        wanted.setdefault(assembler.rule, set()).update(assembler.needed)
    num_threads = 0 if num_workers == 1 else 1
    for index, pictures in host.stream(decoder.pictures, info, wanted, num_threads=num_threads):
        for assembler in assemblers:
            if index in assembler.needed:
                for clip in assembler.add(index, pictures[assembler.rule]):
                    put(clip)
        if stop.is_set():
            return


def _send_sound(
    job: Job,
    extractor: Extractor,
    plan: tuple[Clip, ...],
    info: VideoInfo,
    host: DecoderHost,
    put: Callable,
    stop: threading.Event,
) -> None:
    from longtake.extract.decode.filter_banks import filter_banks
    from longtake.extract.decode.sound import original_rate, read_sound, sound_seconds

    rule = extractor.spec.frames
    spans = [(clip.start_seconds, clip.end_seconds) for clip in plan]
    try:
        rate = host.call(original_rate, info)
        if rule.spans == "equal parts" and plan:
            begin, end = host.call(sound_seconds, info, rule.sample_rate)
            begin = max(begin, job.row.start_seconds or begin)
            end = end if job.row.end_seconds is None else min(end, job.row.end_seconds)
            if begin >= end:
                raise SoundMissing(f"{info.path.name} has no sound in the span of this routine")
            edges = np.linspace(begin, end, len(plan) + 1)
            spans = list(zip(edges, edges[1:]))
        # The samples first, so that their end is read too.
        for samples, clip in zip(host.stream(read_sound, info, spans, rule.sample_rate), plan):
            put(ReadClip(job, extractor, clip, filter_banks(samples, rule, rate), len(plan)))
            if stop.is_set():
                return
    except SoundMissing as error:
        if rule.missing == "silence":
            for clip in plan:
                samples = np.zeros(round((clip.end_seconds - clip.start_seconds) * rule.sample_rate), np.float32)
                put(ReadClip(job, extractor, clip, filter_banks(samples, rule, rule.sample_rate), len(plan)))
            return
        put(NoSound(job, extractor, error))
    except VideoError as error:
        put(NoSound(job, extractor, error))


class _Assembler:
    """Collects the frames of one backbone's clips as they come by."""

    def __init__(self, job: Job, extractor: Extractor, plan: tuple[Clip, ...]) -> None:
        self.job, self.extractor, self.plan = job, extractor, plan
        self.rule: FrameRule = extractor.spec.frames
        self.needed = {frame for clip in plan for frame in clip.frames}
        self._next = 0
        self._frames: dict[int, np.ndarray] = {}

    def add(self, index: int, frame: np.ndarray) -> Iterator[ReadClip]:
        """Keep a frame; yield every clip that it completes."""
        self._frames[index] = frame
        while self._next < len(self.plan) and self.plan[self._next].frames[-1] <= index:
            clip = self.plan[self._next]
            self._next += 1
            frames = np.stack([self._frames[i] for i in clip.frames])
            yield ReadClip(self.job, self.extractor, clip, frames, len(self.plan))
            first_needed = self.plan[self._next].frames[0] if self._next < len(self.plan) else index + 1
            self._frames = {i: kept for i, kept in self._frames.items() if i >= first_needed}


def record_of(row: ManifestRow) -> VideoRecord:
    """What is known of a video before anything is read of it."""
    start, end = (float("nan") if value is None else value for value in (row.start_seconds, row.end_seconds))
    name = printable(Path(row.path).name) if row.path else ""
    return VideoRecord(row.video_id, source_name=name, span_start_seconds=start, span_end_seconds=end)


def failed_with(record: VideoRecord, error: VideoError | OSError) -> VideoRecord:
    """The row of a video that an error ended."""
    kind = error.kind if isinstance(error, DecoderFailed) else type(error).__name__
    return failed_record(record, getattr(error, "stage", VideoError.stage), kind, str(error))


def failed_record(record: VideoRecord, stage: str, kind: str, message: str) -> VideoRecord:
    """The row of a video that gave nothing, with a message that any table can show."""
    return replace(
        record, status=FAILED, error_stage=stage, error_type=kind, error_message=printable(message)[:MAX_MESSAGE]
    )
