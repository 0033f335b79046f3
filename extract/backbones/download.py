"""Download registered weights into the cache, whole or not at all, and verify their checksum."""

from __future__ import annotations

import logging
import os
import socket
import time
import urllib.parse
from collections.abc import Callable
from pathlib import Path

import platformdirs

from longtake.extract.errors import WeightsError
from longtake.files import file_sha256
from longtake.manifests.pretrained import WeightsEntry

logger = logging.getLogger(__name__)

TIMEOUT_SECONDS = 30.0
"""A connection without data for this long counts as lost."""
CHUNK_BYTES = 1 << 20

Progress = Callable[[int, int | None], None]
"""Called with the bytes received and the bytes of the whole file, None if the server does not say."""


def where() -> Path:
    """Folder of downloaded weights: the user's cache folder, or `$LONGTAKE_CACHE/weights`. It may not exist yet."""
    override = os.environ.get("LONGTAKE_CACHE")
    return (Path(override).expanduser() if override else platformdirs.user_cache_path("longtake")) / "weights"


def cached_path(entry: WeightsEntry) -> Path:
    """Path of the file of an entry after its download."""
    return where() / entry.file_name


def fetch(entry: WeightsEntry, on_progress: Progress | None = None) -> Path:
    """The verified file of an entry, downloaded if it is not in the cache. `WeightsError` if that fails.

    $LONGTAKE_MIRROR replaces the URL by that base and the file name; $LONGTAKE_OFFLINE=1 forbids the download.
    """
    path = cached_path(entry)
    if path.exists():
        verify(entry)
        return path
    mirror = os.environ.get("LONGTAKE_MIRROR")
    if entry.by_hand and not mirror:
        raise WeightsError(
            f"the weights {entry.name} have to be fetched by hand: {entry.url} says where they are. Then give the file with "
            f"--weights PATH"
        )
    advice = "Give a file with --weights PATH, or use --weights random for a trial (features will be marked as random)"
    if os.environ.get("LONGTAKE_OFFLINE", "") not in ("", "0"):
        raise WeightsError(
            f"the weights {entry.name} are not at {path}, and LONGTAKE_OFFLINE forbids to download them from "
            f"{entry.url}. {advice}"
        )
    url = f"{mirror.rstrip('/')}/{entry.file_name}" if mirror else entry.url
    expected = entry.sha256 or recorded_sha256(entry)
    try:
        found = _download(url, path, expected, on_progress)
        if not found.startswith(entry.sha256_prefix):
            path.unlink()
            raise OSError(f"the file has the sha256 {found}, expected {entry.sha256_prefix}...; it was not kept")
    except OSError as error:
        raise WeightsError(f"could not download the weights {entry.name} from {url} ({error}). {advice}") from error
    if expected is None:
        record = _record_path(entry)
        record.write_text(f"{found}  {entry.file_name}\n", encoding="utf-8")
        logger.warning(
            f"no checksum is registered for the weights {entry.name}: the file from {url} is trusted at its first use, and its "
            f"sha256 {found} is kept in {record}"
        )
    return path


def verify(entry: WeightsEntry) -> str:
    """The sha256 of the cached file, if it equals the one registered or recorded at first use; `WeightsError` otherwise."""
    path = cached_path(entry)
    if not path.is_file():
        raise WeightsError(f"the weights {entry.name} are not at {path}; fetch them first")
    found = file_sha256(path)
    expected = entry.sha256 or recorded_sha256(entry)
    if expected is None:
        raise WeightsError(
            f"{path} has no recorded checksum: it is not from a finished download. Remove it and fetch it again, "
            f"or use it with --weights {path}"
        )
    if found != expected:
        origin = "registered" if entry.sha256 else f"recorded at first use in {_record_path(entry)}"
        raise WeightsError(
            f"the weights {entry.name} at {path} have the sha256 {found}, but {expected} is {origin}. "
            f"Remove the file and fetch it again, or use it with --weights {path}"
        )
    return found


def _record_path(entry: WeightsEntry) -> Path:
    return cached_path(entry).with_name(entry.file_name + ".sha256")


def recorded_sha256(entry: WeightsEntry) -> str | None:
    path = _record_path(entry)
    return path.read_text(encoding="utf-8").split()[0] if path.is_file() else None


def _download(url: str, path: Path, sha256: str | None, on_progress: Progress | None) -> str:
    """Download `url` (http, https, file) to `path`, whole or not at all, and return its sha256. `OSError` says why not.

    `NAME.partial`, left by a lost connection, is resumed, but only if `sha256` is given: otherwise halves of two different files
    would go unnoticed.
    """
    if urllib.parse.urlsplit(url).scheme not in ("http", "https", "file"):
        raise OSError("not an http, https or file address")
    path.parent.mkdir(parents=True, exist_ok=True)
    shared = path.with_name(path.name + ".partial")
    # Processes that download the same file at once must not write into each other's: each owns the partial file that it has renamed.
    own = path.with_name(f"{shared.name}.{socket.gethostname()}-{os.getpid()}")
    _claim_partial(shared, own)
    try:
        if sha256 is None:
            own.unlink(missing_ok=True)
        _receive(url, own, on_progress)
        found = file_sha256(own)
        if sha256 is not None and found != sha256:
            own.unlink()
            raise OSError(f"the file has the sha256 {found}, expected {sha256}; it was not kept")
        os.replace(own, path)
    finally:
        if own.exists():
            os.replace(own, shared)
    return found


def _claim_partial(shared: Path, own: Path) -> None:
    """Rename to `own` the partial file of an earlier attempt: `shared`, or that of a process that died while writing."""
    long_ago = time.time() - 2 * TIMEOUT_SECONDS
    for candidate in [shared, *shared.parent.glob(shared.name + ".*")]:
        try:
            if candidate == shared or candidate.stat().st_mtime < long_ago:
                os.replace(candidate, own)
                return
        except FileNotFoundError:  # none is there, or another process was faster
            continue


def _receive(url: str, own: Path, on_progress: Progress | None) -> None:
    # Imported here to keep `extract list` fast.
    import http.client
    import urllib.error
    import urllib.request

    offset = own.stat().st_size if own.exists() else 0
    request = urllib.request.Request(url, headers={"User-Agent": "longtake"})
    if offset:
        request.add_header("Range", f"bytes={offset}-")
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416 and offset:  # nothing is left to send: the checksum tells whether this is the whole file
            return
        raise
    except http.client.HTTPException as error:
        raise OSError(f"the server does not speak HTTP: {type(error).__name__}") from error
    with response:
        resumed = response.status == 206 and response.headers.get("Content-Range", "").startswith(f"bytes {offset}-")
        offset = offset if resumed else 0
        length = response.headers.get("Content-Length")
        total = None if length is None else offset + int(length)
        with open(own, "ab" if resumed else "wb") as stream:
            try:
                while chunk := response.read(CHUNK_BYTES):
                    offset += stream.write(chunk)
                    if on_progress is not None:
                        on_progress(offset, total)
            except http.client.IncompleteRead as error:
                raise OSError(f"the connection was cut after {offset} bytes; try again to continue") from error
    if total is not None and offset < total:
        raise OSError(f"the connection was cut after {offset} of {total} bytes; try again to continue")
