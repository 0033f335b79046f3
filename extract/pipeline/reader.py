"""The reading side of the pipeline: threads that decode videos into clips, and the messages they send to the models' side."""

from __future__ import annotations

import errno
import queue
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeAlias

import numpy as np

from longtake.errors import printable
from longtake.extract.clips import Clip, plan_clips
from longtake.extract.decode.base import FRAMES, Decoder, VideoInfo, with_true_times
from longtake.extract.decode.damage import num_damaged
from longtake.extract.decode.killable import STALL_SECONDS, DecoderHost, InProcess, KillableProcess
from longtake.extract.decode.shared_memory import Stopped
from longtake.extract.errors import MachineLimit, SoundMissing, VideoError
from longtake.extract.find_videos import find_video
from longtake.extract.plan.plan import Job
from longtake.extract.plan.settle import Extractor
from longtake.extract.preprocessing import FrameRule, SoundRule
from longtake.extract.records import failed_with, unread_record
from longtake.features.types import VideoRecord
from longtake.files import file_sha256

PUT_SECONDS = 0.2
"""How often a thread that waits for room in the queue looks whether the run has stopped."""


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
class Begin:
    """The file is probed, and its clips follow."""

    job: Job
    num_clips: int
    """Over all backbones."""


@dataclass(frozen=True)
class End:
    """No more clips of this video will come."""

    job: Job
    record: VideoRecord


@dataclass(frozen=True)
class NoSound:
    """One backbone gets no clips of this video; the other backbones do."""

    job: Job
    extractor: Extractor
    error: VideoError


@dataclass(frozen=True)
class Restart:
    """Drop the clips of this video; they are sent again."""

    job: Job


Message: TypeAlias = Begin | ReadClip | End | NoSound | Restart | BaseException
"""An exception is an unexpected error of a decoding thread, which must end the run."""


@dataclass(frozen=True)
class Files:
    """The files of a run, and how they are decoded; the same for all threads."""

    folder: Path
    stems: Mapping[str, list[str]]
    """File names by stem, see `longtake.extract.folders.index_by_stem`."""
    decoder: Decoder
    num_workers: int = 1
    """Videos decoded at a time. The decoder of a single one has as many threads as there are processors, the others one each."""
    stall_seconds: float = STALL_SECONDS
    """A decoder that returns nothing for so long is killed; 0 decodes in this process, without a timeout."""


def read_videos(
    jobs: queue.SimpleQueue[Job], messages: queue.Queue[Message], stop: threading.Event, files: Files
) -> None:
    """The work of one thread: read one video after the other, until none is left or the run stops."""

    def put(message: Message) -> None:
        while not stop.is_set():
            try:
                return messages.put(message, timeout=PUT_SECONDS)
            except queue.Full:
                continue

    with KillableProcess(files.stall_seconds, stop) if files.stall_seconds else InProcess() as host:
        reader = VideoReader(files, host, put, stop)
        while not stop.is_set():
            try:
                job = jobs.get_nowait()
            except queue.Empty:
                return
            try:
                put(End(job, reader.read(job)))
            except Stopped:
                return
            except BaseException as error:  # raised again in the models' thread
                put(error)
                return


