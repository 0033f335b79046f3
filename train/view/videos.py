"""Video files for the pages: found by the names that stores have of them, in one folder, and nothing outside of it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

from longtake.features.catalog.media import Placed
from longtake.features.catalog.site import MEDIA
from longtake.files import require_regular
from longtake.train.errors import DataError

TYPES = {
    ".mp4": "video/mp4", ".m4v": "video/mp4", ".mov": "video/quicktime", ".webm": "video/webm", ".mkv": "video/x-matroska",
    ".avi": "video/x-msvideo", ".mpg": "video/mpeg", ".mpeg": "video/mpeg", ".ogv": "video/ogg", ".ts": "video/mp2t",
}  # fmt: skip
"""Ending -> type that a browser gets. Files of other endings are never served."""


@dataclass(frozen=True)
class VideoFiles:
    """The videos below a folder. Names of stores are compared with names of files, so a name is never a path."""

    folder: Path
    paths: dict[str, Path]
    """File name -> path; names that several folders have are left out, since it is not known which one is meant."""

    @classmethod
    def below(cls, folder: Path) -> VideoFiles:
        """Raises `DataError` for a folder that is not there. Folders that are links are not followed."""
        if not folder.is_dir():
            raise DataError(f"--videos {folder} is not a folder")
        found: dict[str, list[Path]] = {}
        for parent, folders, names in os.walk(folder):
            folders.sort()
            for name in names:
                if Path(name).suffix.lower() in TYPES and not name.startswith("."):
                    found.setdefault(name, []).append(Path(parent) / name)
        return cls(folder, {name: paths[0] for name, paths in found.items() if len(paths) == 1})

    def only(self, names: Iterable[str]) -> VideoFiles:
        """Those of these names: of a folder with other videos, no others are shown."""
        return VideoFiles(self.folder, {name: self.paths[name] for name in sorted({*names} & self.paths.keys())})

    @cached_property
    def _places(self) -> dict[str, int]:
        return {name: place for place, name in enumerate(self.paths)}

    def address(self, name: str) -> str | None:
        """Where a site has the file of that name, such as `video/12.mp4`: names of files may be hard to type, and tell more than they should."""
        path = self.find(name)
        return None if path is None else f"{MEDIA}/{self._places[name]}{path.suffix.lower()}"

    def at(self, address: str) -> Path | None:
        """The file of an address."""
        place = PurePosixPath(address).stem
        known = place.isdecimal() and len(place) < 10 and int(place) < len(self.paths)
        name = list(self.paths)[int(place)] if known else ""
        return self.find(name) if name and self.address(name) == address else None

    @property
    def media(self) -> dict[str, Path]:
        """Address -> file, of all."""
        return {address: path for name, path in self.paths.items() if (address := self.address(name))}

    def find(self, name: str) -> Path | None:
        """The file of that name; None where there is none, or where it is a link that leaves the folder."""
        path = self.paths.get(name)
        try:
            if path is None or Path(os.path.realpath(self.folder)) not in Path(os.path.realpath(path)).parents:
                return None
            return require_regular(path)
        except OSError:
            return None


def placed_line(placed: Placed) -> str:
    """What to say of the videos of an export."""
    if not placed.linked + placed.copied:
        return "no file of the folder of videos has the name of a video of the stores"
    parts = [
        f"{number} {how} ({size / 1e6:.1f} MB{more})"
        for number, size, how, more in (
            (placed.linked, placed.linked_bytes, "linked to", ", which takes no room on this disk"),
            (placed.copied, placed.copied_bytes, "copied", ""),
        )
        if number
    ]
    return f"videos: {', '.join(parts)}"
