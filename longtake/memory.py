"""How much memory is free, for this process and in its container, and sizes such as `2GB`."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from longtake.errors import LongtakeError

UNITS = {"": 1, "B": 1, **{f"{letter}B": 1000**power for power, letter in enumerate("KMGT", 1)}}
UNITS |= {f"{letter}IB": 1024**power for power, letter in enumerate("KMGT", 1)}
CGROUPS = Path("/sys/fs/cgroup")
SHARE = 0.5
"""Of the memory that is free: what a command takes for data where no size is asked for."""


def parse_size(text: str, error: type[LongtakeError] = LongtakeError) -> int:
    """Bytes of `2GB`, `500 MiB` or `0`. Raises `error` for anything else."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-zA-Z]*)\s*", text)
    if found is None or found[2].upper() not in UNITS:
        raise error(f"a size is a number with B, KB, MB, GB, TB, KiB, MiB, GiB or TiB, such as 2GB, got {text!r}")
    return int(float(found[1]) * UNITS[found[2].upper()])


def memory_for(asked: str | int | None) -> int:
    """Bytes: those asked for, such as `2GB`, or half of what is free. Raises `LongtakeError` for text that is not a size."""
    return int(SHARE * free_memory()) if asked is None else parse_size(str(asked))


def shown_size(num_bytes: float) -> str:
    """`1.5 GB`; below a gigabyte in MB."""
    return f"{num_bytes / 1e9:.1f} GB" if num_bytes >= 1e9 else f"{num_bytes / 1e6:.1f} MB"


def free_memory(meminfo: Path = Path("/proc/meminfo"), own: Path = Path("/proc/self/cgroup")) -> int:
    """Bytes that this process can still take: of the machine, or of its container or job where that has less. Without the files of Linux, all
    memory of the machine."""
    known = _numbers(meminfo, ":", 1024)
    machine = known.get("MemAvailable", os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    return max(0, min([machine, *_left_in_groups(own)]))


def _left_in_groups(own: Path) -> Iterator[int]:
    """Of each control group that this process is in, and of those around it: its limit less what is used, without what the kernel can drop."""
    for line in _text(own).splitlines():
        number, kinds, path = line.split(":", 2)
        if number == "0":
            root, limit, used = CGROUPS, "memory.max", "memory.current"
        elif "memory" in kinds.split(","):
            root, limit, used = CGROUPS / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes"
        else:
            continue
        folder = root / path.lstrip("/")
        # In a container, the path may be that outside of it.
        for group in (folder, *folder.parents) if folder.exists() else (root,):
            most, taken = _text(group / limit).strip(), _text(group / used).strip()
            if most.isdigit() and taken.isdigit():
                yield int(most) - int(taken) + _numbers(group / "memory.stat", " ", 1).get("inactive_file", 0)
            if group == root:
                break


def _numbers(file: Path, ends: str, unit: int) -> dict[str, int]:
    """Name -> bytes, of a file of a name and a number a line."""
    found = {}
    for line in _text(file).splitlines():
        name, _, rest = line.partition(ends)
        value = rest.split()
        if value and value[0].isdigit():
            found[name] = int(value[0]) * unit
    return found


def _text(file: Path) -> str:
    """Empty for a file that cannot be read."""
    try:
        return file.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
