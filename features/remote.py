"""Stores at URLs: https://, s3:// and whatever else fsspec has a package for."""

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
"""Fetched at a time from an HDF5 file: a quarter of one routine's features, enough for the tables of five hundred videos."""


def name_of(path: Path | str) -> str:
    """The last part of a path or URL, without a query."""
    return PurePosixPath(urlsplit(path).path).name if is_url(path) else Path(path).name


@contextmanager
def plain_errors(url: str) -> Iterator[None]:
    """Whatever goes wrong on the way to a URL, as one line. Programs far away fail in many ways."""
    try:
        yield
    except NotAStore:
        raise
    except FileNotFoundError as error:
        raise NotAStore(f"no feature store at {url}") from error
    except ImportError as error:
        raise NotAStore(f"{url} needs another package: python -m pip install 'longtake[remote]' ({error})") from error
    except failures() as error:
        raise NotAStore(f"cannot read {url}: {str(error) or type(error).__name__}") from error


def failures() -> tuple[type[Exception], ...]:
    """The bases of what clients of far away places raise, of those that have been loaded."""
    bases = {"aiohttp": ("ClientError",), "botocore.exceptions": ("BotoCoreError", "ClientError")}
    loaded = [(sys.modules[module], names) for module, names in bases.items() if module in sys.modules]
    return (OSError, ValueError, TimeoutError, *(getattr(module, name) for module, names in loaded for name in names))


def open_binary(url: str) -> BinaryIO:
    """A file at a URL, of which only the blocks that are read travel. Raises `NotAStore`."""
    import fsspec

    with plain_errors(url):
        filesystem, path = fsspec.core.url_to_fs(url)
        return filesystem.open(path, "rb", block_size=BLOCK_BYTES, cache_type="blockcache")
