"""How a store grows: each finished video is a part, a small store of its own; packing merges parts into the store.

A part is written beside its name, synced and renamed, so a part that exists is whole. Workers only ever write parts; one
packer at a time publishes. Whatever is killed, at most the videos in flight are lost.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256
from pathlib import Path

import numpy as np

from longtake.features.errors import FeaturesError, InvalidFeatures, NotAStore, NotInStore
from longtake.features.joins import combine_labels, require_one_dataset
from longtake.features.store import Stream, StreamItem, StreamPlan, consecutive, open_store, store_exists, write_store
from longtake.features.types import OK, FeatureHeader, Labels, TextFeatures, VideoFeatures, VideoRecord
from longtake.files import Writer, clear_dead
from longtake.manifests.card import Card

PART_SUFFIX = ".h5"
WAIT_SECONDS, LOOK_SECONDS = 600.0, 1.0
"""How long a process is waited for that publishes the same store, and how often it is looked for. Publishing 100,000 videos takes minutes."""
NAMELESS_SECONDS = 60.0
"""A claim is written in no time; one without a name is of a process that was killed in that moment."""


def parts_folder(store_path: Path) -> Path:
    return store_path.with_name(store_path.name + ".parts")


def write_part(store_path: Path, dataset: str, labels: Labels, videos: Mapping[FeatureHeader, VideoFeatures]) -> Path:
    """Store what one video gave, for one backbone or several. `labels` holds that video's row only."""
    (video_id,) = labels.video_ids
    key = sha256("".join(sorted(header.recipe_id for header in videos)).encode()).hexdigest()[:8]
    path = parts_folder(store_path) / f"{video_id}@{key}{PART_SUFFIX}"
    plans = [
        StreamPlan(header, video.features.dtype, [StreamItem(video.record, len(video.features), lambda v=video: v)])
        for header, video in videos.items()
    ]
    write = partial(write_store, path, dataset=dataset, card=None, labels=labels, streams=plans)
    try:
        write()
    except (FileExistsError, FileNotFoundError):
        # Whoever published the last part has taken the folder away just now; or there can be no folder.
        write()
    return path


@dataclass(frozen=True)
class Finished:
    """What the store and its parts already hold: recipe_id -> video_id -> record."""

    records: Mapping[str, Mapping[str, VideoRecord]]
    headers: tuple[FeatureHeader, ...]

    def record(self, header: FeatureHeader, video_id: str) -> VideoRecord | None:
        return self.records.get(header.recipe_id, {}).get(video_id)


def list_parts(store_path: Path) -> list[Path]:
    """Oldest first, so that a later part wins over an earlier one."""
    found = []
    for path in parts_folder(store_path).glob(f"*{PART_SUFFIX}"):
        # Another process may have packed it just now.
        with suppress(FileNotFoundError):
            if not path.name.startswith("."):
                found.append((path.stat().st_mtime_ns, path.name, path))
    return [path for _, _, path in sorted(found)]


def read_finished(store_path: Path, dataset: str, card: Card | None) -> Finished:
    """Look at the store and at every part; `extract` resumes from the answer. A recipe is the same or it is another.

    Raises `StoreConflict` where they are of another dataset than the one that is named.
    """
    while True:
        parts = list_parts(store_path)
        try:
            return _read_finished(([store_path] if store_exists(store_path) else []) + parts, dataset, card)
        except FeaturesError:
            # Another process has published meanwhile: what a part held is in the store now.
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


def claim_of(store_path: Path) -> Path:
    """The file that one process makes to publish, and that says which: `pid@host`."""
    return parts_folder(store_path) / ".packing"


@contextmanager
def _packing(store_path: Path) -> Iterator[bool]:
    """True for the one process that may publish; a claim left by a dead process of this machine is taken over."""
    claim = claim_of(store_path)
    if not (_claimed(claim) or (_is_stale(claim) and _took_away(claim) and _claimed(claim))):
        yield False
        return
    try:
        yield True
    finally:
        claim.unlink(missing_ok=True)


def _claimed(claim: Path) -> bool:
    for tries_left in range(99, -1, -1):
        try:
            claim.parent.mkdir(parents=True, exist_ok=True)
            file = claim.open("x")
            break
        except (FileExistsError, FileNotFoundError):
            if claim.exists():
                return False
            # Whoever published the last part has taken claim and folder away just now; or there can be no folder.
            if not tries_left:
                raise
    try:
        with file:
            file.write(str(Writer.current()))
    except OSError:
        # The disk is full, and a claim of nobody would stay.
        claim.unlink(missing_ok=True)
        raise
    return True


