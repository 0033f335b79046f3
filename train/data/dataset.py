"""The table of videos that heads learn from: features of all clips, and labels. A batch is an index into this table (`train/data/batches.py`).

All features are read from a store once. Those that fit in memory stay there; others are read again from the disk when a batch takes them, and give
the same batches.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property

import numpy as np

from longtake.errors import there_are
from longtake.features.errors import NotAStore
from longtake.features.store import Store
from longtake.features.stream import Stream
from longtake.features.types import OK, RECIPE_ID_LENGTH, FeatureHeader, canonical_json
from longtake.train.data.clip_table import ClipTable
from longtake.train.data.fit_in_memory import memory_for_features, named_streams, stored_bytes
from longtake.train.data.on_disk import require_same_store
from longtake.train.data.second_stream import require_same_clock
from longtake.train.errors import DataError

AUDIO = "audio"
"""Modality of a stream that must have the clips of the pictures."""


@dataclass(frozen=True)
class ScoreScale:
    """Judges' units and the scale 0 to 1 that heads work on."""

    name: str
    minimum: float
    maximum: float
    stated: bool
    """False when no card states the range and it was taken from the training labels."""

    def to01(self, scores: np.ndarray) -> np.ndarray:
        return (scores - self.minimum) / (self.maximum - self.minimum)

    def to_units(self, scores01: np.ndarray) -> np.ndarray:
        return scores01 * (self.maximum - self.minimum) + self.minimum


@dataclass(frozen=True)
class Widths:
    """Values of a clip in each stream."""

    dim: int
    second_dim: int
    """Of the second stream; 0 where there is none."""
    stream_dims: Mapping[str, int]
    """Of further streams, by name."""


