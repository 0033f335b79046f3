"""Check whether a folder can hold a store that several writers share: try each feature of the file system that stores need."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import h5py
import numpy as np

from longtake.features.errors import FeaturesError
from longtake.features.formats.disk import sync

FEW_GB, FEW_FILES = 10.0, 10_000
MOST_SKEW_SECONDS = 5.0
"""Allowed difference between the clock of the folder, which stamps files, and ours: the age of replaced Zarr generations and of unnamed
lock files is computed from both."""
RENAMES = 50


@dataclass(frozen=True)
class Finding:
    check: str
    ok: bool
    found: str
    advice: str
    """What to do about it; empty if the check passed."""


class _Failed(OSError):
    """What was found, where the operating system reports no error."""


def examine(folder: Path) -> list[Finding]:
    """Run all checks in a temporary folder inside `folder`, and remove it. Raises `FeaturesError` if `folder` is not a folder."""
    if not folder.is_dir():
        raise FeaturesError(f"{folder} is not a folder")
    place = folder / f".longtake-doctor-{uuid4().hex[:8]}"
    findings = []
    try:
        for check, advice, step in CHECKS:
            try:
                place.mkdir(exist_ok=True)
                findings.append(Finding(check, True, step(place), ""))
            except OSError as error:
                findings.append(Finding(check, False, error.strerror or str(error), advice))
    finally:
        shutil.rmtree(place, ignore_errors=True)
    return findings


def _writes(place: Path) -> str:
    file = place / "file"
    file.write_bytes(b"x" * (1 << 20))
    sync(file)
    if file.read_bytes() != b"x" * (1 << 20):
        raise _Failed("what was read differs from what was written")
    return "1 MB written, synced and read"


def _syncs_folders(place: Path) -> str:
    sync(place)
    return "a folder can be synced"


def _renames(place: Path) -> str:
    """At every moment, a reader in another process must see the whole old file or the whole new file."""
    target = place / "target"
    target.write_bytes(b"0" * 4096)
    reader = (
        "import sys, time\n"
        "end = time.time() + 20\n"
        "count = 0\n"
        "while time.time() < end:\n"
        "    data = open(sys.argv[1], 'rb').read()\n"
        "    assert len(data) == 4096 and len(set(data)) == 1, 'torn'\n"
        "    count += 1\n"
        "    if data[:1] == b'E': break\n"
        "print(count)\n"
    )
    call = [sys.executable, "-c", reader, str(target)]
    with subprocess.Popen(call, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        for number in range(RENAMES):
            fresh = place / f"fresh{number}"
            fresh.write_bytes(bytes([ord("1") + number % 9]) * 4096)
            os.replace(fresh, target)
            time.sleep(0.002)
        last = place / "last"
        last.write_bytes(b"E" * 4096)
        os.replace(last, target)
        out, error = process.communicate(timeout=60)
    if process.returncode:
        raise _Failed((error.strip().splitlines() or ["the reader failed"])[-1])
    return f"{RENAMES + 1} renames onto a file that another process read {int(out)} times"


def _creates_once(place: Path) -> str:
    lock = place / "lock"
    os.close(os.open(lock, os.O_CREAT | os.O_EXCL))
    try:
        os.close(os.open(lock, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return "the second of two writers is refused"
    raise _Failed("two writers could create the same file")


def _tells_time(place: Path) -> str:
    file = place / "clock"
    before = time.time()
    file.write_bytes(b"")
    skew = file.stat().st_mtime - before
    if abs(skew) > MOST_SKEW_SECONDS:
        raise _Failed(f"its clock differs from ours by {skew:.0f} s")
    return f"its clock differs from ours by {abs(skew):.1f} s"


def _keeps_names(place: Path) -> str:
    (place / "Name").write_bytes(b"1")
    if (place / "name").exists():
        raise _Failed("names that differ in case only are the same file")
    (place / ("n" * 200)).write_bytes(b"1")
    return "upper and lower case differ; names of 200 characters are kept"


def _holds_hdf5(place: Path) -> str:
    values = np.arange(10_000, dtype=np.float32)
    with h5py.File(place / "s.h5", "w") as file:
        file["values"] = values
    with h5py.File(place / "s.h5", "r") as file:
        if not np.array_equal(file["values"][()], values):
            raise _Failed("HDF5 did not read the numbers that it wrote")
    return "HDF5 writes and reads"


def _has_room(place: Path) -> str:
    stats = os.statvfs(place)
    gigabytes = stats.f_bavail * stats.f_frsize / 1e9
    files = stats.f_favail if stats.f_files else None  # some file systems create inodes on demand
    if gigabytes < FEW_GB or (files is not None and files < FEW_FILES):
        raise _Failed(f"{gigabytes:.1f} GB and {'any number of' if files is None else files} files are left")
    return f"{gigabytes:.0f} GB and {'any number of' if files is None else files} files are left"


CHECKS: tuple[tuple[str, str, Callable[[Path], str]], ...] = (
    ("write and sync", "Take a folder that you may write to, on a disk with room.", _writes),
    ("sync a folder", "A power cut may lose the last parts; nothing else is at risk.", _syncs_folders),
    ("rename atomically", "Do not share this folder: extract to a local disk, then copy the store.", _renames),
    ("create once", "Let only one process write here: no --cluster, no --shard.", _creates_once),
    ("clock", "Set the clocks by NTP, or let only one process write here.", _tells_time),
    ("names", "Give video ids that differ in more than their case.", _keeps_names),
    ("HDF5", "Write Zarr instead: --out NAME.zarr; or set HDF5_USE_FILE_LOCKING=FALSE.", _holds_hdf5),
    (
        "room",
        "100 hours of video in clips of 32 frames make about 1 GB of 1024-wide features, twice while packing.",
        _has_room,
    ),
)
