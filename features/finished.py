"""What a store and its parts hold already: `extract` resumes from it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from longtake.collector import paused_collector
from longtake.features.compose import replaces
from longtake.features.errors import FeaturesError
from longtake.features.found_parts import InSegment, find_parts, have_vanished
from longtake.features.joins import require_dataset, require_one_dataset
from longtake.features.parts import parts_folder
from longtake.features.store import open_store, store_exists
from longtake.features.types import FeatureHeader, VideoRecord
from longtake.manifests.card import Card


@dataclass(frozen=True)
class Finished:
    """recipe_id -> video_id -> record."""

    records: Mapping[str, Mapping[str, VideoRecord]]
    headers: tuple[FeatureHeader, ...]


@paused_collector()
def read_finished(store_path: Path, dataset: str, card: Card | None) -> Finished:
    """Read what the store and all parts hold. Parts are read a segment at a time, and only their records stay.

    Raises `StoreConflict` if they are of another dataset.
    """
    while True:
        reading = _Reading(dataset, card)
        try:
            return reading.read(store_path)
        except FeaturesError:
            # Another process has published in between: what a part held is in the store now.
            if not have_vanished(reading.paths):
                raise


@dataclass(frozen=True, slots=True)
class _Result:
    record: VideoRecord
    written_ns: int
    in_segment: bool
    """Segments say when a video was appended. Of another file, `written_ns` is when it was written, and 0 of the store."""


def _counted(results: Sequence[_Result]) -> VideoRecord:
    """The one of a video that publishing all parts at once leaves."""
    if len(results) == 1:
        return results[0].record
    first, *later = sorted(results, key=lambda one: one.written_ns)
    found = first.record
    for one in later:
        if replaces(one.record, one.written_ns if one.in_segment else None, found):
            found = one.record
    return found


class _Reading:
    """Reads parts, and then the store: what others publish in between is in one of them."""

    def __init__(self, dataset: str, card: Card | None) -> None:
        self._dataset, self._card = dataset, card
        self._headers: dict[str, FeatureHeader] = {}
        self._known: dict[str, dict[str, tuple[_Result, ...]]] = {}
        self.paths: set[Path] = set()
        """Of the parts."""

    def read(self, store_path: Path) -> Finished:
        for found in find_parts(parts_folder(store_path), memory=0):
            self.paths |= {part.path for part in found.parts}
            for part in found.parts:
                if isinstance(part, InSegment):
                    require_dataset(part.path, part.video.dataset, False, self._dataset, self._card)
                    for stored in part.video.streams:
                        self._take(stored.header, [_Result(stored.record, part.written_ns, in_segment=True)])
                else:
                    self._take_store(part.path, part.written_ns)
        if store_exists(store_path):
            self._take_store(store_path, 0)
        records = {
            recipe: {name: _counted(some) for name, some in results.items()} for recipe, results in self._known.items()
        }
        return Finished(records, tuple(self._headers.values()))

    def _take_store(self, path: Path, written_ns: int) -> None:
        with open_store(path) as store:
            require_one_dataset(store, self._dataset, self._card)
            for stream in store.streams:
                self._take(stream.header, (_Result(record, written_ns, in_segment=False) for record in stream.records))

    def _take(self, header: FeatureHeader, results: Iterable[_Result]) -> None:
        self._headers[header.recipe_id] = header
        known = self._known.setdefault(header.recipe_id, {})
        for one in results:
            name = one.record.video_id
            known[name] = (*known.get(name, ()), one)
