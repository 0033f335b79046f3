"""A feature store as its users see it, whatever the file format: open, look, read; and what a new one is composed of."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib import import_module
from pathlib import Path

import numpy as np

from longtake.features.columns import ArrayLike, VideoTable
from longtake.features.errors import InvalidFeatures, NotAStore, NotInStore
from longtake.features.labels import Labels
from longtake.features.remote import name_of
from longtake.features.types import FeatureHeader, TextFeatures, VideoFeatures, VideoRecord
from longtake.files import is_url
from longtake.manifests.card import Card

STORES = {
    ".h5": "longtake.features.formats.hdf5",
    ".hdf5": "longtake.features.formats.hdf5",
    ".zarr": "longtake.features.formats.zarr3",
}
"""Suffix -> module with `open_file` and `write_file`."""

BLOCK_BYTES = 1 << 25
"""What is copied at a time from store to store."""


def require_memory(what: str, num_bytes: int) -> None:
    """Raises `InvalidFeatures` for more than this machine can hold, whether a store is large or lies about its size."""
    have = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if num_bytes > have:
        raise InvalidFeatures(f"{what}: {num_bytes / 1e9:.0f} GB, but this machine has {have / 1e9:.0f} GB of memory")


@dataclass(frozen=True)
class Storage:
    """How a store keeps its numbers; nothing that a reader of values can see."""

    chunk_rows: int = 128
    """Clips per chunk, at most: about one routine, so that reading one video reads one or two chunks."""
    compression: str = "default"
    """`none`, `gzip` or `zstd`; what `default` is, is the format's business."""


