"""Append finished videos to a segment of one's own, in the parts folder of a store.

A segment has one writer, so it needs no lock. A video is on the disk when `append` returns; failures are appended without a sync of their own. The
writer seals a segment, which is a rename, at its end or when it is large or old. A packer removes sealed segments, and those of writers that have
ended.
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from types import TracebackType

from longtake.features.labels import Labels
from longtake.features.segments.frames import DEFINITION, END, VIDEO, file_head, framed
from longtake.features.segments.records import Definition, describe
from longtake.features.types import FeatureHeader, VideoFeatures, canonical_json
from longtake.files import Writer, stat_now, sync, temporary_path

OPEN, SEALED, DAMAGED = "open", "sealed", "damaged"
MOST_TRIES = 20
"""To make a file in a folder that others remove when it is empty."""


@dataclass(frozen=True)
class SegmentLimits:
    """A segment that has reached one of them is sealed before the next video, so that packers can remove it."""

    num_bytes: int = 1 << 30
    num_videos: int = 32
    """Packers read an open segment again at each publication."""
    seconds: float = 600.0
    """Since the segment was begun. It must be far below the age at which packers take the writer of another machine for dead."""


def segment_name(writer: Writer, token: str, state: str) -> str:
    return f"segment-{token}.{writer}.{state}"


def parse_name(name: str) -> tuple[Writer, str] | None:
    """The writer and the state of a segment; None for other files."""
    found = re.fullmatch(rf"segment-[0-9a-f]{{8}}\.([\d-]+@[^@]+)\.({OPEN}|{SEALED}|{DAMAGED})", name)
    writer = Writer.parse(found[1]) if found else None
    return (writer, found[2]) if found and writer else None


def renamed(path: Path, state: str) -> Path:
    """The name of a segment in another state."""
    return path.with_name(f"{path.name.rpartition('.')[0]}.{state}")


class SegmentWriter:
    """Threads may share one. After a fork, the child begins a segment of its own."""

    def __init__(self, folder: Path, limits: SegmentLimits = SegmentLimits(), *, at_once: bool = True) -> None:
        """`at_once=False` is for many videos that are of use only together: they are synced, and seen by others, when the segment is sealed."""
        self._folder, self._limits, self._at_once = folder, limits, at_once
        self._lock = threading.Lock()
        self._segment: _Segment | None = None

    def __enter__(self) -> SegmentWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None and not self._at_once:
            self.discard()
        self.seal()

    def append(self, dataset: str, labels: Labels, videos: Mapping[FeatureHeader, VideoFeatures]) -> Path:
        """Store one video, of one backbone or several, and return its segment. `labels` has the row of that video only. Raises `OSError`,
        such as for a full disk; the videos before it stay."""
        definition = Definition(dataset, tuple(header.to_json() for header in videos), labels.score_names)
        text, arrays = describe(labels.row(0), videos, time.time_ns())
        with self._lock:
            for _ in range(MOST_TRIES):
                segment = self._current()
                segment.append(definition, text, arrays)
                if self._at_once and arrays:
                    segment.sync()
                # Another process may have taken us for dead, where two machines have one name.
                if segment.is_there():
                    return segment.path
                self._segment = None
                segment.close()
        raise FileNotFoundError(f"{segment.path} was removed while it was written")

    def _current(self) -> _Segment:
        segment = self._segment
        if segment is not None and segment.writer != Writer.current():
            # Of the process that this one was forked from.
            segment.close()
            segment = None
        if segment is not None and (segment.is_broken or (self._at_once and segment.has_reached(self._limits))):
            segment.seal()
            segment = None
        self._segment = segment or _Segment.begin(self._folder, hidden=not self._at_once)
        return self._segment

    def seal(self) -> None:
        """End the segment: it can be removed when its videos are in the store. Raises `OSError` only for videos that were not synced yet."""
        with self._lock:
            segment, self._segment = self._segment, None
            if segment is not None and segment.writer == Writer.current():
                segment.seal(must=not self._at_once)

    def discard(self) -> None:
        """Remove the segment."""
        with self._lock:
            segment, self._segment = self._segment, None
            if segment is not None:
                segment.remove()


class _Segment:
    """An open file. Only whole frames stay in it."""

    def __init__(self, path: Path, sealed_path: Path, file: int) -> None:
        self.path, self._sealed_path, self._file = path, sealed_path, file
        self.writer = Writer.current()
        self._begun = _uptime()
        self._num_bytes = self._num_videos = 0
        self._definition: Definition | None = None
        self.is_broken = False
        """Its end could not be repaired, so nothing may follow."""

    @classmethod
    def begin(cls, folder: Path, hidden: bool) -> _Segment:
        token = token_hex(4)
        sealed = folder / segment_name(Writer.current(), token, SEALED)
        path = temporary_path(sealed) if hidden else renamed(sealed, OPEN)
        for tries_left in range(MOST_TRIES - 1, -1, -1):
            try:
                folder.mkdir(parents=True, exist_ok=True)
                file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o666)
                break
            except (FileExistsError, FileNotFoundError):
                # A process that published the last part has just removed the folder. If the folder cannot be made, this fails again.
                if not tries_left:
                    raise
        made = cls(path, sealed, file)
        try:
            made._write([file_head()])
            # The names must be on the disk before the first video is said to be.
            sync(folder)
            sync(folder.parent)
        except OSError:
            made.remove()
            raise
        return made

    def append(self, definition: Definition, text: bytes, arrays: Sequence[memoryview]) -> None:
        pieces = [] if definition == self._definition else framed(DEFINITION, definition.to_json())
        self._write([*pieces, *framed(VIDEO, text, arrays)])
        self._definition = definition
        self._num_videos += 1

    def _write(self, pieces: Sequence[bytes | memoryview]) -> None:
        """All of them, or none."""
        try:
            rest = [memoryview(piece) for piece in pieces]
            while rest:
                written = os.writev(self._file, rest)
                while rest and written >= len(rest[0]):
                    written -= len(rest.pop(0))
                if rest:
                    rest[0] = rest[0][written:]
        except BaseException as error:
            self._repair()
            if isinstance(error, OSError):
                error.filename = str(self.path)
            raise
        self._num_bytes += sum(memoryview(piece).nbytes for piece in pieces)

    def _repair(self) -> None:
        try:
            os.ftruncate(self._file, self._num_bytes)
        except OSError:
            self.is_broken = True

    def sync(self) -> None:
        try:
            os.fsync(self._file)
        except OSError as error:
            # What is on the disk is not known, and another sync would not say so.
            self.is_broken = True
            error.filename = str(self.path)
            raise

    def is_there(self) -> bool:
        try:
            return os.path.samestat(stat_now(self.path), os.fstat(self._file))
        except FileNotFoundError:
            return False

    def has_reached(self, limits: SegmentLimits) -> bool:
        return (
            self._num_bytes >= limits.num_bytes
            or self._num_videos >= limits.num_videos
            or _uptime() - self._begun >= limits.seconds
        )

    def seal(self, *, must: bool = False) -> None:
        if not self._num_videos and not self.is_broken:
            self.remove()
            return
        try:
            if not self.is_broken:
                self._write(framed(END, canonical_json({"videos": self._num_videos}).encode()))
                self.sync()
                os.rename(self.path, self._sealed_path)
                if must:
                    sync(self._sealed_path.parent)
        except OSError:
            # Unsealed, it is packed too, and removed when this process has ended.
            if must:
                self.remove()
                raise
        finally:
            self.close()

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
        self._file = -1

    def remove(self) -> None:
        self.close()
        with suppress(FileNotFoundError):
            self.path.unlink()
        with suppress(OSError):
            self.path.parent.rmdir()


def _uptime() -> float:
    """Seconds that also pass while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()
