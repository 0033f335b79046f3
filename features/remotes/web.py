"""A remote on a web server, for reading."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

from longtake.features.errors import FeaturesError
from longtake.features.remote import read_file, read_range, without_password


class WebPlace:
    """Every file is asked for by ranges, and no more is read than was asked for, also from a server that sends more."""

    def __init__(self, url: str) -> None:
        self._base = url.rstrip("/")
        self.url = without_password(self._base)
        """As messages show it."""

    def require_writable(self) -> None:
        raise FeaturesError(
            f"{self.url}: a web server is read only; push to a folder or bucket that it serves, such as s3://lab/stores"
        )

    def _at(self, path: str) -> str:
        return f"{self._base}/{quote(path)}"

    def _shown(self, path: str) -> str:
        return f"{self.url}/{quote(path)}"

    def read(self, path: str, limit: int) -> bytes | None:
        return read_file(self._at(path), limit, self._shown(path))

    def read_range(self, path: str, begin: int, end: int) -> bytes:
        return read_range(self._at(path), begin, end, self._shown(path))

    def size(self, path: str) -> int | None:
        self.require_writable()  # only a push asks
        return None

    def walk(self, folder: str) -> list[str] | None:
        return None

    def put(self, path: str, data: bytes) -> None:
        self.require_writable()

    def create(self, path: str, data: bytes) -> bool:
        self.require_writable()
        return False

    def replace_all(self, files: Mapping[str, bytes]) -> None:
        self.require_writable()
