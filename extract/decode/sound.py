"""The sound of a file, cut by the clock of its pictures: mono, resampled, streamed."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import chain

import av
import av.error
import numpy as np

from longtake.extract.decode.base import VideoInfo
from longtake.extract.decode.guarded import unexpected_errors
from longtake.extract.decode.killable import report_alive
from longtake.extract.decode.pyav import PyAVDecoder
from longtake.extract.decode.streams import open_media, sound_stream
from longtake.extract.errors import SoundMissing, SoundUnreadable

Span = tuple[float, float]
"""Seconds of the timeline; half-open."""


def original_rate(info: VideoInfo) -> int:
    """Hz of the first sound stream. Raises `SoundMissing`."""
    with _open_sound(info) as stream:
        return int(stream.rate)


def read_sound(info: VideoInfo, spans: Sequence[Span], sample_rate: int) -> Iterator[np.ndarray]:
    """Yield for each span, in order of their starts, `round(seconds * sample_rate)` float32 samples in [-1, 1].

    Seconds before the sound begins and after it ends are zeros. Only samples of open spans are kept in memory. Raises `SoundMissing`
    and `SoundUnreadable`.
    """
    kept, first, late = np.zeros(0, np.float32), 0, _late(info)
    # Samples are counted from the first picture on.
    waiting = [(round((start - late) * sample_rate), round((end - start) * sample_rate)) for start, end in spans]
    if any(a > b for (a, _), (b, _) in zip(waiting, waiting[1:])):
        raise ValueError("spans must be in order of their starts")
    silent = True
    with closing(_blocks(info, sample_rate)) as blocks:
        for begin, samples in blocks:
            silent = False
            if not waiting:
                return
            # Samples are placed by their time stamps, across holes and overlapping packets. Holes are filled only inside a span: a wrong
            # time stamp may make one of days.
            while waiting and sum(waiting[0]) <= begin:
                yield _cut(kept, first, *waiting.pop(0))
            kept, first = _forget(kept, first, waiting)
            gap = begin - (first + len(kept)) if len(kept) else 0
            if not len(kept):
                first = begin
            kept = np.concatenate([kept, np.zeros(max(gap, 0), np.float32), samples[max(-gap, 0) :]])
            while waiting and sum(waiting[0]) <= first + len(kept):
                yield _cut(kept, first, *waiting.pop(0))
            kept, first = _forget(kept, first, waiting)
    if silent:
        raise SoundMissing(f"{info.path.name} has a sound stream without sound")
    for begin, count in waiting:
        yield _cut(kept, first, begin, count)


def sound_seconds(info: VideoInfo, sample_rate: int) -> Span:
    """When the sound begins and ends, in seconds of the timeline; decodes all of it."""
    begin: int | None = None
    end = 0
    with closing(_blocks(info, sample_rate)) as blocks:
        for first, samples in blocks:
            begin = first if begin is None else begin
            end = first + len(samples)
    if begin is None:
        raise SoundMissing(f"{info.path.name} has a sound stream without sound")
    return begin / sample_rate + _late(info), end / sample_rate + _late(info)


def _late(info: VideoInfo) -> float:
    """When the first picture is shown."""
    return float(info.timeline.seconds[0])


def _cut(kept: np.ndarray, first: int, begin: int, count: int) -> np.ndarray:
    found = np.zeros(count, np.float32)
    a, b = max(begin, first), min(begin + count, first + len(kept))
    if a < b:
        found[a - begin : b - begin] = kept[a - first : b - first]
    return found


def _forget(kept: np.ndarray, first: int, waiting: Sequence[tuple[int, int]]) -> tuple[np.ndarray, int]:
    """Drop the samples before the next span. Returns the rest and the number of its first sample."""
    end = first + len(kept)
    needed = min(max(waiting[0][0] if waiting else end, first), end)
    return kept[needed - first :], needed


@contextmanager
def _open_sound(info: VideoInfo) -> Iterator[av.AudioStream]:
    guard = unexpected_errors(info.path, PyAVDecoder().description, SoundUnreadable.stage)
    with guard, open_media(info.path) as container:
        if not container.streams.audio:
            raise SoundMissing(f"{info.path.name} has no sound")
        stream = sound_stream(container, info.path)
        if stream is None and all(stream.codec_context is None for stream in container.streams.audio):
            raise SoundUnreadable(f"{info.path.name}: FFmpeg has no decoder for its sound")
        if stream is None:
            raise SoundMissing(f"{info.path.name} has a sound stream without sound")
        yield stream


def _blocks(info: VideoInfo, sample_rate: int) -> Generator[tuple[int, np.ndarray], None, None]:
    """Yield `(number of the first sample, counted from the first picture on, samples)` of each decoded block."""
    try:
        with _open_sound(info) as stream:
            begin: int | None = None
            for seconds, samples in _resampled(stream, sample_rate):
                if seconds is not None:
                    expected = round((seconds - info.origin_seconds - _late(info)) * sample_rate)
                    # The resampler's delay shifts blocks by some samples; only real holes count.
                    if begin is None or abs(expected - begin) > sample_rate // 10:
                        begin = expected
                begin = begin or 0
                yield begin, samples
                begin += len(samples)
    except av.error.FFmpegError as error:
        raise SoundUnreadable(f"{info.path.name}: the sound cannot be decoded: {error.strerror}") from error


def _resampled(stream: av.AudioStream, sample_rate: int) -> Iterator[tuple[float | None, np.ndarray]]:
    """Yield `(seconds by the file's clock, samples)` of each frame, and at the end the resampler's remaining samples. A recording may
    switch from stereo to surround; a resampler accepts one format only, so a new one follows the old."""
    resampler, format_taken = None, None
    for frame in chain(stream.container.decode(stream), [None]):
        report_alive()
        kind = frame and (frame.format.name, frame.layout.name, frame.sample_rate)
        if resampler and kind != format_taken:
            yield None, _samples(resampler.resample(None))
            resampler = None
        if frame is None:
            return
        if resampler is None:
            resampler, format_taken = av.AudioResampler(format="fltp", layout="mono", rate=sample_rate), kind
        yield frame.time, _samples(resampler.resample(frame))


def _samples(blocks: Sequence[av.AudioFrame]) -> np.ndarray:
    return np.concatenate([np.zeros(0, np.float32), *(block.to_ndarray()[0] for block in blocks)])
