"""A place that keeps files by relative paths: a folder, an object store, a web server or the hub."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from longtake.features.errors import FeaturesError
from longtake.files import is_url

PLACES = {
    "http": "longtake.features.remotes.web:WebPlace",
    "https": "longtake.features.remotes.web:WebPlace",
    "hf": "longtake.features.remotes.hub:HubPlace",
    "file": "longtake.features.remotes.folder:FolderPlace",
}
"""Protocol of a URL -> its class; all others are those of fsspec."""
OTHERS = "longtake.features.remotes.objects:ObjectPlace"
FOLDER = "longtake.features.remotes.folder:FolderPlace"


class Place(Protocol):
    """Paths have `/` and are made by our code only. Every failure of a server or a disk raises `NotAStore` or `OSError`."""

    url: str

    def require_writable(self) -> None:
        """Raise `FeaturesError` where nothing can be written."""

    def read(self, path: str, limit: int) -> bytes | None:
        """A whole file; None if there is none. Raises `NotAStore` for more than `limit` bytes."""

    def read_range(self, path: str, begin: int, end: int) -> bytes:
        """The bytes `[begin, end)` of a file; fewer if it is shorter."""

    def size(self, path: str) -> int | None:
        """Bytes of a file; None if there is none."""

    def walk(self, folder: str) -> list[str] | None:
        """Paths of all files under a folder, relative to it; None where files cannot be listed."""

    def put(self, path: str, data: bytes) -> None:
        """Write a file whose name follows from its content. It appears whole, at the latest with the next `create`."""

    def create(self, path: str, data: bytes) -> bool:
        """Write a file in one step if there is none of this path; False if there is one. Of several writers at one time, one gets True."""

    def replace_all(self, files: Mapping[str, bytes]) -> None:
        """Write files over those that are there. Each is seen whole, old or new."""


def open_place(remote: str | Path) -> Place:
    """The place that a folder or URL names. Raises `FeaturesError` for a name that cannot be one."""
    if not str(remote):
        raise FeaturesError("name a remote: a folder or a URL")
    kind = PLACES.get(urlsplit(str(remote)).scheme, OTHERS) if is_url(str(remote)) else FOLDER
    module, _, name = kind.partition(":")
    made: Place = getattr(import_module(module), name)(str(remote))
    return made
