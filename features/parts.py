"""How a store grows: each finished video becomes a part, a small store; packing merges the parts into the store.

A part is written under a temporary name, synced and renamed, so a part that exists is complete. Workers only write parts; one
process at a time publishes. A kill at any moment loses at most the videos in progress.
"""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256
from pathlib import Path

import numpy as np

from longtake.errors import LongtakeWarning
from longtake.features.claim import holder_of, locked
from longtake.features.content import Source, StreamItem, StreamPlan, plan_in_order
from longtake.features.errors import FeaturesError, InvalidFeatures, NotAStore, NotInStore
from longtake.features.joins import combine_texts, require_one_dataset
from longtake.features.labels import Labels, combine_labels, no_labels
from longtake.features.store import open_store, store_exists, write_store
from longtake.features.stream import Stream
from longtake.features.types import OK, FeatureHeader, TextFeatures, VideoFeatures, VideoRecord, underflows
from longtake.files import clear_dead
from longtake.manifests.card import Card

PART_SUFFIX = ".h5"
WAIT_SECONDS, LOOK_SECONDS = 600.0, 1.0
"""How long to wait for another process that publishes the same store, and how often to look. Publishing 100,000 videos takes minutes."""


def parts_folder(store_path: Path) -> Path:
    """Next to the store itself where the path is a link: all writers of a store share one folder and one lock."""
    store_path = Path(os.path.realpath(store_path)) if store_path.is_symlink() else store_path
    return store_path.with_name(store_path.name + ".parts")


def lock_file(store_path: Path) -> Path:
    """The file that names the process that publishes the store, `pid-start@host`."""
    return parts_folder(store_path) / ".packing"


def write_part(store_path: Path, dataset: str, labels: Labels, videos: Mapping[FeatureHeader, VideoFeatures]) -> Path:
    """Store the features of one video, of one backbone or several. `labels` has the row of that video only."""
    (video_id,) = labels.video_ids
    key = sha256("".join(sorted(header.recipe_id for header in videos)).encode()).hexdigest()[:8]
    path = parts_folder(store_path) / f"{video_id}@{key}{PART_SUFFIX}"
    plans = [StreamPlan(header, video.features.dtype, [StreamItem.of(video)]) for header, video in videos.items()]
    write = partial(write_store, path, dataset=dataset, card=None, labels=labels, streams=plans, named_axes=False)
    try:
        write()
    except (FileExistsError, FileNotFoundError):
        # A process that published the last part has just removed the folder. If the folder cannot be made, this fails again.
        write()
    return path


@dataclass(frozen=True)
class Finished:
    """What the store and its parts hold already: recipe_id -> video_id -> record."""

    records: Mapping[str, Mapping[str, VideoRecord]]
    headers: tuple[FeatureHeader, ...]

    def record(self, header: FeatureHeader, video_id: str) -> VideoRecord | None:
        return self.records.get(header.recipe_id, {}).get(video_id)


def list_parts(store_path: Path) -> list[Path]:
    """Oldest first, so that a later part replaces an earlier one."""
    found = []
    for path in parts_folder(store_path).glob(f"*{PART_SUFFIX}"):
        # Another process may have just packed it.
        with suppress(FileNotFoundError):
            if not path.name.startswith("."):
                found.append((path.stat().st_mtime_ns, path.name, path))
    return [path for _, _, path in sorted(found)]


def read_finished(store_path: Path, dataset: str, card: Card | None) -> Finished:
    """Read what the store and all parts hold; `extract` resumes from the answer.

    Raises `StoreConflict` if they are of another dataset.
    """
    while True:
        parts = list_parts(store_path)
        try:
            return _read_finished(([store_path] if store_exists(store_path) else []) + parts, dataset, card)
        except FeaturesError:
            # Another process has published in between: what a part held is in the store now.
            if all(part.exists() for part in parts):
                raise


def _read_finished(sources: Sequence[Path], dataset: str, card: Card | None) -> Finished:
    records: dict[str, dict[str, VideoRecord]] = {}
    headers: dict[str, FeatureHeader] = {}
    for path in sources:
        with open_store(path) as store:
            require_one_dataset(store, dataset, card)
            for stream in store.streams:
                headers[stream.header.recipe_id] = stream.header
                known = records.setdefault(stream.header.recipe_id, {})
                known.update((record.video_id, record) for record in stream.records)
    return Finished(records, tuple(headers.values()))


