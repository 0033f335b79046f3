"""How a store grows: finished videos are appended to segments in its parts folder; packing merges them into the store.

A video that is in a segment is on the disk. Workers only append to segments of their own; one process at a time publishes. A kill at any moment
loses at most the videos in progress.
"""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from longtake.allocator import large_arrays_mapped
from longtake.collector import paused_collector
from longtake.errors import LongtakeWarning, listed
from longtake.features.claim import holder_of, locked
from longtake.features.compose import Composition, Place, joinable
from longtake.features.errors import FeaturesError
from longtake.features.found_parts import FoundParts, OldPart, Part, count_parts, find_parts
from longtake.features.joins import combine_texts, require_one_dataset
from longtake.features.labels import Labels, combine_labels, no_labels
from longtake.features.segments.reader import (
    DamagedVideo,
    Segment,
    SegmentFiles,
    damaged_videos,
    remove_segment,
    restore_hidden,
    set_aside,
)
from longtake.features.segments.writer import SEALED, SegmentWriter
from longtake.features.store import open_store, store_exists, write_store
from longtake.features.types import FeatureHeader, TextFeatures
from longtake.files import clear_dead
from longtake.manifests.card import Card
from longtake.memory import memory_for

WAIT_SECONDS, LOOK_SECONDS = 600.0, 1.0
"""How long to wait for another process that publishes the same store, and how often to look. Publishing 100,000 videos takes minutes."""
LEAST_MEMORY = 1 << 27
"""For 50,000 videos: a step for every few of them would take hours where little memory is free."""


def parts_folder(store_path: Path) -> Path:
    """Next to the store itself where the path is a link: all writers of a store share one folder and one lock."""
    store_path = Path(os.path.realpath(store_path)) if store_path.is_symlink() else store_path
    return store_path.with_name(store_path.name + ".parts")


def lock_file(store_path: Path) -> Path:
    """The file that names the process that publishes the store, `pid-start@host`."""
    return parts_folder(store_path) / ".packing"


def part_writer(store_path: Path, *, at_once: bool = True) -> SegmentWriter:
    """To append finished videos to the parts of a store."""
    return SegmentWriter(parts_folder(store_path), at_once=at_once)


@dataclass(frozen=True)
class Packed:
    published: bool
    """False if another process holds the lock. The parts stay where they are; nothing is lost."""
    num_videos: int
    """Finished videos that were in parts; an import by an earlier release is one."""
    holder: str = ""
    """The process that holds the lock, and the lock file."""
    num_waiting: int = 0
    """Finished videos that are not yet in the store: another process holds the lock or, where this one has published, the store got another
    recipe of the same backbone in the meantime."""
    num_lost: int = 0
    """Videos whose features were damaged in the parts folder. They are extracted by the next run."""
    stopped: bool = False
    """True if Ctrl-C ended the wait."""

    def trouble(self, store_path: Path) -> str:
        """The message if not everything could be published."""
        kept = f"{self.num_waiting} finished videos are kept in {parts_folder(store_path)}"
        lines = []
        if not self.published:
            lines.append(f"{store_path} is locked by {self.holder}. If that process is gone, delete the lock file")
            lines += [f"{kept}; run the same command again to publish them"] if self.num_waiting else []
        elif self.num_waiting:
            lines.append(
                f"{kept}: {store_path} has got features of another recipe of the same backbone while this ran; run the same command again with "
                f"--beside to publish them too, or delete the folder"
            )
        if self.num_lost:
            lines.append(
                f"the features of {self.num_lost} finished videos were damaged; run the same command again to extract them"
            )
        return ". ".join(lines)

    def require_published(self, store_path: Path) -> None:
        """Raise `FeaturesError` if not everything could be published, `KeyboardInterrupt` if Ctrl-C ended the wait."""
        if self.stopped:
            raise KeyboardInterrupt
        if not self.published or self.num_waiting or self.num_lost:
            raise FeaturesError(self.trouble(store_path))