def _is_stale(claim: Path) -> bool:
    try:
        text, age = claim.read_text(), time.time() - claim.stat().st_mtime
    except OSError:
        return False
    owner = Writer.parse(text)
    if owner is None:
        return age > NAMELESS_SECONDS
    return owner.is_dead() or owner == Writer.current()


def _took_away(claim: Path) -> bool:
    """Remove a stale claim. Another process may have done so just now, and the claim there may be its own: that is put back."""
    mine = claim.with_name(f"{claim.name}.{Writer.current()}")
    try:
        os.rename(claim, mine)
    except FileNotFoundError:
        return True
    if _is_stale(mine):
        mine.unlink(missing_ok=True)
        return True
    os.rename(mine, claim)
    return False


@dataclass(frozen=True)
class Packed:
    published: bool
    """False when another process holds the claim; the parts stay where they are and nothing is lost."""
    num_parts: int
    holder: str = ""
    """Who holds the claim, and where it lies."""
    num_waiting: int = 0
    """Parts that are not in the store since another process holds the claim."""
    stopped: bool = False
    """Ctrl-C ended the wait for it."""

    def trouble(self, store_path: Path) -> str:
        """What a message says where nothing could be published."""
        waiting = (
            f". {self.num_waiting} finished parts wait beside it, and the same command publishes them"
            if self.num_waiting
            else ""
        )
        return f"{store_path} is claimed for {self.holder}. If no such process runs any more, remove that file{waiting}"


def pack(
    store_path: Path, *, dataset: str, card: Card | None, labels: Labels, texts: Sequence[TextFeatures] = ()
) -> Packed:
    """Publish the store with its parts and `texts`, labels taken from the manifest; then remove the parts.

    Videos stand in the manifest's order, so the order in which they were finished leaves no trace.
    """
    with _packing(store_path) as may_publish:
        if not may_publish:
            return Packed(False, 0, _holder(claim_of(store_path)), len(list_parts(store_path)))
        clear_dead(parts_folder(store_path))
        parts = list_parts(store_path)
        with ExitStack() as opened:
            base = opened.enter_context(open_store(store_path)) if store_exists(store_path) else None
            if base is not None:
                require_one_dataset(base, dataset, card)
                dataset = base.dataset
                labels = combine_labels(labels, base.labels)
                card = card or base.card
                replaced = {(text.name, text.header.recipe_id) for text in texts}
                texts = [*texts, *(t for t in base.texts if (t.name, t.header.recipe_id) not in replaced)]
            plans, labels = _compose(base.streams if base else (), parts, dataset, card, labels, opened)
            changed = base is None or not base.labels.equals(labels) or (card and card.to_json() != base.card_json)
            if changed or parts or texts:
                storage = base.storage if base else None
                write_store(
                    store_path, dataset=dataset, card=card, labels=labels, streams=plans, texts=texts, storage=storage
                )
        # Only now that the store with their content is in place.
        for part in parts:
            part.unlink(missing_ok=True)
    # Not where new parts or another claim lie in it.
    with suppress(OSError):
        parts_folder(store_path).rmdir()
    return Packed(True, len(parts))


def pack_or_wait(
    store_path: Path, *, wait_seconds: float = WAIT_SECONDS, on_wait: Callable[[str], None] = lambda line: None,
    **content: object,
) -> Packed:  # fmt: skip
    """`pack`, once whoever is at it has ended: it may have begun before our last part was there. `on_wait` is told once."""
    until = time.monotonic() + wait_seconds
    waited = False
    while True:
        packed = pack(store_path, **content)
        if packed.published or time.monotonic() > until:
            return packed
        if not waited:
            on_wait(f"waits while another process publishes {store_path}, claimed for {packed.holder}")
            waited = True
        try:
            time.sleep(LOOK_SECONDS)
        except KeyboardInterrupt:
            return replace(packed, stopped=True)