@dataclass(frozen=True)
class Packed:
    published: bool
    """False if another process holds the lock. The parts stay where they are; nothing is lost."""
    num_parts: int
    holder: str = ""
    """The process that holds the lock, and the lock file."""
    num_waiting: int = 0
    """Parts that are not yet in the store: another process holds the lock or, where this one has published, the store got another recipe
    of the same backbone in the meantime."""
    stopped: bool = False
    """True if Ctrl-C ended the wait."""

    def trouble(self, store_path: Path) -> str:
        """The message if not everything could be published."""
        folder = parts_folder(store_path)
        if self.published:
            return (
                f"{self.num_waiting} finished parts are kept in {folder}: {store_path} has got features of another recipe of the same "
                f"backbone while this ran; run the same command again with --beside to publish them too, or delete the folder"
            )
        said = f"{store_path} is locked by {self.holder}. If that process is gone, delete the lock file"
        if not self.num_waiting:
            return said
        kept = f"{self.num_waiting} finished parts are kept in {folder}"
        return f"{said}. {kept}; run the same command again to publish them"

    def require_published(self, store_path: Path) -> None:
        """Raise `FeaturesError` if not everything could be published, `KeyboardInterrupt` if Ctrl-C ended the wait."""
        if self.stopped:
            raise KeyboardInterrupt
        if not self.published or self.num_waiting:
            raise FeaturesError(self.trouble(store_path))


def pack(
    store_path: Path, *, dataset: str, card: Card | None, labels: Labels, texts: Sequence[TextFeatures] = (),
    headers: Sequence[FeatureHeader] = (), beside: bool = False,
) -> Packed:  # fmt: skip
    """Publish the store with its parts and `texts`, with the labels of the manifest; then remove the parts.

    A part that would be a second recipe of its backbone stays a part, unless it is of the caller's `headers` and `beside=True`: a process with
    another recipe may have published since the caller looked. Videos are in the order of the manifest, so the order in which they were finished does not change the store.
    """
    with locked(lock_file(store_path)) as may_publish:
        if not may_publish:
            return Packed(False, 0, holder_of(lock_file(store_path)), len(list_parts(store_path)))
        clear_dead(parts_folder(store_path))
        parts = list_parts(store_path)
        with ExitStack() as opened:
            base = opened.enter_context(open_store(store_path)) if store_exists(store_path) else None
            if base is not None:
                require_one_dataset(base, dataset, card)
                dataset = base.dataset
                labels = combine_labels(labels, base.labels)
                card = card or base.card
            streams = base.streams if base else ()
            parts, waiting = _joinable(parts, [stream.header for stream in streams], headers, beside)
            plans, labels = _compose(streams, parts, dataset, card, labels, opened)
            changed = base is None or not base.labels.equals(labels) or (card and card.to_json() != base.card_json)
            if changed or parts or texts:
                write_store(
                    store_path, dataset=dataset, card=card, labels=labels, streams=plans,
                    texts=combine_texts(texts, base.texts if base else ()), storage=base.storage if base else None,
                )  # fmt: skip
        # Only now that the store with their content is published.
        for part in parts:
            with suppress(PermissionError):  # Of another user: it is published again, which changes nothing.
                part.unlink(missing_ok=True)
    # The folder stays if it holds new parts or another lock.
    with suppress(OSError):
        parts_folder(store_path).rmdir()
    return Packed(True, len(parts), num_waiting=len(waiting))


def _joinable(
    parts: Sequence[Path], held: Iterable[FeatureHeader], own: Sequence[FeatureHeader], beside: bool
) -> tuple[list[Path], list[Path]]:
    """The parts to join, and those of `own` recipes that have to wait, because the store has another recipe of their backbone."""
    recipes: dict[str, set[str]] = {}
    for header in held:
        recipes.setdefault(header.backbone, set()).add(header.recipe_id)
    for header in own:
        known = recipes.setdefault(header.backbone, set())
        if not known or beside:
            known.add(header.recipe_id)
    joinable, waiting = [], []
    for path in parts:
        with open_store(path) as part:
            found = [stream.header for stream in part.streams]
        if all(header.recipe_id in recipes.setdefault(header.backbone, {header.recipe_id}) for header in found):
            joinable.append(path)
        elif any(header in own for header in found):
            waiting.append(path)
    return joinable, waiting


def pack_or_wait(
    store_path: Path, *, dataset: str, card: Card | None, labels: Labels, texts: Sequence[TextFeatures] = (),
    headers: Sequence[FeatureHeader] = (), beside: bool = False, wait_seconds: float = WAIT_SECONDS,
    on_wait: Callable[[str], None] = lambda line: None,
) -> Packed:  # fmt: skip
    """`pack`, after waiting for another process that publishes: it may have started before our last part existed. `on_wait` gets one
    line when the wait begins."""
    until = time.monotonic() + wait_seconds
    waited = False
    while True:
        packed = pack(
            store_path, dataset=dataset, card=card, labels=labels, texts=texts, beside=beside, headers=headers
        )
        if packed.published or time.monotonic() > until:
            return packed
        if not waited:
            on_wait(f"waiting while {packed.holder} publishes {store_path}")
            waited = True
        try:
            time.sleep(LOOK_SECONDS)
        except KeyboardInterrupt:
            return replace(packed, stopped=True)


