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
        raise NotAStore(f"no feature store at {url}") from error
    except ImportError as error:
        raise NotAStore(f"{url} needs another package: python -m pip install 'longtake[remote]' ({error})") from error
    except TimeoutError as error:
        raise NotAStore(f"cannot read {url}: the server did not answer in time; try again later") from error
    except failures() as error:
        status = getattr(error, "status", None)
        said = (
            f"the server failed with status {status}; try again later"
            if isinstance(status, int) and status >= 500
            else ""
        )
        raise NotAStore(f"cannot read {url}: {said or str(error) or type(error).__name__}") from error


def failures() -> tuple[type[Exception], ...]:
    """Base classes of what clients of remote servers raise, for those clients that are loaded."""
    bases = {"aiohttp": ("ClientError",), "botocore.exceptions": ("BotoCoreError", "ClientError")}
    loaded = [(sys.modules[module], names) for module, names in bases.items() if module in sys.modules]
    return (OSError, ValueError, TimeoutError, *(getattr(module, name) for module, names in loaded for name in names))


def open_binary(url: str) -> BinaryIO:
    """A file at a URL; only the blocks that are read are fetched. Raises `NotAStore`."""
    import fsspec

    with plain_errors(url):
        filesystem, path = fsspec.core.url_to_fs(url)
        file: BinaryIO = filesystem.open(path, "rb", block_size=BLOCK_BYTES, cache_type="blockcache")
        if getattr(file, "size", None) is None:
            # Without a size, fsspec would read a body to its end, which may never come.
            file.close()
            raise NotAStore(f"{url}: the server does not state the size of the file or does not serve ranges of it")
        return file
