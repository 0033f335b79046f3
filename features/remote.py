"""Stores at URLs: https://, s3:// and all others for which fsspec has a package."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO
from urllib.parse import urlsplit, urlunsplit

from longtake.features.errors import NotAStore
from longtake.files import is_url

BLOCK_BYTES = 1 << 17
"""Fetched at a time from an HDF5 file: a quarter of the features of one routine, or the tables of five hundred videos."""

MOST_METADATA_BYTES = 1 << 28
MOST_OBJECT_BYTES = 1 << 28
"""Of one file of a Zarr store; ours are of at most 64 MiB. Without a limit, a server that never ends fills the memory."""
CONNECT_SECONDS, READ_SECONDS, MOST_SECONDS = 30.0, 60.0, 3600.0
"""How long a server may take to accept a connection, to send the next bytes, and for all of one answer."""
S3_ATTEMPTS = 3
"""Of each request, in all; the clients' own default is 25, one inside the other."""


def name_of(path: Path | str) -> str:
    """The last part of a path or URL, without a query."""
    return PurePosixPath(urlsplit(str(path)).path).name if is_url(path) else Path(path).name


def without_password(url: str) -> str:
    """A URL, or a path, as messages and files may show it."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])) if "://" in url else url


@contextmanager
def plain_errors(url: str, doing: str = "read") -> Iterator[None]:
    """Raise `NotAStore` with one line for any failure of a remote server or its client; `doing` says what failed."""
    try:
        yield
    except NotAStore:
        raise
    except FileNotFoundError as error:
        if doing != "read" or not _is_missing(error):
            raise NotAStore(f"cannot {doing} {url}: {_words(error.__cause__ or error)}") from error
        raise NotAStore(f"no feature store at {url}") from error
    except RecursionError as error:  # botocore follows redirects to other regions, and they may go in circles
        raise NotAStore(f"cannot {doing} {url}: the server redirects without end") from error
    except ImportError as error:
        raise NotAStore(f"{url} needs another package: python -m pip install 'longtake[remote]' ({error})") from error
    except failures() as error:
        raise NotAStore(f"cannot {doing} {url}: {_words(error)}") from error


def _is_missing(error: FileNotFoundError) -> bool:
    """Whether there is no such file. fsspec raises this error for every failure of a web server."""
    cause = error.__cause__
    return not isinstance(cause, failures()) or isinstance(cause, FileNotFoundError) or _status(cause) in (404, 410)


def read_file(url: str, limit: int, shown: str) -> bytes | None:
    """A whole file; None if there is none. Raises `NotAStore`, which names it as `shown`, also for one of more bytes than the limit."""
    with plain_errors(shown):
        filesystem, path = open_filesystem(url)
        try:
            data: bytes = filesystem.cat_file(path, start=0, end=limit + 1)
        except FileNotFoundError as error:
            if not _is_missing(error):
                raise
            return None
    if len(data) > limit:
        raise NotAStore(f"{shown} has more than {limit} bytes")
    return data


def read_range(url: str, begin: int, end: int, shown: str) -> bytes:
    """Bytes of a file, no more than were asked for. Raises `NotAStore`, which names it as `shown`."""
    with plain_errors(shown):
        filesystem, path = open_filesystem(url)
        data: bytes = filesystem.cat_file(path, start=begin, end=end)
        return data[: end - begin]


def reason(error: BaseException) -> str:
    """What a server or the way to it did wrong, where the client's own words do not say it; else empty."""
    causes = [error]
    while (cause := causes[-1].__cause__ or causes[-1].__context__) and len(causes) < 8:
        causes.append(cause)
    for name in (type(cause).__name__ for cause in causes):
        if name in ("ConnectionTimeoutError", "ConnectTimeoutError"):
            return f"the server did not answer in time: no connection within {CONNECT_SECONDS:g} s; try again later"
        if name in ("SocketTimeoutError", "ServerTimeoutError", "ReadTimeoutError"):
            return f"the server did not answer in time: it sent nothing for {READ_SECONDS:g} s; try again later"
        if name == "TooManyRedirects":
            return "the server redirects without end"
        if name == "NoCredentialsError":
            return "no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or AWS_PROFILE; for a public bucket, its https:// address"
        if name in ("ClientConnectorDNSError", "gaierror"):
            return "no such host: check the address and the network"
    if any(isinstance(cause, ConnectionRefusedError) for cause in causes):
        return "connection refused: no server runs at this address and port"
    if isinstance(error, TimeoutError):
        return f"the server did not answer in time: its answer took more than {MOST_SECONDS:g} s; try again later"
    status = next(filter(None, map(_status, causes)), 0)
    if status >= 500:
        return f"the server failed with status {status}; try again later"
    if status in (401, 403):
        return f"the server refuses access, with status {status}"
    return (
        f"the server redirects, with status {status}, to where the client does not follow"
        if 300 <= status < 400
        else ""
    )


def _status(error: BaseException) -> int:
    """Of the answer that is the cause of an error, in aiohttp and in botocore; 0 if there is none."""
    answer = getattr(error, "response", None)
    known = answer.get("ResponseMetadata", {}).get("HTTPStatusCode") if isinstance(answer, dict) else None
    status = known or getattr(error, "status", None)
    return status if isinstance(status, int) else 0


def _words(error: BaseException) -> str:
    return reason(error) or " ".join(str(error).split()) or type(error).__name__


