"""Compiled networks on disk, in `$LONGTAKE_CACHE/openvino` or the user's cache folder, so that a second start does not convert again.

A file is a line that names the format, the SHA-256 of what follows, and the network as OpenVINO wrote it. It is written atomically and read
only if the checksum fits. The folder may be deleted at any time.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from pathlib import Path

from longtake.extract.backbones.download import where
from longtake.extract.errors import WeightsError
from longtake.features.types import canonical_json
from longtake.files import require_regular, write_whole

logger = logging.getLogger(__name__)

HEAD = b"longtake compiled network 1\n"


def folder() -> Path | None:
    """None where the user has no home folder."""
    try:
        return where().parent / "openvino"
    except WeightsError:
        return None


def path_of(facts: Mapping[str, object]) -> Path | None:
    """By a hash of everything that decides the compiled network."""
    found = folder()
    return found and found / f"{hashlib.sha256(canonical_json(facts).encode()).hexdigest()}.network"


def read(path: Path | None) -> bytes | None:
    """The network; None if there is none, or only a corrupt one, which is removed."""
    if path is None:
        return None
    try:
        content = require_regular(path).read_bytes()
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
    except OSError as error:
        logger.warning("the compiled network cannot be kept (%s): the next start converts it again", error)


def remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        logger.warning("%s cannot be removed (%s)", path, error)