def pack(
    store_path: Path, *, dataset: str, card: Card | None, labels: Labels, texts: Sequence[TextFeatures] = (),
    headers: Sequence[FeatureHeader] = (), beside: bool = False, memory: str | int | None = None, count_waiting: bool = True,
) -> Packed:  # fmt: skip
    """Publish the store with its parts and `texts`, with the labels of the manifest; then remove the parts.

    Where what is known of finished videos takes more than `memory`, such as `200MB`, they are published in several steps; None is half of what is
    free, but not less than `LEAST_MEMORY`. A part that would be a second recipe of its backbone stays a part, unless it is of the caller's `headers` and
    `beside=True`: a process with another recipe may have published since the caller looked. In one step, new videos are in the order of the manifest,
    so the order in which they were finished does not change the store. A step that fails leaves those before it published.
    """
    folder = parts_folder(store_path)
    with locked(lock_file(store_path)) as may_publish:
        if not may_publish:
            waiting = count_parts(folder) if count_waiting else 0
            return Packed(False, 0, holder_of(lock_file(store_path)), waiting)
        clear_dead(folder)
        restore_hidden(folder)
        work = _Publication(store_path, dataset, card, labels, texts, headers, beside)
        # The lock has just been written, so its time is that of the file system's clock.
        room = memory_for(memory) if memory is not None else max(LEAST_MEMORY, memory_for(None))
        for found in find_parts(folder, lock_file(store_path).stat().st_mtime, room):
            work.publish(found)
            del found  # Before the next ones are read.
    # The folder stays if it holds new parts or another lock.
    with suppress(OSError):
        folder.rmdir()
    return Packed(True, work.num_joined, num_waiting=work.num_waiting, num_lost=work.num_lost)


@dataclass
class _Publication:
    """Publishes a store with its parts, a share of them in each step, and counts them."""

    store_path: Path
    dataset: str
    card: Card | None
    labels: Labels
    texts: Sequence[TextFeatures]
    headers: Sequence[FeatureHeader]
    beside: bool
    num_joined: int = 0
    num_waiting: int = 0
    """Parts that were not joined, of the caller's recipes."""
    _num_lost: int = 0
    """In segments whose frames are damaged."""
    _lost: set[tuple[str, str]] = field(default_factory=set)
    """Streams and ids of videos of damaged features, which no later step had."""

    @property
    def num_lost(self) -> int:
        return self._num_lost + len(self._lost)

    def publish(self, found: FoundParts) -> None:
        """Write the store with these parts but for videos that turn out to be damaged, and remove the parts."""
        damaged: set[Place] = set()
        while True:
            try:
                others = self._write(found, damaged)
                break
            except DamagedVideo as error:
                segment = next(one for one in found.segments if one.path == error.place[0])
                faults = damaged_videos(segment, error)
                damaged |= {one.place for one in faults}
                names = listed([str(one) for one in faults[1:]])
                warnings.warn(f"{error}; they are left out{names and f', and:{names}'}", LongtakeWarning, stacklevel=2)
        # Only now that the store with their content is published.
        _clear(found, others, damaged)
        own = {header.recipe_id for header in self.headers}
        self.num_joined += len(found.parts) - len(others)
        self.num_waiting += sum(any(h.recipe_id in own for h in part.headers()) for part in others)
        self._num_lost += sum(segment.num_lost for segment in found.segments)

    @paused_collector()
    @large_arrays_mapped()
    def _write(self, found: FoundParts, damaged: set[Place]) -> Sequence[Part]:
        """Write the store with all parts that may join it, and return the others. Raises `DamagedVideo`."""
        path, dataset, card, labels = self.store_path, self.dataset, self.card, self.labels
        with ExitStack() as opened:
            base = opened.enter_context(open_store(path)) if store_exists(path) else None
            if base is not None:
                require_one_dataset(base, dataset, card)
                dataset = base.dataset
                labels = base.labels if base.labels.equals(labels) else combine_labels(labels, base.labels)
                card = card or base.card
            streams = base.streams if base else ()
            parts, others = joinable(found.parts, [stream.header for stream in streams], self.headers, self.beside)
            new = Composition(dataset, card, labels, opened, opened.enter_context(SegmentFiles()), damaged)
            new.begin(streams)
            new.add_all(parts)
            labels = new.all_labels()
            changed = base is None or not base.labels.equals(labels) or (card and card.to_json() != base.card_json)
            if changed or self.texts or new.has_changed:
                write_store(
                    path, dataset=dataset, card=card, labels=labels, streams=new.plans(labels),
                    texts=combine_texts(self.texts, base.texts if base else ()), storage=base.storage if base else None, replaced=base,
                )  # fmt: skip
        self.texts = ()  # The store has them now.
        self._lost = {one for one in self._lost if not new.adds(*one)} | new.lost
        return others


