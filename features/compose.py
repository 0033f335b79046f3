"""Which videos a store gets from its parts: the later result of a video, but no failure for features, and nothing that it has already."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from pathlib import Path

import numpy as np

from longtake.errors import LongtakeWarning
from longtake.features.content import Source, StreamItem, StreamPlan, plan_in_order
from longtake.features.errors import InvalidFeatures, NotAStore, NotInStore
from longtake.features.found_parts import InSegment, OldPart, Part
from longtake.features.joins import require_dataset, require_one_dataset
from longtake.features.labels import LabelRow, Labels, combine_labels, labels_of_rows
from longtake.features.segments.reader import SegmentFiles
from longtake.features.segments.records import StoredFeatures
from longtake.features.store import open_store
from longtake.features.stream import Stream
from longtake.features.types import OK, FeatureHeader, VideoFeatures, VideoRecord, underflows
from longtake.manifests.card import Card

Place = tuple[Path, int]
"""Of features in a segment: its path and their offset."""


@dataclass
class ComposedStream:
    """The videos of a stream of the new store."""

    header: FeatureHeader
    dtype: np.dtype
    base: Stream | None
    """As it is in the store that is replaced."""
    videos: dict[str, Source] = field(default_factory=dict)
    """New ones, and those that replace one of the base."""
    rows_of_base: dict[str, int] = field(default_factory=dict)
    """Of videos that were looked up, those that the base has."""
    of_base: dict[str, tuple[VideoRecord, str]] = field(default_factory=dict)
    """Their records and checksums."""

    def look_up(self, video_ids: Iterable[str], *, often: bool = False) -> None:
        """Read what the base has of videos that will be offered, many at a time. All of its records would take kilobytes a video.
        `often` keeps the rows of all videos."""
        if self.base is not None:
            held = self.base.rows() if often else self.base.videos.rows_of(video_ids)
            rows = {video_id: held[video_id] for video_id in video_ids if video_id in held}
            found = self.base.videos.some(rows.values())
            self.rows_of_base |= rows
            self.of_base |= {video_id: found[row] for video_id, row in rows.items()}

    def __contains__(self, video_id: str) -> bool:
        """Of a video that was looked up."""
        return video_id in self.videos or video_id in self.of_base

    def offer(self, record: VideoRecord, source: Source, checksum: str = "", written_ns: int | None = None) -> None:
        """Take a result of a video, unless the stream has it or a better one."""
        if record.video_id in self:
            before, before_checksum = self._held(record.video_id)
            if not replaces(record, written_ns, before):
                return
            if (
                written_ns is not None
                and checksum == before_checksum
                and (record == before or repr(record) == repr(before))
            ):
                return
        self.videos[record.video_id] = source

    def _held(self, video_id: str) -> tuple[VideoRecord, str]:
        source = self.videos.get(video_id)
        if isinstance(source, StreamItem):
            return source.record, source.sha256 or ""
        if source is None:
            return self.of_base[video_id]
        stream, row = source
        return stream.records[row], stream.videos.checksums[row]


def replaces(record: VideoRecord, written_ns: int | None, before: VideoRecord) -> bool:
    """Whether a later result of a video counts.

    Of the same seconds of the same file, features count and not a failure, whichever is later by the clocks of their machines. Else the later
    result counts: no table names the former source any more. A segment whose writer still runs is read again after it was published:
    `written_ns`, the time of the result, then shows what is older.
    """
    if record.status != before.status and record.same_source(before.span, before.source_name):
        return record.status == OK
    try:
        return written_ns is None or written_ns >= datetime.fromisoformat(before.finished_utc).timestamp() * 1e9
    except (ValueError, OverflowError):
        return True


@dataclass
class Composition:
    """The streams of a new store. `add_all` its parts, then take `plans`."""

    dataset: str
    card: Card | None
    labels: Labels
    """Of the videos that the table names. A video of a part that is not there keeps the labels of the part."""
    opened: ExitStack
    """Old parts of many videos, which imports left, stay open as long as this."""
    files: SegmentFiles
    damaged: Collection[Place] = ()
    """Features in segments that were found damaged."""
    streams: dict[str, ComposedStream] = field(default_factory=dict)
    lost: set[tuple[str, str]] = field(default_factory=set)
    """Streams and ids of videos of damaged features that the store has no row of."""
    _unknown: list[tuple[tuple[str, ...], dict[str, LabelRow]]] = field(default_factory=list)
    _damaged_videos: set[tuple[str, str]] = field(default_factory=set)

    def begin(self, base_streams: Iterable[Stream]) -> None:
        for stream in base_streams:
            self.streams[stream.name] = ComposedStream(stream.header, stream.features.dtype, stream)

    def add_all(self, parts: Sequence[Part]) -> None:
        """The oldest first. Raises `StoreConflict` for a part of another dataset."""
        waiting: dict[str, list[str]] = {name: [] for name in self.streams}
        for part in parts:
            if isinstance(part, InSegment):
                for stored in part.video.streams:
                    waiting.setdefault(stored.header.stream_name, []).append(part.video.video_id)
        for name, stream in self.streams.items():
            stream.look_up(waiting[name])
        has_old = any(isinstance(part, OldPart) for part in parts)
        new = {part.video.video_id for part in parts if isinstance(part, InSegment)}
        known = set(self.labels.video_ids) if has_old else self.labels.known(new)
        for part in parts:
            if isinstance(part, OldPart):
                self._add_old(part, known)
            else:
                self._add_video(part, part.video.video_id in known)
        self.lost = {
            (name, one)
            for name, one in self._damaged_videos
            if name not in self.streams or one not in self.streams[name]
        }
        for stream in self.streams.values():
            stream.of_base.clear()

    def _stream(self, header: FeatureHeader, dtype: np.dtype) -> ComposedStream:
        return self.streams.setdefault(header.stream_name, ComposedStream(header, dtype, None))

    def _add_video(self, part: InSegment, has_labels: bool) -> None:
        video = part.video
        require_dataset(part.path, video.dataset, False, self.dataset, self.card)
        if not has_labels:
            self._keep_labels(video.score_names, {video.video_id: video.labels})
        for stored in video.streams:
            if (part.path, stored.offset) in self.damaged:
                self._damaged_videos.add((stored.header.stream_name, video.video_id))
            else:
                composed = self._stream(stored.header, stored.dtype)
                read = partial(_read_stored, self.files, part.path, stored, composed.dtype)
                same = stored.features_sha256 if stored.dtype == composed.dtype else None
                item = StreamItem(stored.record, stored.num_clips, read, same)
                composed.offer(stored.record, item, stored.features_sha256, video.written_ns)

    def _keep_labels(self, score_names: tuple[str, ...], rows: Mapping[str, LabelRow]) -> None:
        if not self._unknown or self._unknown[-1][0] != score_names or not self._unknown[-1][1].keys().isdisjoint(rows):
            self._unknown.append((score_names, {}))
        self._unknown[-1][1].update(rows)

    def _add_old(self, part: OldPart, known: Collection[str]) -> None:
        with open_store(part.path) as store:
            require_one_dataset(store, self.dataset, self.card)
            self._keep_labels(
                store.labels.score_names, {v: row for v, row in store.labels.rows().items() if v not in known}
            )
            for stream in store.streams:
                composed = self._stream(stream.header, stream.features.dtype)
                composed.look_up(stream.videos.video_ids, often=True)
                has_many = len(stream.videos) > 1 and stream.features.dtype == composed.dtype
                held = self.opened.enter_context(open_store(part.path)).stream(stream.name) if has_many else None
                for row, (record, num_clips) in enumerate(zip(stream.records, stream.counts)):
                    source: Source = (
                        (held, row) if held else _old_item(part.path, stream.name, record, num_clips, composed.dtype)
                    )
                    composed.offer(record, source)

    def adds(self, stream_name: str, video_id: str) -> bool:
        """Whether the store gets this video from a part."""
        return stream_name in self.streams and video_id in self.streams[stream_name].videos

    @property
    def has_changed(self) -> bool:
        return any(stream.videos or stream.base is None for stream in self.streams.values())

    def all_labels(self) -> Labels:
        """Sorted by id after those of the table, so that the order in which videos were finished does not change the store."""
        unknown = [labels_of_rows(rows, names) for names, rows in self._unknown if rows]
        if not unknown:
            return self.labels
        joined = combine_labels(*reversed(unknown))
        return combine_labels(self.labels, joined.subset(sorted(range(len(joined)), key=joined.video_ids.__getitem__)))

    def plans(self, labels: Labels) -> list[StreamPlan]:
        return [
            plan_in_order(one.header, one.dtype, one.videos, labels, one.base, one.rows_of_base)
            for _, one in sorted(self.streams.items())
        ]


def joinable(
    parts: Sequence[Part], held: Iterable[FeatureHeader], own: Sequence[FeatureHeader], beside: bool
) -> tuple[list[Part], list[Part]]:
    """The parts to join, and the others, whose recipe is another one than that of the store for their backbone. `own` headers may be new."""
    recipes: dict[str, set[str]] = {}
    for header in held:
        recipes.setdefault(header.backbone, set()).add(header.recipe_id)
    for header in own:
        known = recipes.setdefault(header.backbone, set())
        if not known or beside:
            known.add(header.recipe_id)
    joined: list[Part] = []
    others: list[Part] = []
    for part in parts:
        fits = all(h.recipe_id in recipes.setdefault(h.backbone, {h.recipe_id}) for h in part.headers())
        (joined if fits else others).append(part)
    return joined, others


def _read_stored(files: SegmentFiles, path: Path, stored: StoredFeatures, dtype: np.dtype) -> VideoFeatures:
    try:
        return _fitted(files.read(path, stored), dtype)
    except FileNotFoundError as error:
        raise NotAStore(f"{path} changed while it was packed") from error


def _old_item(path: Path, stream_name: str, record: VideoRecord, num_clips: int, dtype: np.dtype) -> StreamItem:
    """Opened only when it is written to the store: thousands of open files would be too many."""

    def read() -> VideoFeatures:
        with open_store(path) as part:
            try:
                return _fitted(part.stream(stream_name).read(record.video_id), dtype)
            except NotInStore as error:
                raise NotAStore(f"{path} changed while it was packed") from error

    return StreamItem(record, num_clips, read)


def _fitted(video: VideoFeatures, dtype: np.dtype) -> VideoFeatures:
    """Features in the dtype of the stream, which `features convert` may have made narrower."""
    if video.features.dtype == dtype:
        return video
    name = video.record.video_id
    with np.errstate(over="ignore"):
        features = video.features.astype(dtype)
    if lost := underflows(video.features, features):
        message = f"{name}: {lost} values became 0, because the {dtype} of the store has no number so small"
        warnings.warn(message, LongtakeWarning, stacklevel=2)
    if not np.isfinite(features).all():
        raise InvalidFeatures(
            f"{name}: values up to {np.abs(video.features).max():.3g} do not fit the {dtype} of the store; make a wider copy "
            f"with `features convert --dtype {video.features.dtype}`, replace the store by it, and run the same command again"
        )
    return replace(video, features=features)
