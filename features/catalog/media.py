"""Large files of a site that is written to a folder: linked into it where the file system can, copied otherwise."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from longtake.errors import LongtakeError
from longtake.features.catalog.site import MEDIA


@dataclass(frozen=True)
class Placed:
    """Number and bytes of the files that are in the folder now."""

    linked: int
    linked_bytes: int
    copied: int
    copied_bytes: int


def place_media(media: Mapping[str, Path], folder: Path, step: Callable[[str], None] = lambda name: None) -> Placed:
    """Put the files, by their addresses in the site, into its folder. A hard link takes no room, and web servers and archives read it as the
    file. Raises `LongtakeError` where there is no room for those that must be copied, before any is, or a file cannot be written."""
    try:
        (folder / MEDIA).mkdir(parents=True, exist_ok=True)
        sizes = {address: path.stat().st_size for address, path in media.items()}
        left = [address for address, path in media.items() if not _linked(path, folder / address, step)]
        missing = [address for address in left if not _is_copy(media[address], folder / address)]
        needed, free = sum(sizes[address] for address in missing), shutil.disk_usage(folder).free
        if needed > free:
            raise LongtakeError(
                f"{folder} has no room for the videos: {needed / 1e9:.1f} GB must be copied, since they cannot be linked to, and "
                f"{free / 1e9:.1f} GB are free. Name a folder on the file system of the videos"
            )
        for address in left:
            if address in missing:
                _copy(media[address], folder / address)
            step(media[address].name)
    except OSError as error:
        raise LongtakeError(f"cannot put the videos into {folder}: {error.strerror or error}") from error
    linked = [address for address in media if address not in left]
    return Placed(len(linked), sum(sizes[one] for one in linked), len(left), sum(sizes[one] for one in left))


def _linked(source: Path, place: Path, step: Callable[[str], None]) -> bool:
    source = Path(os.path.realpath(source))
    try:
        if not (place.exists() and place.samefile(source)):
            fresh = place.with_name(f".{place.name}.new")
            fresh.unlink(missing_ok=True)
            os.link(source, fresh)
            os.replace(fresh, place)
    except OSError:  # Another file system, or one without links.
        return False
    step(source.name)
    return True


def _is_copy(source: Path, place: Path) -> bool:
    """Whether an earlier export has copied the same file."""
    if not place.is_file():
        return False
    mine, there = source.stat(), place.stat()
    return (mine.st_size, mine.st_mtime_ns) == (there.st_size, there.st_mtime_ns)


def _copy(source: Path, place: Path) -> None:
    fresh = place.with_name(f".{place.name}.new")
    try:
        shutil.copy2(source, fresh)
        os.replace(fresh, place)
    finally:
        fresh.unlink(missing_ok=True)
