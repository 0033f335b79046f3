"""Compiled networks on disk, in `$LONGTAKE_CACHE/openvino` or the user's cache folder, so that a second start does not convert again.

A file is a line that names the format, the SHA-256 of what follows, and the network as OpenVINO wrote it. It is written atomically and read
only if the checksum fits and the file is of this user: OpenVINO trusts what it reads, and it decides the features. Users who share a folder
have files of their own. Beyond `MOST_BYTES` those go that were not used for longest, such as those of earlier versions of a library. The folder
may be deleted at any time.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from longtake.extract.backbones.download import where
from longtake.extract.errors import WeightsError
from longtake.features.types import canonical_json
from longtake.files import require_regular, write_whole

logger = logging.getLogger(__name__)

HEAD = b"longtake compiled network 1\n"
MOST_BYTES = 8 * 10**9
"""Of all files together: ten of Video Swin-B, or fifty of other networks."""


def folder() -> Path | None:
    """None where the user has no home folder."""
    try:
        return where().parent / "openvino"
    except WeightsError:
        return None


def path_of(facts: Mapping[str, object]) -> Path | None:
    """By a hash of everything that decides the compiled network."""
    found = folder()
    key = canonical_json({**facts, "user": os.geteuid()})
    return found and found / f"{hashlib.sha256(key.encode()).hexdigest()}.network"


def read(path: Path | None) -> bytes | None:
    """The network; None if there is none, or only a corrupt one, which is removed."""
    if path is None:
        return None
    try:
        with open(os.open(require_regular(path), os.O_RDONLY | os.O_NOFOLLOW), "rb") as file:
            owner = os.fstat(file.fileno()).st_uid
            if owner not in (os.geteuid(), 0):
                logger.warning(
                    "%s is of another user (%d) and is not read: the network is converted again", path, owner
                )
                return None
            content = file.read()
        with suppress(OSError):  # a folder of others
            os.utime(path)  # used now
    except OSError:
        return None
    start = len(HEAD) + 32
    network = content[start:]
    if content[: len(HEAD)] == HEAD and network and hashlib.sha256(network).digest() == content[len(HEAD) : start]:
        return network
    logger.warning("%s is corrupt: the network is converted again", path)
    remove(path)
    return None


def write(path: Path | None, network: bytes) -> None:
    """A folder that cannot be written costs the next start its time, and no more."""
    if path is None:
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, HEAD + hashlib.sha256(network).digest() + network)
        _remove_oldest(path)
    except OSError as error:
        logger.warning("the compiled network cannot be kept (%s): the next start converts it again", error)


def _remove_oldest(kept: Path) -> None:
    """Other processes may remove files too, and may read those that are removed here: then they convert again."""
    found = []
    for path in kept.parent.glob("*.network"):
        with suppress(OSError):
            found.append((path.stat().st_mtime, path.stat().st_size, path))
    total = 0
    for _, size, path in sorted(found, reverse=True):
        total += size
        if total > MOST_BYTES and path != kept:
            remove(path)


def remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        logger.warning("%s cannot be removed (%s)", path, error)
