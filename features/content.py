"""What a new store will hold, and how it keeps its numbers. Features are read when they are written."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from longtake.features.columns import ArrayLike, VideoTable
from longtake.features.errors import InvalidFeatures, NotAStore
from longtake.features.labels import Labels
from longtake.features.stream import BLOCK_BYTES, Stream
from longtake.features.types import FeatureHeader, TextFeatures, VideoFeatures, VideoRecord


@dataclass(frozen=True)
class Storage:
    """How a store keeps its numbers. It does not change the values."""

    chunk_rows: int = 128
    """Maximum number of clips per chunk: about one routine, so that reading one video reads one or two chunks."""
    compression: str = "default"
    """`none`, `gzip`, `zstd` or the `default` of the format."""

    def __post_init__(self) -> None:
        if self.chunk_rows < 1:
            raise InvalidFeatures(f"chunk_rows must be 1 or more, got {self.chunk_rows}")


@dataclass(frozen=True)
class Block:
    """Whole videos to be written to a store."""

    features: np.ndarray
    start_seconds: np.ndarray
    end_seconds: np.ndarray
    videos: tuple[VideoRecord, str] | VideoTable
    """One video with the checksum of its features, or rows of a table."""


@dataclass(frozen=True, slots=True)
class StreamItem:
    """One video to be written to a store. Its features are read when they are written."""

    record: VideoRecord
    num_clips: int
    read: Callable[[], VideoFeatures]
    sha256: str | None = None
    """Of the features, where it is known."""

    @classmethod
    def of(cls, video: VideoFeatures) -> StreamItem:
        return cls(video.record, len(video.features), lambda: video)

    @property
    def counts(self) -> Sequence[int]:
        return [self.num_clips]

    def blocks(self) -> Iterator[Block]:
        video = self.read()
        if len(video.features) != self.num_clips:
            raise InvalidFeatures(f"{self.record.video_id}: {self.num_clips} clips expected, got {len(video.features)}")
        yield Block(video.features, video.start_seconds, video.end_seconds, (video.record, self.sha256 or video.sha256))


class Window:
    """Videos of an open store that are read many at a time and used a few at a time, in the order of the store."""

    def __init__(self, stream: Stream) -> None:
        self._stream, self._is_off = stream, False
        self._rows = range(0)
        self._videos: list[Block] = []

    def read(self, begin: int, end: int) -> list[Block] | None:
        """These videos, each as a block; None if they are to be read by themselves: out of order, or next to damaged ones."""
        if self._rows.stop <= begin and not self._is_off:
            self._read_from(begin)
        if not self._rows.start <= begin < end <= self._rows.stop:
            return None
        return self._videos[begin - self._rows.start : end - self._rows.start]

    def _read_from(self, begin: int) -> None:
        stream = self._stream
        try:
            self._rows, (features, starts, ends) = next(stream.blocks(begin, len(stream.videos)))
            table = stream.videos.part(self._rows.start, self._rows.stop)
            offsets = stream.offsets[self._rows.start : self._rows.stop + 1] - stream.offsets[self._rows.start]
            self._videos = [
                Block(features[a:b], starts[a:b], ends[a:b], video)
                for a, b, video in zip(offsets, offsets[1:], zip(table.records, table.checksums))
            ]
        except NotAStore:
            self._rows, self._videos, self._is_off = range(0), [], True


FEW_VIDEOS = 64
"""Reading more than these from a stream one after the other takes no longer by themselves."""


@dataclass(frozen=True)
class StreamRows:
    """Consecutive videos of an open store to be copied to another in blocks, with their checksums."""

    stream: Stream
    begin: int
    end: int
    window: Window | None = None
    """Of the stream, where few videos are between others."""

    @property
    def rows(self) -> slice:
        """Rows of the stream's arrays of clips."""
        return slice(int(self.stream.offsets[self.begin]), int(self.stream.offsets[self.end]))

    @property
    def counts(self) -> Sequence[int]:
        counts: list[int] = np.diff(self.stream.offsets[self.begin : self.end + 1]).tolist()
        return counts

    def blocks(self) -> Iterator[Block]:
        if self.window is not None and self.end - self.begin <= FEW_VIDEOS:
            found = self.window.read(self.begin, self.end)
            if found is not None:
                yield from found
                return
        for rows, clips in self.stream.blocks(self.begin, self.end):
            yield Block(*clips, self.stream.videos.part(rows.start, rows.stop))


