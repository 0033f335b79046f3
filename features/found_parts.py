"""What is in the parts folder of a store: finished videos that wait to be published.

They are in segments (`longtake.features.segments`). Earlier releases wrote an HDF5 file per video, which is read as well.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from longtake.collector import paused_collector
from longtake.features.segments.reader import Segment, list_segments, read_segment
from longtake.features.segments.records import FinishedVideo
from longtake.features.store import open_store
from longtake.features.types import FeatureHeader
from longtake.files import entries

OLD_SUFFIX = ".h5"


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


def list_old_parts(folder: Path) -> list[OldPart]:
    found = []
    for path in entries(folder, f"*{OLD_SUFFIX}"):
        with suppress(FileNotFoundError):
            if not path.name.startswith("."):
                found.append(OldPart(path, path.stat().st_mtime_ns))
    return found


@paused_collector()
def find_parts(folder: Path, now_seconds: float | None = None) -> FoundParts:
    """`now_seconds` is the time by the clock of the file system, as far as it is known."""
    by_path: dict[Path, Segment] = {}
    for path in list_segments(folder):
        # Another process may have just packed it.
        with suppress(FileNotFoundError):
            segment = read_segment(path, time.time() if now_seconds is None else now_seconds)
            by_path[segment.path] = segment
    segments = by_path.values()
    parts: list[Part] = [*list_old_parts(folder)]
    parts += [InSegment(segment.path, video) for segment in segments for video in segment.videos]
    # The sort is stable, so videos of one segment stay in its order.
    return FoundParts(tuple(sorted(parts, key=lambda part: part.written_ns)), tuple(segments))


def count_parts(folder: Path) -> int:
    return len(find_parts(folder).parts)


def have_vanished(parts: Sequence[Part]) -> bool:
    """Whether another process has published and removed some of them."""
    return not all(path.exists() for path in {part.path for part in parts})
