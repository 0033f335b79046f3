"""Files of users: only regular ones are read, and writes are atomic.

A temporary file is named after the process and machine that write it, so files of killed processes can be removed.
"""

from __future__ import annotations

import errno
import glob
import os
import re
import shutil
import stat
import time
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path


@dataclass(frozen=True)
class Writer:
    """A process: its number alone may be given to another process later."""

    pid: int
    host: str
    """The machine's name, and the container's process namespace where there is one."""
    started: int = 0
    """When the process began, in ticks since the machine was started; 0 if that is not known, as in names made by version 0.1."""

    @classmethod
    def current(cls) -> Writer:
        return _own(os.getpid())

    @classmethod
    def of(cls, pid: int) -> Writer:
        """A running process of this machine."""
        return cls(pid, _host(), _started(pid) or 0)

    @classmethod
    def parse(cls, text: str) -> Writer | None:
        """The inverse of `str`; None for other texts."""
        found = re.fullmatch(r"(\d{1,20})(?:-(\d{1,20}))?@([^@]+)", text)
        return cls(int(found[1]), found[3], int(found[2] or 0)) if found else None

    def __str__(self) -> str:
        return f"{self.pid}-{self.started}@{self.host}" if self.started else f"{self.pid}@{self.host}"

    def is_dead(self, file_seconds: float | None = None) -> bool:
        """True only for a process of this machine that no longer runs. Processes of other machines cannot be checked from here.

        Where the name does not say when the process began, `file_seconds`, the time when its file was written, decides: a process that is
        not Python or that began later is another one.
        """
        if self.host != _host():
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except OverflowError:
            return False
        except PermissionError:
            pass  # It runs, for another user.
        started = _started(self.pid)
        if started is None or self.started:
            return started is not None and started != self.started
        return file_seconds is not None and (not _is_python(self.pid) or _began_seconds(started) > file_seconds + 1)


@cache
def _own(pid: int) -> Writer:
    """Kept, so that a process has one name even when it can open no more files."""
    return Writer.of(pid)


def _started(pid: int) -> int | None:
    """Ticks after the machine's start; 0 for a process that has ended and was not waited for, None where this is not known."""
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return 0 if state in "ZX" else int(fields[18])
    except (OSError, ValueError, IndexError):
        return None


def _began_seconds(ticks: int) -> float:
    up_seconds = float(Path("/proc/uptime").read_text().split()[0])
    return time.time() - up_seconds + ticks / os.sysconf("SC_CLK_TCK")


def _is_python(pid: int) -> bool:
    try:
        return b"python" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return True


MOST_HOST = 28
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


def sync(path: Path) -> None:
    """Wait until a file, or the entries of a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def stat_now(path: Path) -> os.stat_result:
    """Of a file that another machine may have changed or removed: a network file system is asked when a file is opened, and not by `stat`, which
    may answer from a cache. Raises `OSError`."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        return os.fstat(descriptor)
    finally:
        os.close(descriptor)


def writer_of(temporary: Path) -> Writer | None:
    """The process that wrote a file named by `temporary_path`; None for other files."""
    found = re.fullmatch(r"\..+\.([\d-]+@[^@]+)\.tmp", temporary.name)
    return Writer.parse(found[1]) if found else None


def entries(folder: Path, pattern: str) -> list[Path]:
    """Those of a folder whose names match; none if the folder is missing, also where another process removes it at this moment. Raises
    `OSError` for a folder that cannot be listed, which `Path.glob` takes for an empty one."""
    try:
        return [folder / name for name in os.listdir(folder) if fnmatchcase(name, pattern)]
    except FileNotFoundError:
        return []


def clear_dead(folder: Path, name: str | None = None) -> None:
    """Remove the temporary files and folders that killed processes left in a folder, for the file of this name or for all. Those of other users, which
    only they can remove, stay."""
    try:
        leftovers = entries(folder, f".{'*' if name is None else glob.escape(name)}.*.tmp")
    except OSError:  # A folder that may be written to but not listed.
        return
    for leftover in leftovers:
        owner = writer_of(leftover)
        with suppress(OSError):
            if owner is not None and owner.is_dead(leftover.lstat().st_mtime):
                shutil.rmtree(leftover) if leftover.is_dir() and not leftover.is_symlink() else leftover.unlink()


def file_sha256(path: Path) -> str:
    import hashlib  # a lazy import keeps `--help` fast

    with require_regular(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
