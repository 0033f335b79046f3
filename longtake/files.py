"""Who writes: the process and machine that a temporary file or a claim belongs to, so that what the dead left can be cleared."""

from __future__ import annotations

import hashlib
import os
import re
import socket
from dataclasses import dataclass
from functools import cache
from pathlib import Path


@dataclass(frozen=True)
class Writer:
    pid: int
    host: str
    """Of the machine; of a container too, where it has processes of its own and the machine's name."""

    @classmethod
    def current(cls) -> Writer:
        return cls(os.getpid(), _host())

    @classmethod
    def parse(cls, text: str) -> Writer | None:
        """The inverse of `str`; None for anything else."""
        pid, _, host = text.partition("@")
        return cls(int(pid), host) if pid.isdecimal() and host else None

    def __str__(self) -> str:
        return f"{self.pid}@{self.host}"

    def is_dead(self) -> bool:
        """True only when it is certain: a process of this machine that no longer runs. Nobody here can ask another one."""
        if self.host != _host():
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except (PermissionError, OverflowError):
            return False
        return False


MOST_HOST = 40
"""Characters of a host's name, so that a part's temporary name fits the 255 bytes that file systems take."""
MACHINES_OWN = 0xEFFFFFFC
"""Linux's number of the processes that are in no container."""


@cache
def _host() -> str:
    name = socket.gethostname()[:MOST_HOST]
    try:
        processes = os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        return name
    return name if processes == MACHINES_OWN else f"{name}-{processes}"


def is_url(path: Path | str) -> bool:
    return isinstance(path, str) and "://" in path


def temporary_beside(path: Path) -> Path:
    """Where this process writes what will be renamed to `path`."""
    return path.with_name(f".{path.name}.{Writer.current()}.tmp")


def write_whole(path: Path, content: str | bytes) -> None:
    """A small file that is there whole or not at all. Raises `OSError`, and then leaves what was there."""
    clear_dead(path.parent, path.name)
    temporary = temporary_beside(path)
    try:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def writer_of(temporary: Path) -> Writer | None:
    """Who wrote a file named by `temporary_beside`; None for any other file."""
    found = re.fullmatch(r"\..+\.(\d+@[^@]+)\.tmp", temporary.name)
    return Writer.parse(found[1]) if found else None


def clear_dead(folder: Path, name: str = "*") -> None:
    """Remove the half-written files that killed processes left of `name`, a pattern, in a folder."""
    for leftover in folder.glob(f".{name}.*.tmp"):
        owner = writer_of(leftover)
        if owner is not None and owner.is_dead():
            leftover.unlink(missing_ok=True)


def file_sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
