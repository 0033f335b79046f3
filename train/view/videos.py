"""Video files for the pages: found by the names that stores have of them, in one folder, and nothing outside of it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

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

    def find(self, name: str) -> Path | None:
        """The file of that name; None where there is none, or where it is a link that leaves the folder."""
        path = self.paths.get(name)
        try:
            if path is None or Path(os.path.realpath(self.folder)) not in Path(os.path.realpath(path)).parents:
                return None
            return require_regular(path)
        except OSError:
            return None
