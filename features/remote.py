"""Stores at URLs: https://, s3:// and all others for which fsspec has a package."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import BinaryIO
from urllib.parse import urlsplit

from longtake.features.errors import NotAStore
from longtake.files import is_url

BLOCK_BYTES = 1 << 17
"""Fetched at a time from an HDF5 file: a quarter of the features of one routine, or the tables of five hundred videos."""

MOST_METADATA_BYTES = 1 << 28
CONNECT_SECONDS, READ_SECONDS = 30.0, 60.0
"""How long a web server may take to accept a connection, and to send the next bytes."""


def name_of(path: Path | str) -> str:
    """The last part of a path or URL, without a query."""
    return PurePosixPath(urlsplit(str(path)).path).name if is_url(path) else Path(path).name


@contextmanager
def plain_errors(url: str) -> Iterator[None]:
    """Raise `NotAStore` with one line for any failure of a remote server or its client."""
    try:
        yield
    except NotAStore:
        raise
    except FileNotFoundError as error:
        # fsspec raises it for every failure of a web server.
        cause = error.__cause__
        if isinstance(cause, failures()) and getattr(cause, "status", None) not in (404, 410):
            raise NotAStore(f"cannot read {url}: {_reason(cause)}") from error
        raise NotAStore(f"no feature store at {url}") from error
    except ImportError as error:
        raise NotAStore(f"{url} needs another package: python -m pip install 'longtake[remote]' ({error})") from error
    except failures() as error:
        raise NotAStore(f"cannot read {url}: {_reason(error)}") from error


def _reason(error: BaseException) -> str:
    status = getattr(error, "status", None)
    if isinstance(error, TimeoutError):
        return "the server did not answer in time; try again later"
    if type(error).__name__ == "TooManyRedirects":
        return "the server redirects without end"
    if isinstance(status, int) and status >= 500:
        return f"the server failed with status {status}; try again later"
    if status in (401, 403):
        return f"the server refuses access, with status {status}"
    return str(error) or type(error).__name__


def storage_options(url: str) -> dict[str, object]:
    """Options of fsspec for a URL: time limits for web servers, which else may stay silent for minutes."""
    if not url.startswith(("http://", "https://")):
        return {}
    try:
        import aiohttp
    except ImportError:  # fsspec names the package
        return {}
    limits = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=READ_SECONDS)
    return {"client_kwargs": {"timeout": limits}}


def require_bounded(url: str) -> None:
    """Raise `NotAStore` if a web server does not state the size of a file, or states more than `MOST_METADATA_BYTES`. A body without a
    size may never end, and it is read into the memory."""
    import fsspec

    if url.startswith(("http://", "https://")):
        with plain_errors(url):
            filesystem, path = fsspec.core.url_to_fs(url, **storage_options(url))
            _require_size(url, filesystem.info(path).get("size"), MOST_METADATA_BYTES)


def _require_size(url: str, num_bytes: int | None, limit: int | None = None) -> None:
    if num_bytes is None:
        raise NotAStore(f"{url}: the server does not state the size of the file or does not serve ranges of it")
    if limit is not None and num_bytes > limit:
        raise NotAStore(f"{url} has {num_bytes} bytes; at most {limit} are read")


def failures() -> tuple[type[Exception], ...]:
    """Base classes of what clients of remote servers raise, for those clients that are loaded."""
    bases = {"aiohttp": ("ClientError",), "botocore.exceptions": ("BotoCoreError", "ClientError")}
    loaded = [(sys.modules[module], names) for module, names in bases.items() if module in sys.modules]
    return (OSError, ValueError, TimeoutError, *(getattr(module, name) for module, names in loaded for name in names))


def open_binary(url: str) -> BinaryIO:
    """A file at a URL; only the blocks that are read are fetched. Raises `NotAStore`."""
    import fsspec

    with plain_errors(url):
        filesystem, path = fsspec.core.url_to_fs(url, **storage_options(url))
        file: BinaryIO = filesystem.open(path, "rb", block_size=BLOCK_BYTES, cache_type="blockcache")
        _require_size(url, getattr(file, "size", None))
        return file