def add_text(store_path: Path, dataset: str, card: Card | None, text: TextFeatures) -> None:
    """Put a prompt set into the store, which is made if it does not exist; it replaces one of the same name and recipe."""
    packed = pack_or_wait(store_path, dataset=dataset, card=card, labels=no_labels(), texts=[text])
    packed.require_published(store_path)


def _compose(
    base_streams: Iterable[Stream], parts: Sequence[Path], dataset: str, card: Card | None, labels: Labels,
    opened: ExitStack,
) -> tuple[list[StreamPlan], Labels]:  # fmt: skip
    """The streams of the new store and its labels. A video of a part that `labels` does not have keeps the labels of the part.

    Parts of many videos, which imports leave, stay open as long as `opened`. Raises `StoreConflict` for a part of another dataset.
    """
    known_ids = set(labels.video_ids)
    unknown: list[Labels] = []
    streams: dict[str, _Composed] = {}
    for stream in base_streams:
        rows: dict[str, Source] = {video_id: (stream, row) for video_id, row in stream.rows().items()}
        streams[stream.name] = _Composed(stream.header, stream.features.dtype, rows, stream)
    for path in parts:
        with open_store(path) as part:
            require_one_dataset(part, dataset, card)
            if not known_ids.issuperset(part.labels.video_ids):
                unknown.append(part.labels)
            for stream in part.streams:
                composed = streams.setdefault(stream.name, _Composed(stream.header, stream.features.dtype, {}))
                composed.add_part(path, stream, opened)
    if unknown:
        # Sorted by id, so that the order in which videos were finished does not change the store.
        joined = combine_labels(*reversed(unknown))
        labels = combine_labels(labels, joined.subset(sorted(range(len(joined)), key=joined.video_ids.__getitem__)))
    plans = [plan_in_order(one.header, one.dtype, one.videos, labels, one.base) for _, one in sorted(streams.items())]
    return plans, labels


@dataclass(frozen=True)
class _Composed:
    """The videos of a stream of the new store."""

    header: FeatureHeader
    dtype: np.dtype
    videos: dict[str, Source]
    base: Stream | None = None
    """The stream that is replaced."""

    def add_part(self, path: Path, stream: Stream, opened: ExitStack) -> None:
        has_many = len(stream.videos) > 1 and stream.features.dtype == self.dtype
        held = opened.enter_context(open_store(path)).stream(stream.name) if has_many else None
        for row, (record, num_clips) in enumerate(zip(stream.records, stream.counts)):
            # A stored video is not lost to a later failure, unless that one is of another file or other seconds: no table names the
            # former source any more.
            if record.status != OK and record.video_id in self.videos:
                before = _record_of(self.videos[record.video_id])
                if before.status == OK and record.same_source(before.span, before.source_name):
                    continue
            item = (held, row) if held else _part_item(path, stream.name, record, num_clips, self.dtype)
            self.videos[record.video_id] = item


def _record_of(source: Source) -> VideoRecord:
    return source.record if isinstance(source, StreamItem) else source[0].videos.record(source[1])


def _part_item(path: Path, stream_name: str, record: VideoRecord, num_clips: int, dtype: np.dtype) -> StreamItem:
    """Read the part only when it is written to the store: thousands of open files would be too many. Features get the dtype of the
    stream, which `features convert` may have made narrower."""

    def read() -> VideoFeatures:
        with open_store(path) as part:
            try:
                video = part.stream(stream_name).read(record.video_id)
            except NotInStore as error:
                raise NotAStore(f"{path} changed while it was packed") from error
        with np.errstate(over="ignore"):
            features = video.features.astype(dtype, copy=False)
        if lost := underflows(video.features, features):
            message = (
                f"{record.video_id}: {lost} values became 0, because the {dtype} of the store has no number so small"
            )
            warnings.warn(message, LongtakeWarning, stacklevel=2)
        if not np.isfinite(features).all():
            raise InvalidFeatures(
                f"{record.video_id}: values up to {np.abs(video.features).max():.3g} do not fit the {dtype} of the store; make a wider copy "
                f"with `features convert --dtype {video.features.dtype}`, replace the store by it, and run the same command again"
            )
        return replace(video, features=features)

    return StreamItem(record, num_clips, read)
