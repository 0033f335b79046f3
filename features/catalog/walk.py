"""Find stores, and folders with certain files, below the folders that a user gives: on this machine or at URLs.

Links are followed to files of the given folders alone: what is found is shown to others.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any

from longtake.errors import LongtakeError
from longtake.features.errors import FeaturesError
from longtake.features.remote import name_of, open_filesystem, plain_errors
from longtake.features.store import STORES
from longtake.files import is_url

STORE, FOLDER = "store", "folder"
"""Kinds of what is found; `FOLDER` is one that cannot be listed."""
MOST_DEPTH = 24
MOST_LISTINGS = 5000
"""Folders that are listed at one URL: each is a request, and a server may link to itself without end."""
MOST_FETCHED_BYTES = 1 << 26
"""Of one small file of a run at a URL."""


@dataclass(frozen=True)
class Found:
    name: str
    """From the given folder, with `/`."""
    place: Path | str
    """A store, or the folder that holds the file of its kind."""
    kind: str
    fault: str = ""
    """Why it is not opened; empty where it can be tried."""


@dataclass(frozen=True)
class Entry:
    name: str
    place: Path | str
    is_folder: bool
    is_link: bool = False


@dataclass(frozen=True)
class Folders:
    """The given folders, paths or URLs. Use it as a context manager: files of URLs are fetched into a temporary folder."""

    given: tuple[Path | str, ...]
    _fetched: TemporaryDirectory[str] = field(default_factory=lambda: TemporaryDirectory(prefix="longtake-view-"))

    @classmethod
    def of(cls, given: Sequence[Path | str]) -> Folders:
        """Raises `FeaturesError` for a path that is not there."""
        for place in given:
            if not is_url(place) and not Path(place).exists():
                raise FeaturesError(f"no folder {place}")
        return cls(tuple(place if is_url(place) else Path(place) for place in given))

    def __enter__(self) -> Folders:
        return self

    def __exit__(self, *_: object) -> None:
        self._fetched.cleanup()

    @property
    def title(self) -> str:
        return ", ".join(
            (name_of(place) or str(place)) if is_url(place) else (Path(place).resolve().name or str(place))
            for place in self.given
        )

    @cached_property
    def _real(self) -> tuple[Path, ...]:
        return tuple(Path(os.path.realpath(place)) for place in self.given if not is_url(place))

    def holds(self, path: Path) -> bool:
        """Whether a path, with all links followed, is in one of the given folders."""
        real = Path(os.path.realpath(path))
        return any(real == folder or folder in real.parents for folder in self._real)

    def find(self, markers: Mapping[str, str]) -> Iterator[Found]:
        """Stores, and folders with a file named in `markers`, which gives their kind, in the order of their names; each once, also where
        the given folders overlap."""
        seen: set[tuple[str, str]] = set()
        for one in self._every(markers):
            key = str(one.place) if is_url(one.place) else os.path.abspath(one.place), one.kind
            if key not in seen or one.fault:
                yield one
            seen.add(key)

    def _every(self, markers: Mapping[str, str]) -> Iterator[Found]:
        for place in self.given:
            if is_url(place):
                yield from _Remote(str(place)).find(markers)
            elif _is_store(Path(place).name):
                yield Found(Path(place).name, place, STORE)
            else:
                yield from self._local(Path(place), "", markers)

    def _local(self, folder: Path, prefix: str, markers: Mapping[str, str], depth: int = 0) -> Iterator[Found]:
        try:
            with os.scandir(folder) as listing:
                entries = [
                    Entry(one.name, folder / one.name, one.is_dir(follow_symlinks=False), one.is_symlink())
                    for one in listing
                ]
        except OSError as error:
            yield Found(prefix.rstrip("/") or folder.name, folder, FOLDER, f"cannot be listed: {error.strerror}")
            return
        for found in _sorted_out(entries, folder, prefix, markers):
            path = Path(found.place)
            if found.kind != FOLDER:
                inside = self.holds(path) and all(
                    self.holds(path / marker) for marker in markers if found.kind != STORE
                )
                why = (
                    "" if inside else "a link to outside of the given folders: give the folder that it leads to as well"
                )
                yield Found(found.name, found.place, found.kind, why)
            elif not path.is_symlink() and depth < MOST_DEPTH:
                yield from self._local(path, f"{found.name}/", markers, depth + 1)

    def fetch(self, found: Found, names: Sequence[str]) -> Path:
        """A folder of this machine with those of the named files that `found` has: its own, or a copy of one at a URL. Raises `LongtakeError`."""
        if not is_url(found.place):
            for name in names:
                if not self.holds(Path(found.place) / name):
                    raise FeaturesError(f"{name} is a link to outside of the given folders")
            return Path(found.place)
        folder = self._new_folder()
        url = str(found.place)
        with plain_errors(url):
            filesystem, path = open_filesystem(url)
            _fetch(filesystem, path.rstrip("/"), url, names, folder)
        return folder

    def fetch_below(self, found: Found, names: Sequence[str]) -> list[Path]:
        """As `fetch`, of each folder directly in `found` that has the first of the files, in the order of their names."""
        if not is_url(found.place):
            cells = sorted(path.parent for path in Path(found.place).glob(f"*/{names[0]}"))
            if not all(self.holds(cell / name) for cell in cells for name in names):
                raise FeaturesError("a folder in it is a link to outside of the given folders")
            return cells
        url = str(found.place).rstrip("/")
        made = []
        with plain_errors(url):
            filesystem, path = open_filesystem(url)
            path = path.rstrip("/")
            inside = [one for one in sorted(_entries(filesystem, path, url), key=lambda one: one.name) if one.is_folder]
            if len(inside) > MOST_LISTINGS:
                raise FeaturesError(f"{url} has {len(inside)} folders; at most {MOST_LISTINGS} are read")
            for one in inside:
                if filesystem.exists(f"{path}/{one.name}/{names[0]}"):
                    made.append(self._new_folder())
                    _fetch(filesystem, f"{path}/{one.name}", f"{url}/{one.name}", names, made[-1])
        return made

    def _new_folder(self) -> Path:
        folder = Path(self._fetched.name) / str(len(os.listdir(self._fetched.name)))
        folder.mkdir()
        return folder


def _fetch(filesystem: Any, path: str, url: str, names: Sequence[str], folder: Path) -> None:
    """Copy those of the files that are there. Raises `FeaturesError` for one that is too large."""
    for name in names:
        try:
            size = filesystem.info(f"{path}/{name}").get("size")
        except FileNotFoundError:
            continue
        if size is None or size > MOST_FETCHED_BYTES:
            raise FeaturesError(
                f"{url}/{name} has {size or 'an unknown number of'} bytes; at most {MOST_FETCHED_BYTES} are fetched"
            )
        (folder / name).write_bytes(filesystem.cat_file(f"{path}/{name}"))


def _entries(filesystem: Any, path: str, url: str) -> list[Entry]:
    """What is directly in a folder at a URL. A web page may link anywhere."""
    entries = []
    for one in filesystem.ls(path if not path.startswith("http") else f"{path}/", detail=True):
        full = str(one["name"]).rstrip("/")
        name = PurePosixPath(full).name
        if full == f"{path}/{name}" and name not in ("", ".", ".."):
            is_folder = one.get("type") == "directory" or str(one["name"]).endswith("/")
            entries.append(Entry(name, f"{url}/{name}", is_folder))
    return entries


@dataclass
class _Remote:
    url: str
    _listings: int = 0

    def find(self, markers: Mapping[str, str]) -> Iterator[Found]:
        url = self.url.rstrip("/")
        if _is_store(name_of(url)):
            yield Found(name_of(url), url, STORE)
            return
        with plain_errors(url):
            filesystem, path = open_filesystem(url)
        yield from self._walk(filesystem, path.rstrip("/"), url, "", markers, 0)

    def _walk(
        self, filesystem: Any, path: str, url: str, prefix: str, markers: Mapping[str, str], depth: int
    ) -> Iterator[Found]:
        self._listings += 1
        if self._listings > MOST_LISTINGS or depth > MOST_DEPTH:
            yield Found(
                prefix.rstrip("/") or url, url, FOLDER, f"not listed: more than {MOST_LISTINGS} folders, or too deep"
            )
            return
        try:
            with plain_errors(url):
                entries = _entries(filesystem, path, url)
        except LongtakeError as error:
            if not depth:
                raise
            yield Found(prefix.rstrip("/"), url, FOLDER, str(error))
            return
        for found in _sorted_out(entries, url, prefix, markers):
            if found.kind != FOLDER:
                yield found
            else:
                name = found.name.removeprefix(prefix)
                yield from self._walk(
                    filesystem, f"{path}/{name}", str(found.place), f"{found.name}/", markers, depth + 1
                )


def _is_store(name: str) -> bool:
    return PurePosixPath(name).suffix in STORES


def _sorted_out(
    entries: Sequence[Entry], folder: Path | str, prefix: str, markers: Mapping[str, str]
) -> Iterator[Found]:
    """What a listed folder is and holds; folders to be listed have the kind `FOLDER`."""
    names = {entry.name for entry in entries}
    for marker, kind in markers.items():
        if marker in names:
            own = PurePosixPath(prefix).name or (name_of(folder) if is_url(folder) else Path(folder).resolve().name)
            yield Found(prefix.rstrip("/") or own, folder, kind)
    for entry in sorted(entries, key=lambda one: one.name):
        if entry.name.startswith(".") or entry.name.endswith(".parts"):
            continue
        if _is_store(entry.name):
            yield Found(prefix + entry.name, entry.place, STORE)
        elif entry.is_folder:
            yield Found(prefix + entry.name, entry.place, FOLDER)
