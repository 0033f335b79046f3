"""What is in the parts folder of a store: finished videos that wait to be published.

They are in segments (`longtake.features.segments`). Earlier releases wrote an HDF5 file per video, which is read as well.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from longtake.features.segments.reader import Segment, list_segments, read_segment
from longtake.features.segments.records import FinishedVideo
from longtake.features.store import open_store
from longtake.features.types import FeatureHeader
from longtake.files import entries

OLD_SUFFIX = ".h5"
MEMORY_PER_BYTE, OLD_PART_BYTES = 4, 4096
"""Memory that a video takes until it is published, for each byte of its description in a segment (2.8 to 4.7 were measured), and that of an old
part. Features are not among it: they are read when they are written."""


@dataclass(frozen=True)
class OldPart:
    """An HDF5 store of one video, or of an import of many."""

    path: Path
    written_ns: int

    def headers(self) -> list[FeatureHeader]:
        with open_store(self.path) as part:
            return [stream.header for stream in part.streams]


@dataclass(frozen=True, slots=True)
class InSegment:
    """A video in a segment."""

    path: Path
    video: FinishedVideo

    @property
    def written_ns(self) -> int:
        return self.video.written_ns

    def headers(self) -> list[FeatureHeader]:
        return [stream.header for stream in self.video.streams]


Part = OldPart | InSegment


@dataclass(frozen=True)
class FoundParts:
    parts: tuple[Part, ...]
    """Oldest first, so that a later one replaces an earlier one."""
    segments: tuple[Segment, ...]


def list_old_parts(folder: Path) -> list[Path]:
    return [path for path in entries(folder, f"*{OLD_SUFFIX}") if not path.name.startswith(".")]


def find_parts(folder: Path, now_seconds: float | None = None, memory: int | None = None) -> Iterator[FoundParts]:
    """All parts, once, in shares that take about `memory` bytes each, the oldest files first; None is one share. A segment is never divided, so a
    share may take more. There is always a first share, which may be empty. `now_seconds` is the time by the clock of the file system, as far as it is
    known."""
    parts: list[Part] = []
    segments: list[Segment] = []
    seen: set[Path] = set()
    taken = 0
    for path in _by_time(folder):
        try:
            new = _read(path, time.time() if now_seconds is None else now_seconds)
        except FileNotFoundError:  # Another process may have just packed it.
            continue
        if new.path in seen:  # It was listed under two names, as it was sealed.
            continue
        seen.add(new.path)
        needed = OLD_PART_BYTES if isinstance(new, OldPart) else new.num_text_bytes * MEMORY_PER_BYTE
        if memory is not None and taken and taken + needed > memory:
            yield _found(parts, segments)
            parts, segments, taken = [], [], 0
        taken += needed
        if isinstance(new, OldPart):
            parts.append(new)
        else:
            segments.append(new)
            parts += [InSegment(new.path, video) for video in new.videos]
    yield _found(parts, segments)


def _by_time(folder: Path) -> list[Path]:
    """Segments and old parts. Those that have another name by now are last."""
    times: dict[Path, float] = {}
    for path in (*list_segments(folder), *list_old_parts(folder)):
        try:
            times[path] = path.stat().st_mtime_ns
        except FileNotFoundError:
            times[path] = math.inf
    return sorted(times, key=times.__getitem__)


def _read(path: Path, now_seconds: float) -> OldPart | Segment:
    if path.suffix == OLD_SUFFIX:
        return OldPart(path, path.stat().st_mtime_ns)
    return read_segment(path, now_seconds)


def _found(parts: Sequence[Part], segments: Sequence[Segment]) -> FoundParts:
    # The sort is stable, so videos of one segment stay in its order.
    return FoundParts(tuple(sorted(parts, key=lambda part: part.written_ns)), tuple(segments))


def count_parts(folder: Path) -> int:
    return sum(len(found.parts) for found in find_parts(folder, memory=0))


def have_vanished(paths: Iterable[Path]) -> bool:
    """Whether another process has published some parts and removed their files."""
    return not all(path.exists() for path in paths)