def open_filesystem(url: str, *, asynchronous: bool = False) -> tuple[Any, str]:
    """fsspec's file system for a URL, with time limits, and the path in it."""
    import fsspec

    if url.startswith(("http://", "https://")):
        import aiohttp

        limits = aiohttp.ClientTimeout(total=MOST_SECONDS, sock_connect=CONNECT_SECONDS, sock_read=READ_SECONDS)
        return _bounded_http()(asynchronous=asynchronous, client_kwargs={"timeout": limits}), url
    if url.startswith(("s3://", "s3a://")):
        attempts = {"total_max_attempts": S3_ATTEMPTS, "mode": "standard"}
        within = {"connect_timeout": CONNECT_SECONDS, "read_timeout": READ_SECONDS, "retries": attempts}
        filesystem = _bounded_s3()(asynchronous=asynchronous, config_kwargs=within)
        filesystem.retries = 1  # botocore repeats already
        return filesystem, filesystem._strip_protocol(url)
    filesystem, path = fsspec.core.url_to_fs(url, asynchronous=asynchronous)
    return filesystem, path


@cache
def _bounded_http() -> Any:
    from fsspec.implementations.http import HTTPFileSystem

    class BoundedHTTP(HTTPFileSystem):
        """Reads files piece by piece and stops at the limit. Where a server ignores ranges, the range is cut out of the file here."""

        async def _cat_file(self, url: str, start: int | None = None, end: int | None = None, **_: object) -> bytes:
            ranged = start is not None or end is not None
            headers = {"Range": await self._process_limits(url, start, end)} if ranged else {}
            session = await self.set_session()
            async with session.get(self.encode_url(url), headers=headers) as answer:
                self._raise_not_found_for_status(answer, url)
                body = bytearray()
                async for piece in answer.content.iter_chunked(1 << 16):
                    body += piece
                    if len(body) > MOST_OBJECT_BYTES:
                        raise NotAStore(f"{url} has more than {MOST_OBJECT_BYTES} bytes, which no file of a store has")
                return bytes(body[start:end] if ranged and answer.status == 200 else body)

    return BoundedHTTP


@cache
def _bounded_s3() -> Any:
    from s3fs import S3FileSystem

    class BoundedS3(S3FileSystem):
        """Refuses an answer of no stated size, of more than a range that was asked for, or of more than the limit, before it is read."""

        async def _call_s3(self, method: str, *args: object, **options: object) -> Any:
            answer = await super()._call_s3(method, *args, **options)
            if method in ("get_object", "head_object"):
                try:
                    _require_answer(f"s3://{options.get('Bucket')}/{options.get('Key')}", answer, options.get("Range"))
                except NotAStore:
                    if "Body" in answer:
                        answer["Body"].close()
                    raise
            return answer

    return BoundedS3


def _require_answer(url: str, answer: Mapping[str, Any], asked: object) -> None:
    num_bytes = answer.get("ContentLength")
    if num_bytes is None:
        raise NotAStore(f"{url}: the server does not state the size of its answer")
    if "Body" not in answer:
        return
    span = re.fullmatch(r"bytes=(\d+)-(\d+)", str(asked))
    limit = int(span[2]) - int(span[1]) + 1 if span else MOST_OBJECT_BYTES
    if num_bytes > limit:
        what = f"ignores the range of {limit} bytes that was asked for" if span else f"sends more than {limit} bytes"
        raise NotAStore(f"{url}: the server {what}: its answer has {num_bytes} bytes")


def require_bounded(url: str) -> None:
    """Raise `NotAStore` if a web server does not state the size of a file, or states more than `MOST_METADATA_BYTES`. A body without a
    size may never end, and it is read into the memory."""
    if url.startswith(("http://", "https://")):
        with plain_errors(url):
            filesystem, path = open_filesystem(url)
            _require_size(url, filesystem.info(path).get("size"), MOST_METADATA_BYTES)


def _require_size(url: str, num_bytes: int | None, limit: int | None = None) -> None:
    if num_bytes is None:
        raise NotAStore(
            f"{url}: the server does not state the size of the file or does not serve ranges of it (HTTP Range requests), which reading a part "
            f"of an HDF5 file needs: download the file, or put a .zarr store there"
        )
    if limit is not None and num_bytes > limit:
        raise NotAStore(f"{url} has {num_bytes} bytes; at most {limit} are read")


def failures() -> tuple[type[Exception], ...]:
    """Base classes of what clients of remote servers raise, for those clients that are loaded."""
    bases = {
        "aiohttp": ("ClientError",),
        "botocore.exceptions": ("BotoCoreError", "ClientError"),
        "httpx": ("HTTPError", "InvalidURL"),
        "httpx2": ("HTTPError", "InvalidURL"),
    }
    loaded = [(sys.modules[module], names) for module, names in bases.items() if module in sys.modules]
    return (OSError, ValueError, TimeoutError, *(getattr(module, name) for module, names in loaded for name in names))


def open_binary(url: str) -> BinaryIO:
    """A file at a URL; only the blocks that are read are fetched. Raises `NotAStore`."""
    with plain_errors(url):
        filesystem, path = open_filesystem(url)
        file: BinaryIO = filesystem.open(path, "rb", block_size=BLOCK_BYTES, cache_type="blockcache")
        _require_size(url, getattr(file, "size", None))
        return file