@dataclass(frozen=True)
class FeatureSet:
    """Videos with features and labels, a row each; failed, empty and unlabelled videos are left out."""

    clips: ClipTable
    video_ids: tuple[str, ...]
    splits: np.ndarray
    """object, `(videos,)`."""
    categories: np.ndarray
    """object, `(videos,)`."""
    scores: dict[str, np.ndarray]
    """Score name -> float64 `(videos,)` in judges' units, nan where missing."""
    audio: ClipTable | None = None
    """A second stream that has the clips of the first, such as the sound."""
    second_stream: ClipTable | None = None
    """A second stream that has clips of its own, called frames."""
    streams: Mapping[str, ClipTable] = field(default_factory=dict)
    """Further streams by name, which have the clips of the first."""
    boundaries: np.ndarray | None = None
    """float64, `(videos, boundaries)` seconds; nan where missing. None where no video has any."""
    terms: np.ndarray | None = None
    """int64, `(videos, stages + 1)`; see `Batch`."""
    checksums: tuple[str, ...] = ()
    """Of the features of each video, as the store has them, and those of the other streams."""
    contents: tuple[np.ndarray, ...] = ()
    """Each object `(videos,)`: what tells equal videos, the hash of the file with the seconds used and the hash of the features of the first
    stream; empty where one is not known."""
    sources: tuple[np.ndarray, ...] = ()
    """Where each video is cut from, `(videos,)` each: the hash of the file, object, empty where it is not known, and the first and last second
    that were used, nan for those of the file."""
    groups: Mapping[str, np.ndarray] = field(default_factory=dict)
    """Name of a group, such as `skater`, -> object `(videos,)`; empty text where it is unknown. Heads never see them, but `metadata`; no hash
    of the data has them."""
    without_second: tuple[str, ...] = ()
    """Videos of the first stream that are left out because they lack another."""

    @classmethod
    def load(
        cls,
        store: Store,
        backbone: str | None = None,
        second: str | None = None,
        streams: Mapping[str, str] | None = None,
        memory: str | int | None = None,
    ) -> FeatureSet:
        """Read one stream of a store, or one and others: a second, and further ones by name. Where all of them take more than `memory`, a size such
        as `2GB`, they stay on the disk; None is half of the memory that is free.

        Videos that one of the others lacks are left out, and named. Raises `DataError` when no video has features and labels, when a
        further stream or sound does not have the clips of the pictures, or when two streams are not in the same clock.
        """
        names = named_streams(store, backbone, second, streams or {})
        on_disk = stored_bytes(store, names) > memory_for_features(memory)
        try:
            return cls._load(store, names[0], second, streams or {}, on_disk)
        except NotAStore as error:
            require_same_store(store.path, [store.stream(name) for name in names], error)
            raise

    @classmethod
    def _load(
        cls, store: Store, first: str | None, second: str | None, streams: Mapping[str, str], on_disk: bool
    ) -> FeatureSet:
        data = _read(store, first, on_disk)
        if second:
            data, table = _aligned(store, data, second, on_disk)
            data = _with_second(store, data, table)
        for name, backbone in streams.items():
            data, table = _aligned(store, data, backbone, on_disk)
            _require_same_clips(store, data, table, f"the stream {name}")
            data = replace(data, streams={**data.streams, name: table})
        return data

    def __len__(self) -> int:
        return len(self.video_ids)

    @property
    def header(self) -> FeatureHeader:
        return self.clips.header

    @property
    def num_clips(self) -> np.ndarray:
        """int64, `(videos,)`."""
        return self.clips.num_clips

    @property
    def second(self) -> ClipTable | None:
        """The second stream, of either kind."""
        return self.audio or self.second_stream

    @property
    def second_header(self) -> FeatureHeader | None:
        return self.second.header if self.second else None

    @property
    def widths(self) -> Widths:
        further = {name: table.header.dim for name, table in self.streams.items()}
        return Widths(self.header.dim, self.second.header.dim if self.second else 0, further)

    @property
    def left_out(self) -> str:
        """A line about `without_second`; empty where there are none."""
        if not self.without_second:
            return ""
        names = f"{', '.join(self.without_second[:5])}{', ...' if len(self.without_second) > 5 else ''}"
        lacking = " or ".join(table.header.backbone for table in self.tables[1:])
        return f"{len(self.without_second)} videos have no features of {lacking} and are left out: {names}"

    def data_id(self) -> str:
        """Hash of all features, times and labels in this set."""
        digest = hashlib.sha256()
        headers = [table.header.recipe_id for table in self.tables] + list(self.streams)
        for names in (headers, self.video_ids, self.checksums, self.splits, self.categories, self.scores):
            digest.update(canonical_json([str(name) for name in names]).encode())
        times = self.clips.seconds, self.second_stream.seconds if self.second_stream else None
        for values in (self.clips.offsets, *self.scores.values(), *times, self.boundaries):
            if values is not None:
                digest.update(np.ascontiguousarray(values).tobytes())
        return digest.hexdigest()[:RECIPE_ID_LENGTH]

    def rows(self, *, split: str | None = None, category: str | None = None, score: str | None = None) -> np.ndarray:
        """Videos of a split and category that have the score, in the store's order."""
        chosen = np.ones(len(self), dtype=bool)
        if split is not None:
            chosen &= self.splits == split
        if category is not None:
            chosen &= self.categories == category
        if score is not None:
            chosen &= ~np.isnan(self.scores[score])
        return np.flatnonzero(chosen)

    def take(self, rows: np.ndarray) -> FeatureSet:
        """These videos alone, in this order, with clips of their own."""
        return replace(
            self.map_tables(lambda table: table.take(rows)),
            boundaries=None if self.boundaries is None else self.boundaries[rows],
            terms=None if self.terms is None else self.terms[rows],
            video_ids=tuple(self.video_ids[row] for row in rows),
            splits=self.splits[rows],
            categories=self.categories[rows],
            scores={name: values[rows] for name, values in self.scores.items()},
            contents=tuple(values[rows] for values in self.contents),
            sources=tuple(values[rows] for values in self.sources),
            groups={name: values[rows] for name, values in self.groups.items()},
        )

    @property
    def on_disk(self) -> bool:
        """Whether features do not fit in memory, so that batches are read from the disk."""
        return any(table.on_disk for table in self.tables)

    @property
    def num_bytes(self) -> int:
        """Of the features of all streams."""
        return sum(table.features.nbytes for table in self.tables)

    @property
    def tables(self) -> list[ClipTable]:
        """All streams, the first one first."""
        return [table for table in (self.clips, self.audio, self.second_stream, *self.streams.values()) if table]

    def map_tables(self, change: Callable[[ClipTable], ClipTable]) -> FeatureSet:
        audio, second = (change(table) if table else None for table in (self.audio, self.second_stream))
        streams = {name: change(table) for name, table in self.streams.items()}
        return replace(self, clips=change(self.clips), audio=audio, second_stream=second, streams=streams)

    @cached_property
    def means(self) -> FeatureSet:
        """Every video as one clip, the mean of its clips; of the first stream only."""
        return replace(self, clips=self.clips.means(), audio=None, second_stream=None, streams={})

    def with_terms(self, terms: Mapping[str, Sequence[int]]) -> FeatureSet:
        """Category -> which texts are those of its stages, and of the whole, as `Batch.terms` has them."""
        width = len(next(iter(terms.values())))
        return replace(self, terms=np.array([terms.get(name, (-1,) * width) for name in self.categories], np.int64))

    def group_numbers(self, rows: np.ndarray, names: Sequence[str]) -> np.ndarray:
        """int64 `(rows, names)`: a number for each group, by its kind and text, the same in all stores; 0 where it is unknown."""
        found = np.zeros((len(rows), len(names)), np.int64)
        for column, name in enumerate(names):
            if name in self.groups:
                values = self.groups[name][rows]
                found[:, column] = [_number_of(f"{name}={value}") if value else 0 for value in values]
        return found

    def columns(self, rows: np.ndarray, names: Sequence[str]) -> np.ndarray:
        """float32 `(rows, names)`: these scores, nan where one is missing."""
        made = np.full((len(rows), len(names)), np.nan, np.float32)
        for column, name in enumerate(names):
            if name in self.scores:
                made[:, column] = self.scores[name][rows]
        return made

    def require_scores(self, rows: np.ndarray, names: Sequence[str]) -> None:
        """Raises `DataError` where one of the scores is missing."""
        for name in names:
            if name not in self.scores:
                raise DataError(
                    f"the head needs the score {name!r}, which the store lacks{there_are(name, self.scores)}"
                )
            without = [self.video_ids[row] for row in rows if np.isnan(self.scores[name][row])]
            if without:
                raise DataError(
                    f"the head needs the score {name!r}, which {len(without)} of {len(rows)} videos lack: "
                    f"{', '.join(without[:5])}{', ...' if len(without) > 5 else ''}"
                )

    def with_scores_of(self, rows: np.ndarray, others: np.ndarray, names: Sequence[str]) -> FeatureSet:
        """With these scores of `rows` replaced by those of `others`: for the shuffled-label control."""
        shuffled = {name: self.scores[name].copy() for name in names}
        for name, values in shuffled.items():
            values[rows] = self.scores[name][others]
        return replace(self, scores={**self.scores, **shuffled})


