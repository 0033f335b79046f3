"""A remote on a web server, for reading."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

from longtake.features.errors import FeaturesError, NotAStore
from longtake.features.remote import failures, open_filesystem, plain_errors, without_password


class WebPlace:
    """Every file is asked for by ranges, and no more is read than was asked for, whatever a server sends."""

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
        with plain_errors(self._shown(path)):
            filesystem, url = open_filesystem(self._at(path))
            try:
                data: bytes = filesystem.cat_file(url, start=0, end=limit + 1)
            except FileNotFoundError as error:
                # fsspec raises it for every failure of a web server.
                cause = error.__cause__
                if isinstance(cause, failures()) and getattr(cause, "status", None) not in (404, 410):
                    raise
                return None
            if len(data) > limit:
                raise NotAStore(f"{self._shown(path)} has more than {limit} bytes")
            return data

    def read_range(self, path: str, begin: int, end: int) -> bytes:
        with plain_errors(self._shown(path)):
            filesystem, url = open_filesystem(self._at(path))
            data: bytes = filesystem.cat_file(url, start=begin, end=end)
            return data[: end - begin]

    def size(self, path: str) -> int | None:
        raise NotImplementedError("only a push asks for sizes")

    def walk(self, folder: str) -> list[str] | None:
        return None

    def put(self, path: str, data: bytes) -> None:
        self.require_writable()

    def create(self, path: str, data: bytes) -> bool:
        self.require_writable()
        return False

    def replace_all(self, files: Mapping[str, bytes]) -> None:
        self.require_writable()