@dataclass(frozen=True)
class Stream:
    """The features of one backbone by one recipe."""

    header: FeatureHeader
    videos: VideoTable
    offsets: np.ndarray
    """int64, `(videos + 1,)`: video i has the rows `offsets[i]:offsets[i + 1]`."""
    start_seconds: ArrayLike
    """float64, `(total_clips,)`, still on disk, like the two below."""
    end_seconds: ArrayLike
    features: ArrayLike
    """`(total_clips, dim)`."""

    @property
    def name(self) -> str:
        return f"{self.header.backbone}@{self.header.recipe_id}"

    @property
    def num_clips(self) -> int:
        return int(self.offsets[-1])

    @property
    def records(self) -> tuple[VideoRecord, ...]:
        return self.videos.records

    def rows(self) -> dict[str, int]:
        """video_id -> row."""
        return {video_id: row for row, video_id in enumerate(self.videos.video_ids)}

    def read(self, video: int | str) -> VideoFeatures:
        """One video by its row or id; touches that video's bytes only. Raises `NotInStore`, `NotAStore`."""
        row = self.videos.find(video) if isinstance(video, str) else video
        begin, end = int(self.offsets[row]), int(self.offsets[row + 1])
        return VideoFeatures(self.videos.record(row), *self.read_clips(begin, end))

    def read_clips(self, begin: int, end: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Features, start and end times of the clips `[begin, end)` of the whole stream."""
        require_memory(
            f"{end - begin} clips of {self.name}", (end - begin) * self.header.dim * self.features.dtype.itemsize
        )
        arrays = (self.features, self.start_seconds, self.end_seconds)
        return tuple(np.asarray(array[begin:end]) for array in arrays)  # type: ignore[return-value]

    def each(self) -> Iterator[tuple[VideoRecord, tuple[np.ndarray, np.ndarray, np.ndarray]]]:
        """All videos in order with features, start and end times, read many at a time: for whoever wants all of them."""
        limit = max(1, BLOCK_BYTES // (self.header.dim * self.features.dtype.itemsize))
        first = 0
        while first < len(self.videos):
            begin = int(self.offsets[first])
            last = max(first + 1, int(np.searchsorted(self.offsets, begin + limit, side="right")) - 1)
            arrays = self.read_clips(begin, int(self.offsets[last]))
            for row in range(first, last):
                clips = slice(int(self.offsets[row]) - begin, int(self.offsets[row + 1]) - begin)
                yield self.records[row], tuple(array[clips] for array in arrays)
            first = last

    def read_all(self) -> np.ndarray:
        """`(total_clips, dim)` in one read."""
        require_memory(self.name, self.num_clips * self.header.dim * self.features.dtype.itemsize)
        return np.asarray(self.features[0 : self.num_clips])


@dataclass(frozen=True)
class Store:
    """An open store. Use it as a context manager, or call `close`."""

    path: Path | str
    """A path, or a URL as it was given."""
    dataset: str
    card_json: str
    created_utc: str
    num_bytes: int | None
    """On disk; None for a store far away that is not one file."""
    storage: Storage
    read_labels: Callable[[], Labels] = field(repr=False)
    streams: tuple[Stream, ...]
    texts: tuple[TextFeatures, ...]
    close: Callable[[], None] = field(repr=False)

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @cached_property
    def labels(self) -> Labels:
        return self.read_labels()

    @property
    def card(self) -> Card | None:
        return None if self.card_json == "null" else Card.from_json(self.card_json)

    def stream(self, choice: str | None = None) -> Stream:
        """The stream of `backbone` or `backbone@recipe`; None when the store has just one.

        Raises `NotInStore` when it is missing or when the choice leaves several.
        """
        have = ", ".join(stream.name for stream in self.streams) or "none"
        backbone, _, recipe = (choice or "").partition("@")
        found = [
            stream
            for stream in self.streams
            if (not backbone or stream.header.backbone == backbone) and stream.header.recipe_id.startswith(recipe)
        ]
        if not found:
            wanted = f"features of {choice!r}" if choice else "features"
            raise NotInStore(f"{self.path} holds no {wanted}; it holds {have}")
        if len(found) > 1:
            raise NotInStore(
                f"{self.path} holds several streams: {have}. Choose one with --backbone NAME or NAME@RECIPE"
            )
        return found[0]

    def text(self, name: str) -> TextFeatures:
        """The prompt set of `name` or `name@recipe`. Raises `NotInStore` as `stream` does."""
        have = ", ".join(f"{text.name}@{text.header.recipe_id}" for text in self.texts) or "none"
        wanted, _, recipe = name.partition("@")
        found = [t for t in self.texts if t.name == wanted and t.header.recipe_id.startswith(recipe)]
        if not found:
            raise NotInStore(
                f"{self.path} holds no text features of the prompt set {name!r}; it holds {have}. "
                f"Add them with: extract text --dataset {self.dataset} --out {self.path}"
            )
        if len(found) > 1:
            raise NotInStore(f"{self.path} holds several prompt sets {wanted!r}: {have}. Choose one as NAME@RECIPE")
        return found[0]


@dataclass(frozen=True)
class Block:
    """Some clips on their way into a store, and whose they were once a video is complete."""

    features: np.ndarray
    start_seconds: np.ndarray
    end_seconds: np.ndarray
    videos: tuple[VideoRecord, str] | VideoTable | None
    """One video with the checksum of its features, or rows of a table."""


@dataclass(frozen=True)
class StreamItem:
    """One video on its way into a store; its features are read when they are written, not before."""

    record: VideoRecord
    num_clips: int
    read: Callable[[], VideoFeatures]

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
    """Consecutive videos of an open store on their way into another, copied in blocks with the checksums they have."""

    stream: Stream
    begin: int
    end: int

    @property
    def counts(self) -> Sequence[int]:
        return np.diff(self.stream.offsets[self.begin : self.end + 1])

    def blocks(self) -> Iterator[Block]:
        first, last = int(self.stream.offsets[self.begin]), int(self.stream.offsets[self.end])
        step = max(1, BLOCK_BYTES // (self.stream.header.dim * self.stream.features.dtype.itemsize))
        for begin in range(first, last, step):
            yield Block(*self.stream.read_clips(begin, min(begin + step, last)), None)
        yield Block(*self.stream.read_clips(last, last), self.stream.videos.part(self.begin, self.end))


@dataclass(frozen=True)
class StreamPlan:
    """A stream to be written: its videos in order."""

    header: FeatureHeader
    dtype: np.dtype
    items: Sequence[StreamItem | StreamRows]


def consecutive(videos: Iterable[tuple[Stream, int] | StreamItem]) -> list[StreamItem | StreamRows]:
    """Rows of open streams and single videos, in order; neighbours of one stream become one copy."""
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


def check_store_name(path: Path | str) -> None:
    """Raises `NotAStore` when no kind of store has this ending. Work that ends in a store begins with this."""
    _module(path)


def _module(path: Path | str):
    suffix = Path(name_of(path)).suffix
    if suffix not in STORES:
        known = ", ".join(STORES)
        raise NotAStore(f"{path}: a store's name ends in one of {known}, got {suffix or 'no ending'!r}")
    return import_module(STORES[suffix])


def store_exists(path: Path | str) -> bool:
    """Whether something was published there; what a killed writer left is nothing. False for an HDF5 file at a URL, where none can
    be written. Raises `NotAStore` for a URL that cannot be reached."""
    return _module(path).exists(path if is_url(path) else Path(path))


def storage_for(path: Path | str, source: Store) -> Storage:
    """That of `source`, for a copy of it at `path`. Each kind of store has compressions of its own, so another kind gets its default."""
    if _module(path) is _module(source.path):
        return source.storage
    return replace(source.storage, compression=Storage.compression)


def open_store(path: Path | str) -> Store:
    """Open a store for reading, from a path or a URL (https://, s3://, ...). Raises `NotAStore` with one line that says
    what is wrong."""
    return _module(path).open_file(path if is_url(path) else Path(path))


def write_store(
    path: Path | str,
    *,
    dataset: str,
    card: Card | None,
    labels: Labels,
    streams: Iterable[StreamPlan],
    texts: Iterable[TextFeatures] = (),
    storage: Storage | None = None,
) -> None:
    """Publish a whole store at `path`: readers see the old one or the new one; see the format's module."""
    module = _module(path)
    if not is_url(path):
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
    module.write_file(
        path,
        dataset=dataset,
        card_json="null" if card is None else card.to_json(),
        labels=labels,
        streams=list(streams),
        texts=list(texts),
        storage=storage or Storage(),
    )
