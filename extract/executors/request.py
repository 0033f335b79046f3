"""What a command and the workers of its cluster say to each other."""

from __future__ import annotations

import pickle
import zlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from longtake.extract.plan.options import RunOptions
from longtake.extract.records import VideoResult
from longtake.manifests.table import Manifest


@dataclass(frozen=True)
class Request:
    """What a worker needs to make the same plan itself."""

    run_id: str
    manifest: Manifest
    videos_folder: Path
    out: Path
    options: RunOptions
    recipe_ids: tuple[str, ...]

    def packed(self) -> bytes:
        """Some kilobytes, which travel with each task. As data of its own, a worker must have it from another before its first task, and a dead
        worker takes it along."""
        return zlib.compress(pickle.dumps(self))


@lru_cache(1)
def unpacked(request: bytes) -> Request:
    """On a worker. The scheduler's message was a pickle already, so this trusts nothing more."""
    found: Request = pickle.loads(zlib.decompress(request))
    return found


@dataclass(frozen=True)
class TaskResult:
    """What a worker did of a task."""

    videos: tuple[VideoResult, ...]
    """Those that are on the disk; the others are to be tried by another worker."""
    seconds: float
    cannot_store: tuple[str, str] | None = None
    """The address of the worker and a reason: its disk is full or not mounted."""