def _clear(found: FoundParts, others: Sequence[Part], damaged: set[Place]) -> None:
    """Remove what is in the store, and say what could not be read."""
    kept = {part.path for part in others}
    for part in found.parts:
        if isinstance(part, OldPart) and part.path not in kept:
            with suppress(OSError):  # Of another user, for one: it is published again, which changes nothing.
                part.path.unlink(missing_ok=True)
    places = {path for path, _ in damaged}
    for segment in found.segments:
        _clear_segment(segment, segment.path in kept, segment.path in places)


def _clear_segment(segment: Segment, is_needed: bool, is_damaged: bool) -> None:
    if segment.torn_bytes:
        message = f"{segment.path}: the last {segment.torn_bytes} bytes are of a video that was not finished when its writer ended; they are dropped"
        warnings.warn(message, LongtakeWarning, stacklevel=2)
    if segment.faults:
        message = (
            f"{segment.path} is damaged, and the videos there are left out: run the same command again to extract them:"
        )
        warnings.warn(message + listed(segment.faults), LongtakeWarning, stacklevel=2)
    if segment.path.suffix == f".{SEALED}" and not segment.is_final:
        message = f"{segment.path}: not all of it can be read from this machine yet; the next run publishes the rest"
        warnings.warn(message, LongtakeWarning, stacklevel=2)
    if is_needed or not segment.is_final or (is_damaged and segment.may_be_late):
        return
    if segment.faults or is_damaged:
        aside = set_aside(segment)
        warnings.warn(
            f"the damaged segment is kept as {aside}; delete it when you do not need it", LongtakeWarning, stacklevel=2
        )
    else:
        remove_segment(segment)


def pack_or_wait(
    store_path: Path, *, dataset: str, card: Card | None, labels: Labels, texts: Sequence[TextFeatures] = (),
    headers: Sequence[FeatureHeader] = (), beside: bool = False, memory: str | int | None = None, wait_seconds: float = WAIT_SECONDS,
    on_wait: Callable[[str], None] = lambda line: None,
) -> Packed:  # fmt: skip
    """`pack`, after waiting for another process that publishes: it may have started before our last part existed. `on_wait` gets one
    line when the wait begins."""
    until = time.monotonic() + wait_seconds
    waited = False
    while True:
        packed = pack(
            store_path, dataset=dataset, card=card, labels=labels, texts=texts, beside=beside, headers=headers, memory=memory,
            count_waiting=False,
        )  # fmt: skip
        if packed.published:
            return packed
        if time.monotonic() > until:
            return replace(packed, num_waiting=count_parts(parts_folder(store_path)))
        if not waited:
            on_wait(f"waiting while {packed.holder} publishes {store_path}")
            waited = True
        try:
            time.sleep(LOOK_SECONDS)
        except KeyboardInterrupt:
            return replace(packed, stopped=True, num_waiting=count_parts(parts_folder(store_path)))


def add_text(store_path: Path, dataset: str, card: Card | None, text: TextFeatures) -> None:
    """Put a prompt set into the store, which is made if it does not exist; it replaces one of the same name and recipe."""
    packed = pack_or_wait(store_path, dataset=dataset, card=card, labels=no_labels(), texts=[text])
    packed.require_published(store_path)
