"""The lock of a store: at most one process publishes at a time, on one machine or several.

The lock is a file that a process creates exclusively and that names the process, `pid@host`. A process that is killed leaves its lock
behind; a process of the same machine sees that the owner is gone and takes the lock over.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from longtake.files import Writer

NAMELESS_SECONDS = 60.0
"""A lock is named right after it is created; one that has no name after this time was left by a killed process."""


@contextmanager
def locked(lock: Path) -> Iterator[bool]:
    """Hold the lock: True if this process holds it, False if another process does. Raises `OSError` if no lock can be made."""
    if not (_acquired(lock) or (_is_stale(lock) and _took_away(lock) and _acquired(lock))):
        yield False
        return
    try:
        yield True
    finally:
        lock.unlink(missing_ok=True)


def holder_of(lock: Path) -> str:
    """The process that holds a lock and the lock file, for a message."""
    try:
        name = lock.read_text()
    except OSError:
        return "a process that has just ended"
    return f"process {name} ({lock})" if name else f"an unnamed process ({lock})"


def _acquired(lock: Path) -> bool:
    for tries_left in range(99, -1, -1):
        try:
            lock.parent.mkdir(parents=True, exist_ok=True)
            file = lock.open("x")
            break
        except (FileExistsError, FileNotFoundError):
            if lock.exists():
                return False
            # Another process has just removed lock and folder, or the folder cannot be made.
            if not tries_left:
                raise
    try:
        with file:
            file.write(str(Writer.current()))
    except OSError:
        # The disk is full: a lock without a name would stay.
        lock.unlink(missing_ok=True)
        raise
    return True


def _is_stale(lock: Path) -> bool:
    try:
        text, age = lock.read_text(), time.time() - lock.stat().st_mtime
    except OSError:
        return False
    owner = Writer.parse(text)
    if owner is None:
        return age > NAMELESS_SECONDS
    return owner.is_dead() or owner == Writer.current()


def _took_away(lock: Path) -> bool:
    """Remove a stale lock. Another process may have replaced it a moment ago by its own lock, which is put back."""
    mine = lock.with_name(f"{lock.name}.{Writer.current()}")
    try:
        os.rename(lock, mine)
    except FileNotFoundError:
        return True
    if _is_stale(mine):
        mine.unlink(missing_ok=True)
        return True
    os.rename(mine, lock)
    return False