class StreamPart(Protocol):
    """Videos of a stream to be written."""

    @property
    def counts(self) -> Sequence[int]:
        """Clips of each video."""

    def blocks(self) -> Iterator[Block]:
        """All clips in order, in blocks."""


@dataclass(frozen=True)
class StreamPlan:
    """A stream to be written: its videos in order."""

    header: FeatureHeader
    dtype: np.dtype
    items: Sequence[StreamPart]


Source = tuple[Stream, int] | StreamItem
"""Where a video's features come from: a row of an open stream, or a part that is read when it is written."""


def plan_in_order(
    header: FeatureHeader, dtype: np.dtype, videos: Mapping[str, Source], labels: Labels, grown: Stream | None = None,
    known: Mapping[str, int] | None = None,
) -> StreamPlan:  # fmt: skip
    """Videos by id, in the order of the labels, so the order in which they were finished does not change the store.

    With `grown`, a stream that is replaced, `videos` are added to it or replace its own. One that has finished blocks keeps them: its videos stay in
    its order and before all others. `known` are rows of it, of these videos and perhaps others, where they have been looked up.
    """
    items = _Items()
    others = dict(videos)
    if grown is not None:
        rows = grown.videos.rows_of(videos) if known is None else known
        replaced = sorted((row, video_id) for video_id, row in rows.items() if video_id in videos)
        end, moved = _staying(grown, videos, replaced) if grown.features.dtype == dtype else (0, set())
        begin = 0
        for row, video_id in replaced:
            if row < end:
                items.add_rows(grown, begin, row)
                begin = row + 1
                if row not in moved:
                    items.add(others.pop(video_id))
        items.add_rows(grown, begin, end)
        for row in range(end, len(grown.videos)):
            others.setdefault(grown.videos.video_ids[row], (grown, row))
    ids = list(others)
    for index in labels.order_of(ids):
        items.add(others[ids[index]])
    return StreamPlan(header, dtype, items.found)


def _staying(stream: Stream, videos: Mapping[str, Source], replaced: Sequence[tuple[int, str]]) -> tuple[int, set[int]]:
    """Up to which row videos stay, and rows before that of videos that move. A video may be replaced by one of as many clips; one of another
    number would move all that follow it. One without clips moves alone. A stream of less than a block, of which nothing could be kept, is put in order."""
    block_rows = max(1, BLOCK_BYTES // max(1, stream.header.dim * stream.features.dtype.itemsize))
    end = len(stream.videos) if stream.num_clips >= block_rows else 0
    moved: set[int] = set()
    for row, video_id in replaced:
        before = _num_clips((stream, row))
        if row >= end:
            break
        if _num_clips(videos[video_id]) != before:
            if before:
                return row, moved
            moved.add(row)
    return end, moved


def _num_clips(source: Source) -> int:
    if isinstance(source, StreamItem):
        return source.num_clips
    stream, row = source
    return int(stream.offsets[row + 1] - stream.offsets[row])


def consecutive(videos: Iterable[Source]) -> list[StreamItem | StreamRows]:
    """Rows of open streams and single videos, in order; adjacent rows of one stream become one `StreamRows`."""
    items = _Items()
    for video in videos:
        items.add(video)
    return items.found


class _Items:
    def __init__(self) -> None:
        self.found: list[StreamItem | StreamRows] = []
        self._windows: dict[int, Window] = {}

    def add(self, video: Source) -> None:
        if isinstance(video, StreamItem):
            self.found.append(video)
        else:
            self.add_rows(video[0], video[1], video[1] + 1)

    def add_rows(self, stream: Stream, begin: int, end: int) -> None:
        last = self.found[-1] if self.found else None
        if begin == end:
            return
        if isinstance(last, StreamRows) and last.stream is stream and last.end == begin:
            self.found[-1] = StreamRows(stream, last.begin, end, last.window)
        else:
            window = self._windows.setdefault(id(stream), Window(stream))
            self.found.append(StreamRows(stream, begin, end, window))


@dataclass(frozen=True)
class Content:
    """All that a new store will hold."""

    dataset: str
    card_json: str
    labels: Labels
    streams: Sequence[StreamPlan]
    texts: Sequence[TextFeatures]
    storage: Storage
    label_texts: Mapping[str, ArrayLike] = field(default_factory=dict)
    """Columns of text of the labels that are the same in the store that is replaced, in its file: a writer need not write them again."""
    named_axes: bool = True
    """Name the axes of arrays, for other programs. Parts, of which there is one for each video, are read by Longtake alone."""
