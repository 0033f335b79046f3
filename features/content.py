"""What a new store will hold, and how it keeps its numbers. Features are read when they are written."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from longtake.features.columns import VideoTable
from longtake.features.errors import InvalidFeatures
from longtake.features.labels import Labels
from longtake.features.stream import Stream
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


@dataclass(frozen=True)
class StreamItem:
    """One video to be written to a store. Its features are read when they are written."""

    record: VideoRecord
    num_clips: int
    read: Callable[[], VideoFeatures]

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
        yield Block(video.features, video.start_seconds, video.end_seconds, (video.record, video.sha256))


@dataclass(frozen=True)
class StreamRows:
    """Consecutive videos of an open store to be copied to another in blocks, with their checksums."""

    stream: Stream
    begin: int
    end: int

    @property
    def counts(self) -> Sequence[int]:
        counts: list[int] = np.diff(self.stream.offsets[self.begin : self.end + 1]).tolist()
        return counts

    def blocks(self) -> Iterator[Block]:
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


def plan_in_order(header: FeatureHeader, dtype: np.dtype, videos: Mapping[str, Source], labels: Labels) -> StreamPlan:
    """Videos by id, in the order of the labels, so the order in which they were finished does not change the store."""
    place = {video_id: row for row, video_id in enumerate(labels.video_ids)}
    order = sorted(videos, key=lambda video_id: (place.get(video_id, len(place)), video_id))
    return StreamPlan(header, dtype, consecutive(videos[video_id] for video_id in order))


def consecutive(videos: Iterable[Source]) -> list[StreamItem | StreamRows]:
    """Rows of open streams and single videos, in order; adjacent rows of one stream become one `StreamRows`."""
    found: list[StreamItem | StreamRows] = []
    for video in videos:
        if isinstance(video, StreamItem):
            found.append(video)
            continue
        stream, row = video
        last = found[-1] if found else None
        if isinstance(last, StreamRows) and last.stream is stream and last.end == row:
            found[-1] = StreamRows(stream, last.begin, row + 1)
        else:
            found.append(StreamRows(stream, row, row + 1))
    return found


@dataclass(frozen=True)
class Content:
    """All that a new store will hold."""

    dataset: str
    card_json: str
    labels: Labels
    streams: Sequence[StreamPlan]
    texts: Sequence[TextFeatures]
    storage: Storage
    named_axes: bool = True
    """Name the axes of arrays, for other programs. Parts, of which there is one for each video, are read by Longtake alone."""
