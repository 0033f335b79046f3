"""Names of stores: `rg` is the newest version, `rg@2026-11-29` the one with that date, `rg@2` the second one."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from longtake.features.errors import FeaturesError

NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
"""Small letters, because some file systems do not tell `RG` from `rg`; no dots, so that no path or ending of a file is a name."""
VERSION = re.compile(r"[1-9][0-9]{0,5}|[0-9]{4}-[0-9]{2}-[0-9]{2}(?:\.[0-9]{1,4})?")
MOST_NUMBER = 999_999


@dataclass(frozen=True)
class StoreName:
    name: str
    version: str | None = None
    """A date, with `.2` for the second version of a day, or the number of the version. None: the newest one."""

    def __str__(self) -> str:
        return self.name if self.version is None else f"{self.name}@{self.version}"


def parse_store_name(text: Path | str) -> StoreName | None:
    """None for anything else than a name, such as a path."""
    name, at, version = str(text).partition("@")
    if not NAME.fullmatch(name) or (at and not VERSION.fullmatch(version)):
        return None
    return StoreName(name, version if at else None)


def require_store_name(text: str) -> StoreName:
    found = parse_store_name(text)
    if found is None:
        raise FeaturesError(
            f"{text!r} is not the name of a store: use small letters, digits, - and _, and @ before a version, "
            "such as rg, rg@2026-11-29 or rg@2"
        )
    return found
