"""Read the finished videos of the segments in a parts folder: first their descriptions, and the features when they are written to the store.

A segment whose writer may still run is read up to its last whole frame, and stays. What a kill left incomplete at the end of a segment is dropped;
damage elsewhere leaves out its videos. Both are said.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from longtake.checks import read_json
from longtake.collector import paused_collector
from longtake.features.errors import Damaged, InvalidFeatures, NotAStore
from longtake.features.segments.frames import DEFINITION, END, FRAME, VIDEO, BadFrame, Frame, check_head, read_frames
from longtake.features.segments.records import Definition, FinishedVideo, StoredFeatures, read_video
from longtake.features.segments.writer import DAMAGED, OPEN, SEALED, parse_name, renamed
from longtake.features.types import FeatureHeader, VideoFeatures
from longtake.files import Writer, entries, require_regular, stat_now

FOREIGN_SECONDS = 86_400.0
"""A writer of another machine that has not written for so long has ended. It seals a segment after minutes, so it appends to none that is older."""
MOST_NAME, MOST_DIM = 255, 1 << 31
"""Bytes of the name of a stream, which is that of a folder in Zarr, and width of features."""
OPEN_FILES = 64
"""Segments that are open at a time while a store is written."""


@dataclass(frozen=True)
class Segment:
    """What is in one segment."""

    path: Path
    num_bytes: int
    """When it was read."""
    videos: tuple[FinishedVideo, ...]
    """In the order in which they were finished."""
    is_final: bool
    """Nothing can follow: it is sealed, or its writer has ended."""
    may_be_late: bool = False
    """It is of another machine and new, so a network file system may not show all of it here yet."""
    torn_bytes: int = 0
    """At its end, of a video that was not finished when its writer ended."""
    faults: tuple[str, ...] = ()
    """Where it is damaged; the videos there are missing in `videos`."""
    num_lost: int = 0
    """Those videos, at least."""
    num_text_bytes: int = 0
    """Of the descriptions of its videos."""


class DamagedVideo(Damaged):
    """Features in a segment that have changed since they were written."""

    def __init__(self, path: Path, offset: int, video_id: str) -> None:
        super().__init__(f"{path}: the features of {video_id} are damaged (at byte {offset})")
        self.place = path, offset
        self.video_id = video_id


def list_segments(folder: Path) -> list[Path]:
    """By name. Those that were found damaged are left out."""
    found = ((entry, parse_name(entry.name)) for entry in entries(folder, "segment-*"))
    return sorted(entry for entry, name in found if name and name[1] != DAMAGED)


@paused_collector()
def read_segment(path: Path, now_seconds: float) -> Segment:
    """The videos of a segment, without their arrays. `now_seconds` is the time by the clock of the file system. Raises `NotAStore` if it is of a
    later version, and `FileNotFoundError` if another process has removed it."""
    with _opened(path) as (file, path):
        writer, state = parse_name(path.name) or (None, OPEN)
        about = os.fstat(file)
        size = about.st_size
        found = _Found(state)
        begins = _begins(path, file, size)
        for frame in read_frames(file, size):
            found.add(frame)
        if size and not begins:
            found.lacks_head(size)
        is_ours = writer is not None and writer.host == Writer.current().host
        may_be_late = not is_ours and now_seconds - about.st_mtime <= FOREIGN_SECONDS
        if found.has_end and found.num_before_bad is None:
            is_final = True
        elif is_ours:
            is_final = found.has_end or state == SEALED or (writer is not None and writer.is_dead())
        else:
            is_final = not may_be_late
        if not found.has_end:
            found.drop_torn_video(file, size)
    if not is_final:
        # Where a frame is not whole, its writer is at work, or not all that it wrote can be seen from this machine yet.
        videos = tuple(found.videos[: found.num_before_bad])
        return Segment(path, size, videos, False, may_be_late, num_text_bytes=found.num_text_bytes)
    if state == SEALED and not found.has_end:
        found.faults.append("its end is missing")
    return Segment(
        path, size, tuple(found.videos), True, may_be_late, found.torn_bytes, tuple(found.faults), found.num_lost(size),
        found.num_text_bytes,
    )  # fmt: skip


class _Found:
    """What the frames of a segment say, one after the other."""

    def __init__(self, state: str) -> None:
        self._is_sealed = state == SEALED
        self.videos: list[FinishedVideo] = []
        self.num_before_bad: int | None = None
        self.faults: list[str] = []
        self.torn_bytes = self.num_text_bytes = 0
        self.has_end = False
        self._num_bad = self._num_said = 0
        """Frames that should have been videos, and videos by the last frame."""
        self._definition: tuple[Definition, list[FeatureHeader]] | None = None
        self._last: Frame | None = None

    def add(self, frame: Frame | BadFrame) -> None:
        if isinstance(frame, BadFrame):
            self.bad(frame)
            return
        try:
            if frame.kind == DEFINITION:
                self._definition = None
                definition = Definition.of(frame.text)
                self._definition = definition, [_header(text) for text in definition.headers]
            elif frame.kind == VIDEO and self._definition is not None:
                self.videos.append(read_video(frame.text, frame.data_offset, frame.num_data_bytes, *self._definition))
                self.num_text_bytes += len(frame.text)
            elif frame.kind == VIDEO:
                raise InvalidFeatures("a video whose recipe is missing")
            elif frame.kind == END:
                self._end(frame)
        except InvalidFeatures as error:
            self.faults.append(f"at byte {frame.offset}: {error}")
            self._num_bad += frame.kind == VIDEO
            self._mark_bad()
        self._last = frame

    def _end(self, frame: Frame) -> None:
        self.has_end = True
        about = read_json(frame.text, "its end", InvalidFeatures)
        if isinstance(about, dict) and type(about.get("videos")) is int:
            self._num_said = about["videos"]
        if not isinstance(about, dict) or about.get("videos") != len(self.videos):
            raise InvalidFeatures(f"{len(self.videos)} videos can be read, and it says {str(about)[:80]}")

    def bad(self, frame: BadFrame) -> None:
        self._mark_bad()
        if frame.is_last and not self._is_sealed:
            self.torn_bytes = frame.end - frame.offset
        else:
            self.faults.append(f"bytes {frame.offset} to {frame.end}")
            self._num_bad += 1

    def num_lost(self, size: int) -> int:
        return max(self._num_bad, min(self._num_said, size // FRAME.size) - len(self.videos))

    def lacks_head(self, size: int) -> None:
        """One changed byte there must not cost the videos after it."""
        if self._last is None:
            self.torn_bytes, self._num_bad, self.faults = 0, 0, []
            self.bad(BadFrame(0, size, is_last=True))
        else:
            self.faults.insert(0, "its first bytes are damaged")
        self.num_before_bad = 0

    def _mark_bad(self) -> None:
        if self.num_before_bad is None:
            self.num_before_bad = len(self.videos)

    def drop_torn_video(self, file: int, size: int) -> None:
        """After the machine has lost its power, the last video may have a head and no arrays."""
        last = self._last
        if last is None or last.kind != VIDEO or not self.videos or not last.num_data_bytes:
            return
        streams = self.videos[-1].streams
        if streams[0].offset == last.data_offset and any(_read(file, one) is None for one in streams):
            self.videos.pop()
            self.torn_bytes = size - last.offset
            self.num_before_bad = min(
                len(self.videos), len(self.videos) if self.num_before_bad is None else self.num_before_bad
            )


@lru_cache(256)
def _header(text: str) -> FeatureHeader:
    header = FeatureHeader.from_json(text)
    if not header.stream_name.isprintable() or len(header.stream_name.encode()) > MOST_NAME or header.dim > MOST_DIM:
        raise InvalidFeatures(f"a recipe of {header.backbone[:80]!r}, {header.dim} wide, that no store can hold")
    return header


def _begins(path: Path, file: int, size: int) -> bool:
    try:
        return check_head(file, size)
    except NotAStore as error:
        raise NotAStore(f"{path}: {error}") from error


@contextmanager
def _opened(path: Path) -> Iterator[tuple[int, Path]]:
    """A descriptor, and the name that the file has now."""
    # A new descriptor each time: a network file system shows what was synced before the file was opened.
    file, path = _open(path)
    try:
        yield file, path
    finally:
        os.close(file)


def _open(path: Path) -> tuple[int, Path]:
    try:
        return os.open(require_regular(path), os.O_RDONLY | os.O_CLOEXEC), path
    except FileNotFoundError:
        # Its writer may have just sealed it.
        sealed = renamed(path, SEALED)
        if sealed == path:
            raise
        return os.open(require_regular(sealed), os.O_RDONLY | os.O_CLOEXEC), sealed


def _read(file: int, stored: StoredFeatures) -> VideoFeatures | None:
    data = bytearray(stored.num_bytes)
    view, begin = memoryview(data), stored.offset
    while view:
        num_read = os.preadv(file, [view], begin)
        if not num_read:
            return None
        view, begin = view[num_read:], begin + num_read
    try:
        return stored.decode(data)
    except InvalidFeatures:
        return None


class SegmentFiles:
    """Reads features from segments while a store is written. A video at a time is in memory, and some files are open."""

    def __init__(self) -> None:
        self._files: dict[Path, int] = {}

    def __enter__(self) -> SegmentFiles:
        return self

    def __exit__(self, *_: object) -> None:
        while self._files:
            os.close(self._files.popitem()[1])

    def read(self, path: Path, stored: StoredFeatures) -> VideoFeatures:
        """Raises `DamagedVideo`."""
        file = self._files.pop(path, None)
        if file is None:
            if len(self._files) >= OPEN_FILES:
                os.close(self._files.pop(next(iter(self._files))))
            file, _ = _open(path)
        # The one that was used last is at the end.
        self._files[path] = file
        video = _read(file, stored)
        if video is None:
            raise DamagedVideo(path, stored.offset, stored.record.video_id)
        return video


def damaged_videos(segment: Segment, first: DamagedVideo) -> list[DamagedVideo]:
    """All videos of a segment whose features are damaged, when one was found: each would stop the writing of a store again."""
    found = {first.place: first}
    with SegmentFiles() as files, suppress(FileNotFoundError):
        for video in segment.videos:
            for stored in video.streams:
                try:
                    files.read(segment.path, stored)
                except DamagedVideo as error:
                    found[error.place] = error
    return list(found.values())


def remove_segment(segment: Segment) -> bool:
    """Remove a segment whose videos are all in the store; False if it has grown since it was read, or may not be removed."""
    hidden = segment.path.with_name(f".{segment.path.name}")
    try:
        # A writer that was taken for dead looks for its file by this name after each video.
        os.rename(segment.path, hidden)
        if stat_now(hidden).st_size != segment.num_bytes:
            os.rename(hidden, segment.path)
            return False
        hidden.unlink()
    except FileNotFoundError:
        return True
    except OSError:  # Of another user, for one: it is read again, which changes nothing.
        return False
    return True


def restore_hidden(folder: Path) -> None:
    """Give segments their names back that a killed process was about to remove."""
    for hidden in entries(folder, ".segment-*"):
        if parse_name(hidden.name[1:]):
            with suppress(OSError):
                os.rename(hidden, hidden.with_name(hidden.name[1:]))


def set_aside(segment: Segment) -> Path:
    """Rename a damaged segment whose other videos are in the store, so that it is not read again; returns where it is now."""
    target = renamed(segment.path, DAMAGED)
    try:
        os.rename(segment.path, target)
    except OSError:  # Of another user, for one.
        return segment.path
    return target
