"""The sound of a file, cut by the clock of its pictures: one channel, resampled, streamed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing

import av
import av.error
import numpy as np

from extract.apart import alive
from extract.decode import VideoInfo
from extract.errors import SoundMissing, SoundUnreadable

Span = tuple[float, float]
"""Seconds, from the first picture on; half-open."""


def original_rate(info: VideoInfo) -> int:
    """Hz of the first sound stream. Raises `SoundMissing`."""
    with av.open(str(info.path)) as container:
        return _stream(container, info).rate


def read_sound(info: VideoInfo, spans: Sequence[Span], sample_rate: int) -> Iterator[np.ndarray]:
    """For each span, in order of their starts, float32 samples in [-1, 1]: `round(seconds * sample_rate)` of them.

    Seconds without sound, before it begins and after it ends, are zeros. No more is kept than the spans that are open. Raises
    `SoundMissing` and `SoundUnreadable`.
    """
    kept, first = np.zeros(0, np.float32), 0
    waiting = [(round(start * sample_rate), round((end - start) * sample_rate)) for start, end in spans]
    if any(a > b for (a, _), (b, _) in zip(waiting, waiting[1:])):
        raise ValueError("spans must be in order of their starts")
    with closing(_blocks(info, sample_rate)) as blocks:
        for begin, samples in blocks:
            if not waiting:
                return
            gap = begin - (first + len(kept)) if len(kept) else 0
            if not len(kept):
                first = begin
            # Streams with holes, or whose packets overlap, are put where their time stamps say.
            kept = np.concatenate([kept, np.zeros(max(gap, 0), np.float32), samples[max(-gap, 0) :]])
            while waiting and sum(waiting[0]) <= first + len(kept):
                yield _cut(kept, first, *waiting.pop(0))
            needed = waiting[0][0] if waiting else first + len(kept)
            if needed > first:
                kept, first = kept[needed - first :], max(first, min(needed, first + len(kept)))
    for begin, count in waiting:
        yield _cut(kept, first, begin, count)


def sound_seconds(info: VideoInfo, sample_rate: int) -> Span:
    """When the sound begins and ends, by decoding all of it."""
    begin = end = None
    with closing(_blocks(info, sample_rate)) as blocks:
        for first, samples in blocks:
            begin = first if begin is None else begin
            end = first + len(samples)
    if begin is None:
        raise SoundMissing(f"{info.path.name} has a sound stream without sound")
    return begin / sample_rate, end / sample_rate


def _cut(kept: np.ndarray, first: int, begin: int, count: int) -> np.ndarray:
    found = np.zeros(count, np.float32)
    a, b = max(begin, first), min(begin + count, first + len(kept))
    if a < b:
        found[a - begin : b - begin] = kept[a - first : b - first]
    return found


def _stream(container: av.container.InputContainer, info: VideoInfo) -> av.AudioStream:
    if not container.streams.audio:
        raise SoundMissing(f"{info.path.name} has no sound")
    return container.streams.audio[0]


def _blocks(info: VideoInfo, sample_rate: int) -> Iterator[tuple[int, np.ndarray]]:
    """(number of the first sample on the pictures' clock, samples) of each decoded block."""
    try:
        with av.open(str(info.path)) as container:
            stream = _stream(container, info)
            resampler = av.AudioResampler(format="fltp", layout="mono", rate=sample_rate)
            begin: int | None = None
            for frame in container.decode(stream):
                alive()
                if frame.pts is not None:
                    shown = float(frame.pts * frame.time_base) - info.origin_seconds
                    expected = round(shown * sample_rate)
                    # The resampler's delay moves blocks by some samples; only real holes are followed.
                    if begin is None or abs(expected - begin) > sample_rate // 10:
                        begin = expected
                for block in resampler.resample(frame):
                    samples = block.to_ndarray()[0]
                    yield begin or 0, samples
                    begin = (begin or 0) + len(samples)
            for block in resampler.resample(None):
                yield begin or 0, block.to_ndarray()[0]
    except av.error.FFmpegError as error:
        raise SoundUnreadable(f"{info.path.name}: the sound cannot be decoded: {error.strerror}") from error
