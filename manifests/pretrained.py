"""The registered weights: address, hash, licence and citation, as weights/pretrained.toml has them."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

from longtake.checks import build
from longtake.errors import ManifestError

FILE = Path(__file__).with_name("weights") / "pretrained.toml"


@dataclass(frozen=True)
class WeightsEntry:
    """Weights that have a name."""

    name: str
    backbone: str
    """Name in `longtake.extract.backbones.TABLE`, or of a text encoder in extract/backbones/text_encoders.py."""
    url: str
    licence: str
    citation: str
    note: str
    sha256: str | None = None
    """None: the hash of the first download is saved next to the file, and later downloads must match it."""
    size_bytes: int | None = None
    sha256_prefix: str = ""
    """First digits of the hash, where the publisher gives only these, in the file's name."""
    by_hand: bool = False
    """The address is a web page; the file must be downloaded by hand."""
    package: str = ""
    """Path of a file that comes with a Python package, beginning with the name that is imported; the address is the package's page."""
    extra: str = ""
    """The extra of longtake that installs this package."""

    @property
    def file_name(self) -> str:
        """In the cache and on a mirror: the name with the suffix of the original file."""
        return self.name + Path(self.package or self.url).suffix


def _load() -> dict[str, WeightsEntry]:
    tables = tomllib.loads(FILE.read_text(encoding="utf-8"))
    return {
        name: build(WeightsEntry, {"name": name, **table}, str(FILE), ManifestError) for name, table in tables.items()
    }


TABLE = _load()


def licence_of(name: str) -> str | None:
    """The licence of registered or random weights; None for others, such as a user's file."""
    if name.partition(":")[0] == "random":
        return "none: random numbers"
    return TABLE[name].licence if name in TABLE else None