def pack_or_refuse(store_path: Path, **content: object) -> None:
    """`pack_or_wait`, for whoever has nothing to tell but that it could not be. Raises `FeaturesError`."""
    packed = pack_or_wait(store_path, **content)
    if packed.stopped:
        raise KeyboardInterrupt
    if not packed.published:
        raise FeaturesError(packed.trouble(store_path))


def _holder(claim: Path) -> str:
    """One line for a message."""
    try:
        return f"{claim.read_text() or 'a process without a name'} by {claim}"
    except OSError:
        return "a process that has just ended"


def _compose(
    base_streams: Iterable[Stream], parts: Sequence[Path], dataset: str, card: Card | None, labels: Labels,
    opened: ExitStack,
) -> tuple[list[StreamPlan], Labels]:  # fmt: skip
    """The streams of the new store, and its labels: those of parts join where `labels` does not know the video, since a part is whole
    whatever the table says by now. Parts of many videos, as imports leave them, stay open as long as `opened`. Raises `StoreConflict` for a
    part of another dataset."""
    known_ids, unknown = set(labels.video_ids), []
    headers: dict[str, FeatureHeader] = {}
    dtypes: dict[str, np.dtype] = {}
    videos: dict[str, dict[str, tuple[Stream, int] | StreamItem]] = {}
    outcomes: dict[str, dict[str, tuple[str, object, str]]] = {}
    for stream in base_streams:
        headers[stream.name], dtypes[stream.name] = stream.header, stream.features.dtype
        videos[stream.name] = {video_id: (stream, row) for video_id, row in stream.rows().items()}
        table = stream.videos
        outcomes[stream.name] = dict(zip(table.video_ids, zip(table.statuses, table.spans, table.source_names)))
    for path in parts:
        with open_store(path) as part:
            require_one_dataset(part, dataset, card)
            if not known_ids.issuperset(part.labels.video_ids):
                unknown.append(part.labels)
            for stream in part.streams:
                headers.setdefault(stream.name, stream.header)
                dtypes.setdefault(stream.name, stream.features.dtype)
                known, outcome = videos.setdefault(stream.name, {}), outcomes.setdefault(stream.name, {})
                dtype = dtypes[stream.name]
                many = len(stream.records) > 1 and stream.features.dtype == dtype
                held = opened.enter_context(open_store(path)).stream(stream.name) if many else None
                for row, (record, num_clips) in enumerate(zip(stream.records, np.diff(stream.offsets))):
                    # A video once stored is never lost to a later failure.
                    # Unless it is of another file or other seconds: of what was there before, no table speaks any more.
                    before, *source = outcome.get(record.video_id, ("", (None, None), ""))
                    if record.status != OK and before == OK and record.same_source(*source):
                        continue
                    item = (held, row) if held else _part_item(path, stream.name, record, int(num_clips), dtype)
                    known[record.video_id] = item
                    outcome[record.video_id] = record.status, record.span, record.source_name
    if unknown:
        # By id, since the order in which videos were finished leaves no trace.
        joined = combine_labels(*reversed(unknown))
        labels = combine_labels(labels, joined.subset(sorted(range(len(joined)), key=joined.video_ids.__getitem__)))
    place = {video_id: row for row, video_id in enumerate(labels.video_ids)}
    plans = [
        StreamPlan(
            headers[name],
            dtypes[name],
            consecutive(videos[name][v] for v in sorted(videos[name], key=place.__getitem__)),
        )
        for name in sorted(videos)
    ]
    return plans, labels


def _part_item(path: Path, stream_name: str, record: VideoRecord, num_clips: int, dtype: np.dtype) -> StreamItem:
    """A part is opened again when its turn comes: thousands of open files would be too many. Its numbers get the width of the stream's,
    which `features convert` may have made narrower."""

    def read() -> VideoFeatures:
        with open_store(path) as part:
            try:
                video = part.stream(stream_name).read(record.video_id)
            except NotInStore as error:
                raise NotAStore(f"{path} changed while it was packed") from error
        with np.errstate(over="ignore"):
            features = video.features.astype(dtype, copy=False)
        if not np.isfinite(features).all():
            raise InvalidFeatures(
                f"{record.video_id}: values up to {np.abs(video.features).max():.3g} do not fit the {dtype} of the store; make it wider with "
                f"`features convert --dtype {video.features.dtype}`, put that in its place, and run the same command again"
            )
        return replace(video, features=features)

    return StreamItem(record, num_clips, read)
