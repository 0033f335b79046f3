"""A remote in an object store, or any other place for which fsspec has a package."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

from longtake.errors import LongtakeWarning
from longtake.features.errors import FeaturesError
from longtake.features.remote import failures, open_filesystem, plain_errors, read_file, read_range, without_password

CONDITIONAL = ("s3", "s3a", "gs", "gcs", "abfs", "abfss", "az")
"""Protocols whose servers can write a file only if there is none of its name."""
MOST_CREATED_BYTES = 1 << 20
PROBE, PROBE_CONTENT = "longtake-remote.json", b'{"format": "longtake-remote", "format_version": 1}\n'


class ObjectPlace:
    def __init__(self, url: str) -> None:
        self._base = url.rstrip("/")
        self.url = without_password(self._base)
        """As messages show it."""

    def _at(self, path: str) -> str:
        return f"{self._base}/{path}"

    def _shown(self, path: str) -> str:
        return f"{self.url}/{path}"

    @property
    def _is_conditional(self) -> bool:
        return self.url.partition("://")[0] in CONDITIONAL

    def _make_parent(self, filesystem: Any, inside: str) -> None:
        """Object stores have no folders; other places, such as SFTP, need them."""
        if not self._is_conditional:
            filesystem.makedirs(inside.rpartition("/")[0], exist_ok=True)

    def require_writable(self) -> None:
        """A server that ignores the condition of a write would let two pushers overwrite each other. So it is tried once, on a file
        whose content is always the same."""
        if not self._is_conditional:
            protocol = self.url.partition("://")[0]
            warnings.warn(
                LongtakeWarning(
                    f"{protocol}:// has no conditional writes: two pushes of one store at one time can lose one of them"
                ),
                stacklevel=3,
            )
        elif self._write_new(PROBE, PROBE_CONTENT) and self._write_new(PROBE, PROBE_CONTENT):
            raise FeaturesError(
                f"the server of {self.url} ignores conditional writes (If-None-Match), without which two pushes at one time could overwrite each "
                "other: update the server, or push to another place"
            )

    def read(self, path: str, limit: int) -> bytes | None:
        return read_file(self._at(path), limit, self._shown(path))

    def read_range(self, path: str, begin: int, end: int) -> bytes:
        return read_range(self._at(path), begin, end, self._shown(path))

    def size(self, path: str) -> int | None:
        with plain_errors(self._shown(path)):
            filesystem, inside = open_filesystem(self._at(path))
            filesystem.invalidate_cache()
            try:
                found: int = filesystem.info(inside)["size"]
                return found
            except FileNotFoundError:
                return None

    def walk(self, folder: str) -> list[str] | None:
        with plain_errors(self._shown(folder)):
            filesystem, inside = open_filesystem(self._at(folder))
            filesystem.invalidate_cache()
            try:
                found = filesystem.find(inside)
            except FileNotFoundError:
                return []
            root = filesystem._strip_protocol(inside).rstrip("/") + "/"
            return [path[len(root) :] for path in found if path.startswith(root)]

    def put(self, path: str, data: bytes) -> None:
        with plain_errors(self._shown(path), "write"):
            filesystem, inside = open_filesystem(self._at(path))
            self._make_parent(filesystem, inside)
            filesystem.pipe_file(inside, data)

    def create(self, path: str, data: bytes) -> bool:
        if self._write_new(path, data):
            return True
        # A request that succeeded and whose answer was lost is repeated by the client, and then fails: what is there decides.
        return self.read(path, MOST_CREATED_BYTES) == data

    def _write_new(self, path: str, data: bytes) -> bool:
        """False if a file is there."""
        with plain_errors(self._shown(path), "write"):
            filesystem, inside = open_filesystem(self._at(path))
            self._make_parent(filesystem, inside)
            try:
                filesystem.pipe_file(inside, data, mode="create")
            except FileExistsError:
                return False
            except failures():
                if self.size(path) is None:
                    raise
                return False
            return True

    def replace_all(self, files: Mapping[str, bytes]) -> None:
        for path, data in files.items():
            self.put(path, data)