class VideoReader:
    """Decodes videos, and sends their clips as messages."""

    def __init__(self, files: Files, host: DecoderHost, put: Callable[[Message], None], stop: threading.Event) -> None:
        self._files, self._host, self._put, self._stop = files, host, put, stop

    def read(self, job: Job) -> VideoRecord:
        """Send all clips of a video. What is wrong with it becomes its record."""
        record = unread_record(job.row)
        try:
            path = find_video(job.row, self._files.folder, self._files.stems)
            record = replace(record, source_name=printable(path.name), source_sha256=file_sha256(path))
            return self._decode(job, path, record)
        except (VideoError, OSError) as error:
            if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
                raise MachineLimit(
                    f"too few file descriptors: raise their number with `ulimit -n` ({error})"
                ) from error
            return failed_with(record, error)

    def _decode(self, job: Job, path: Path, record: VideoRecord) -> VideoRecord:
        decoder = self._files.decoder

        def send(info: VideoInfo) -> VideoRecord:
            if info.times_from == FRAMES:
                self._put(Restart(job))
            damaged = num_damaged(info, job.row.start_seconds, job.row.end_seconds)
            is_decoded = any(isinstance(extractor.spec.frames, FrameRule) for extractor in job.extractors)
            readers = decoder.for_file(info)
            for chosen in readers:
                try:
                    self.send_clips(job, info, chosen)
                    break
                except VideoError:
                    if chosen is readers[-1]:
                        raise
                    # Some faults show only while decoding, such as wrong pictures: the next decoder reads the file from its start.
                    self._put(Restart(job))
            return replace(
                record, duration_seconds=info.timeline.end_seconds, fps=info.timeline.fps, decoder=chosen.name,
                pixel_aspect=float(info.pixel_aspect), transfer=info.transfer,
                damaged_frames=damaged if is_decoded and chosen.sees_damage or info.damaged_seconds else float("nan"),
            )  # fmt: skip

        return with_true_times(partial(self._host.call, decoder.probe, path), send)

    def send_clips(self, job: Job, info: VideoInfo, decoder: Decoder) -> None:
        """One pass over the pictures for all backbones that take pictures, one over the sound for each that takes sound."""
        row = job.row
        plans = {e: plan_clips(info.timeline, e.rule, row.start_seconds, row.end_seconds) for e in job.extractors}
        self._put(Begin(job, sum(map(len, plans.values()))))
        rules = ((e, e.spec.frames, clips) for e, clips in plans.items())
        seen = [_Assembler(job, e, rule, clips) for e, rule, clips in rules if isinstance(rule, FrameRule)]
        self._send_pictures(seen, info, decoder)
        for extractor, clips in plans.items():
            if isinstance(extractor.spec.frames, SoundRule) and not self._stop.is_set():
                self._send_sound(job, extractor, extractor.spec.frames, clips, info)

    def _send_pictures(self, assemblers: list[_Assembler], info: VideoInfo, decoder: Decoder) -> None:
        """A picture is kept until the last clip that needs it is sent."""
        if not assemblers:
            return
        wanted: dict[FrameRule, set[int]] = {}
        for assembler in assemblers:
            wanted.setdefault(assembler.rule, set()).update(assembler.needed)
        num_threads = 0 if self._files.num_workers == 1 else 1
        for index, pictures in self._host.stream(decoder.pictures, info, wanted, num_threads=num_threads):
            for assembler in assemblers:
                if index in assembler.needed:
                    for clip in assembler.add(index, pictures[assembler.rule]):
                        self._put(clip)
            if self._stop.is_set():
                return

    def _send_sound(
        self, job: Job, extractor: Extractor, rule: SoundRule, clips: tuple[Clip, ...], info: VideoInfo
    ) -> None:
        from longtake.extract.decode.filter_banks import filter_banks
        from longtake.extract.decode.sound import original_rate, read_sound, sound_seconds

        spans = [(clip.start_seconds, clip.end_seconds) for clip in clips]
        try:
            rate = self._host.call(original_rate, info)
            if rule.spans == "equal parts" and clips:
                begin, end = self._host.call(sound_seconds, info, rule.sample_rate)
                begin = max(begin, job.row.start_seconds or begin)
                end = end if job.row.end_seconds is None else min(end, job.row.end_seconds)
                if begin >= end:
                    raise SoundMissing(f"{info.path.name} has no sound in the span of this routine")
                edges = np.linspace(begin, end, len(clips) + 1)
                spans = list(zip(edges, edges[1:]))
            # `zip` takes the samples first, so that the end of the sound is read too.
            for samples, clip in zip(self._host.stream(read_sound, info, spans, rule.sample_rate), clips):
                self._put(ReadClip(job, extractor, clip, filter_banks(samples, rule, rate), len(clips)))
                if self._stop.is_set():
                    return
        except SoundMissing as error:
            if rule.missing != "silence":
                self._put(NoSound(job, extractor, error))
                return
            for clip in clips:
                samples = np.zeros(round((clip.end_seconds - clip.start_seconds) * rule.sample_rate), np.float32)
                self._put(ReadClip(job, extractor, clip, filter_banks(samples, rule, rule.sample_rate), len(clips)))
        except VideoError as error:
            self._put(NoSound(job, extractor, error))


class _Assembler:
    """Collects the frames of one backbone's clips as they are decoded."""

    def __init__(self, job: Job, extractor: Extractor, rule: FrameRule, clips: tuple[Clip, ...]) -> None:
        self.rule = rule
        self.needed = {frame for clip in clips for frame in clip.frames}
        self._job, self._extractor, self._clips = job, extractor, clips
        self._next = 0
        self._frames: dict[int, np.ndarray] = {}

    def add(self, index: int, frame: np.ndarray) -> Iterator[ReadClip]:
        """Keep a frame; yield every clip that it completes."""
        self._frames[index] = frame
        while self._next < len(self._clips) and self._clips[self._next].frames[-1] <= index:
            clip = self._clips[self._next]
            self._next += 1
            frames = np.stack([self._frames[i] for i in clip.frames])
            yield ReadClip(self._job, self._extractor, clip, frames, len(self._clips))
            first_needed = self._clips[self._next].frames[0] if self._next < len(self._clips) else index + 1
            self._frames = {i: kept for i, kept in self._frames.items() if i >= first_needed}
