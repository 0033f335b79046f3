"""The lock of a store: at most one process publishes at a time, on one machine or several.

The lock is a file that a process creates exclusively and that names the process, `pid-start@host`. A process that is killed leaves its lock
behind; a process of the same machine sees that the owner is gone and takes the lock over. Only one process at a time looks and removes,
so a lock that another process has just made is never removed. Threads of one process have one name: of them, one at a time gets to the file.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from longtake.errors import printable
from longtake.files import Writer, require_regular

NAMELESS_SECONDS = 60.0
"""A lock is named right after it is created; one that has no name after this time was left by a killed process."""

MOST_NAME = 200

_held: dict[tuple[int, str], object] = {}
"""The locks that threads of a process hold or try to take, by the process and the real path: a forked process inherits those of its parent."""


@contextmanager
def locked(lock: Path) -> Iterator[bool]:
    """Hold the lock: True if the caller holds it, False if another process or thread does. Raises `OSError` if no lock can be made."""
    key, ours = (os.getpid(), os.path.realpath(lock)), object()
    # One step, so that two threads cannot both find it free.
    if _held.setdefault(key, ours) is not ours:
        yield False
        return
    try:
        with _locked_file(lock) as is_held:
            yield is_held
    finally:
        del _held[key]


@contextmanager
def _locked_file(lock: Path) -> Iterator[bool]:
    if not (_acquired(lock) or (_is_stale(lock) and _removed_stale(lock) and _acquired(lock))):
        yield False
        return
    try:
        yield True
    finally:
        if _text_of(lock) == str(Writer.current()):
            lock.unlink(missing_ok=True)


def holder_of(lock: Path) -> str:
    """The process that holds a lock and the lock file, for a message."""
    name = _text_of(lock)
    if name is None:
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


def _text_of(lock: Path) -> str | None:
    """The name of the owner; empty if the lock has none or is not a file of ours, None if there is no lock."""
    try:
        return printable(require_regular(lock).read_text()[:MOST_NAME])
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        return ""


def _is_stale(lock: Path) -> bool:
    text = _text_of(lock)
    if text is None:
        return False
    try:
        written = lock.stat().st_mtime
    except OSError:
        return False
    owner = Writer.parse(text)
    if owner is None:
        return time.time() - written > NAMELESS_SECONDS
    # No other thread of this process holds it, or this one would not look: it was left by a process of the same name, as in containers.
    return owner.is_dead(written) or owner == Writer.current()


def _removed_stale(lock: Path) -> bool:
    """Remove a stale lock; False if another process is about to, or if this one may not."""
    guard = lock.with_name(f"{lock.name}.takeover")
    try:
        with guard.open("a") as file:
            # The system releases it when the process ends, so it is never stale itself.
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not os.path.samestat(os.fstat(file.fileno()), guard.stat()) or not _is_stale(lock):
                return False
            lock.unlink(missing_ok=True)
            guard.unlink()
            return True
    except OSError:
        return False