@cache
def _number_of(group: str) -> int:
    """Above 0, below 2^63."""
    return int.from_bytes(hashlib.sha256(group.encode()).digest()[:8], "big") >> 1 or 1


def _read(store: Store, backbone: str | None, on_disk: bool) -> FeatureSet:
    """Raises `DataError` when no video has features of the stream and labels."""
    stream, labels = store.stream(backbone), store.labels
    label_of = {video_id: row for row, video_id in enumerate(labels.video_ids)}
    counts = stream.counts
    rows = [
        row
        for row, (video_id, status) in enumerate(zip(stream.videos.video_ids, stream.videos.statuses))
        if status == OK and counts[row] and video_id in label_of
    ]
    if not rows:
        raise DataError(f"{store.path}: no video has both features of {stream.name} and labels")
    # A store that has grown keeps videos in the order in which they were published, which decides nothing here.
    rows.sort(key=lambda row: label_of[stream.videos.video_ids[row]])
    clips = ClipTable.read(store.path, stream, rows, on_disk)
    video_ids = tuple(stream.videos.video_ids[row] for row in rows)
    label_rows = [label_of[video_id] for video_id in video_ids]
    return FeatureSet(
        clips=clips,
        video_ids=video_ids,
        splits=np.array(labels.splits, dtype=object)[label_rows],
        categories=np.array(labels.categories, dtype=object)[label_rows],
        scores={name: labels.scores[label_rows, column] for column, name in enumerate(labels.score_names)},
        boundaries=labels.boundaries[label_rows] if labels.boundaries.shape[1] else None,
        checksums=tuple(stream.videos.checksums[row] for row in rows),
        contents=_contents(stream, rows),
        sources=_sources(stream, rows),
        groups={name: np.array(values, dtype=object)[label_rows] for name, values in labels.groups.items()},
    )


