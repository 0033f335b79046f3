"""Files of users: only regular ones are read, and writes are atomic.

A temporary file is named after the process and machine that write it, so files of killed processes can be removed.
"""

from __future__ import annotations

import errno
import glob
import os
import re
import stat
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path


@dataclass(frozen=True)
class Writer:
    pid: int
    host: str
    """The machine's name, and the container's process namespace where there is one."""

    @classmethod
    def current(cls) -> Writer:
        return cls(os.getpid(), _host())

    @classmethod
    def parse(cls, text: str) -> Writer | None:
        """The inverse of `str`; None for other texts."""
        pid, _, host = text.partition("@")
        return cls(int(pid), host) if pid.isdecimal() and host else None

    def __str__(self) -> str:
        return f"{self.pid}@{self.host}"

    def is_dead(self) -> bool:
        """True only for a process of this machine that no longer runs. Processes of other machines cannot be checked from here."""
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
"""Limit for a host's name in characters, so that the temporary name of a part fits into 255 bytes, the limit of file systems."""
MACHINES_OWN = 0xEFFFFFFC
"""Linux's number of the initial process namespace, outside all containers."""


@cache
def _host() -> str:
    name = os.uname().nodename[:MOST_HOST]
    try:
        processes = os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        return name
    return name if processes == MACHINES_OWN else f"{name}-{processes}"


def is_url(path: Path | str) -> bool:
    return isinstance(path, str) and "://" in path


_KINDS = {stat.S_IFIFO: "a named pipe", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device"}


def require_regular(path: Path) -> Path:
    """`path`, if it is a regular file or a link to one. Every file of a user goes through this before it is opened: to open a named pipe
    waits for ever, and a device has no end. Raises `OSError`."""
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, "a folder, not a file", str(path))
    if not stat.S_ISREG(mode):
        kind = _KINDS.get(stat.S_IFMT(mode), "something else")
        raise OSError(errno.EINVAL, f"not a regular file but {kind}", str(path))
    return path


def write_target(path: Path) -> Path:
    """The file to replace in a write to `path`: for a link, its target, which keeps the link. Raises `OSError` if something other than a
    regular file is there."""
    with suppress(FileNotFoundError):
        require_regular(path)
    return Path(os.path.realpath(path)) if path.is_symlink() else path


def temporary_path(path: Path) -> Path:
    """The file that this process writes and then renames to `path`."""
    return path.with_name(f".{path.name}.{Writer.current()}.tmp")


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a small file atomically. Raises `OSError`; the file that was there is then unchanged."""
    path = write_target(path)
    clear_dead(path.parent, path.name)
    temporary = temporary_path(path)
    try:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def writer_of(temporary: Path) -> Writer | None:
    """The process that wrote a file named by `temporary_path`; None for other files."""
    found = re.fullmatch(r"\..+\.(\d+@[^@]+)\.tmp", temporary.name)
    return Writer.parse(found[1]) if found else None


def clear_dead(folder: Path, name: str | None = None) -> None:
    """Remove the temporary files that killed processes left in a folder, for the file of this name or for all."""
    for leftover in folder.glob(f".{'*' if name is None else glob.escape(name)}.*.tmp"):
        owner = writer_of(leftover)
        if owner is not None and owner.is_dead():
            leftover.unlink(missing_ok=True)


def file_sha256(path: Path) -> str:
    import hashlib  # a lazy import keeps `--help` fast

    with require_regular(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
