"""Files below a folder, looked up for a whole table at once: by one listing of each folder, where that is less than a look at each file."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from longtake.collector import paused_collector
from longtake.manifests.table import composed

LISTED_FROM = 4
"""A folder of which so many names are wanted is listed; of fewer, each is looked up, since the folder may be much larger."""


@paused_collector()
def index_by_stem(folder: Path) -> dict[str, list[str]]:
    """File names of a folder by their stem, with its accents composed; read once for all rows."""
    found: dict[str, list[str]] = {}
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_file() and not entry.name.startswith("."):
                found.setdefault(composed(stem_of(_utf8(entry.name))), []).append(entry.name)
    return found


def stem_of(name: str) -> str:
    """`Path(name).stem`, in a fraction of the time."""
    dot = name.rfind(".")
    return name[:dot] if 0 < dot < len(name) - 1 else name


def absent(folder: Path, paths: Iterable[str]) -> set[str]:
    """Those of the relative paths at which nothing is. What cannot be looked up, for lack of permission or for a fault of the disk, is
    not among them: reading the file will give the reason."""
    wanted: dict[str, dict[str, None]] = {"": {}}
    spelled = {path: "/".join(part for part in path.split("/") if part not in ("", ".")) for path in paths}
    for path in spelled.values():
        while path:
            parent, _, name = path.rpartition("/")
            is_known = parent in wanted
            wanted.setdefault(parent, {})[name] = None
            if is_known:
                break
            path = parent
    found = {""}
    parents = [""]
    while parents:
        parent = parents.pop()
        for name in _present(folder / parent, wanted[parent]):
            path = f"{parent}/{name}" if parent else name
            found.add(path)
            if path in wanted:
                parents.append(path)
    return {path for path, one in spelled.items() if one not in found}


def _present(folder: Path, names: Iterable[str]) -> list[str]:
    """Those of the names that the folder has."""
    names = list(names)
    if len(names) < LISTED_FROM:
        return [name for name in names if _is_there(folder, name)]
    try:
        with os.scandir(folder) as entries:
            # Links may lead to nothing.
            listed = {_utf8(entry.name) for entry in entries if not entry.is_symlink() or _is_there(folder, entry.name)}
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError:
        return names
    folded = {_folded(name) for name in listed}
    # Some file systems take names for the same that differ in capitals, or in how accents are written.
    return [name for name in names if name in listed or (_folded(name) in folded and _is_there(folder, name))]


def _folded(name: str) -> str:
    return composed(name).casefold()


def _is_there(folder: Path, name: str) -> bool:
    try:
        os.stat(f"{folder}/{name}")
    except (FileNotFoundError, NotADirectoryError, ValueError):  # ValueError: a name that no file can have
        return False
    except OSError:
        pass
    return True


def _utf8(name: str) -> str:
    # Names are UTF-8, also where the locale takes them for something else.
    return name if name.isascii() else os.fsencode(name).decode(errors="surrogateescape")