def _contents(stream: Stream, rows: Sequence[int]) -> tuple[np.ndarray, ...]:
    records, checksums = stream.videos.records, stream.videos.checksums
    hashes, *_ = _sources(stream, rows)
    files = [f"{sha256} {records[row].span}" if sha256 else "" for sha256, row in zip(hashes, rows)]
    return np.array(files, dtype=object), np.array([checksums[row] for row in rows], dtype=object)


def _sources(stream: Stream, rows: Sequence[int]) -> tuple[np.ndarray, ...]:
    records = [stream.videos.records[row] for row in rows]
    # One imported file may hold many videos, so its hash says nothing of each.
    is_extracted = stream.header.origin == "extracted"
    return (
        np.array([record.source_sha256 if is_extracted else "" for record in records], dtype=object),
        np.array([record.span_start_seconds for record in records]),
        np.array([record.span_end_seconds for record in records]),
    )


def _aligned(store: Store, first: FeatureSet, name: str, on_disk: bool) -> tuple[FeatureSet, ClipTable]:
    """The videos of `first` that another stream has as well, and their clips in that stream. Raises `DataError` where there are none."""
    other = _read(store, name, on_disk)
    row_of = {video_id: row for row, video_id in enumerate(other.video_ids)}
    both = np.array([video_id in row_of for video_id in first.video_ids])
    if not both.any():
        raise DataError(
            f"{store.path}: no video has features of both {first.header.backbone} and {other.header.backbone}"
        )
    if not both.all():
        without = tuple(video_id for video_id, there in zip(first.video_ids, both) if not there)
        first = replace(first.take(np.flatnonzero(both)), without_second=first.without_second + without)
    table = other.clips.take([row_of[video_id] for video_id in first.video_ids])
    return replace(first, checksums=first.checksums + other.checksums), table


def _with_second(store: Store, first: FeatureSet, table: ClipTable) -> FeatureSet:
    if (table.num_clips == first.num_clips).all():
        return replace(first, audio=table)
    if table.header.modality == AUDIO:
        _require_same_clips(store, first, table, "sound")
    require_same_clock(str(store.path), first.video_ids, first.clips, table)
    return replace(first, second_stream=table)


def _require_same_clips(store: Store, first: FeatureSet, table: ClipTable, what: str) -> None:
    uneven = np.flatnonzero(table.num_clips != first.num_clips)
    if len(uneven):
        row = int(uneven[0])
        raise DataError(
            f"{store.path}: {len(uneven)} videos have other clips of {what} than of pictures, such as "
            f"{first.video_ids[row]} with {table.num_clips[row]} and {first.num_clips[row]}: extract both with the same clip rule"
        )
