"""What a remote keeps of one version of a store: a small file that names everything else by its hash."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, field

from longtake.checks import build, read_json
from longtake.features.errors import InvalidFeatures, NotAStore
from longtake.features.remotes.pieces import Ref, check_sha256, json_bytes
from longtake.features.remotes.tables import require_texts
from longtake.features.store_name import MOST_NUMBER, NAME

FORMAT = "longtake-version"
FORMAT_VERSION = 1
MOST_BYTES = 1 << 20
"""Of the file of a version."""
LABEL = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?:\.[0-9]{1,4})?")
NEWER = "; a newer release of Longtake may read it"


@dataclass(frozen=True)
class StreamFacts:
    """A stream of features, for lists."""

    name: str
    """`backbone@recipe_id`."""
    videos: int
    clips: int
    dim: int
    weights: str
    weights_random: bool
    num_bytes: int

    def __post_init__(self) -> None:
        if min(self.videos, self.clips, self.dim, self.num_bytes) < 0:
            raise InvalidFeatures("a negative number")


@dataclass(frozen=True)
class Changes:
    """What differs from the version before: numbers of videos over all streams."""

    added: int = 0
    removed: int = 0
    changed: int = 0
    labels: bool = False
    streams_added: tuple[str, ...] = ()
    streams_removed: tuple[str, ...] = ()

    @property
    def line(self) -> str:
        parts = [f"+{name}" for name in self.streams_added] + [f"-{name}" for name in self.streams_removed]
        parts += [f"{n} videos {word}" for n, word in
                  ((self.added, "added"), (self.removed, "removed"), (self.changed, "changed")) if n]  # fmt: skip
        return ", ".join([*parts, *(["labels corrected"] if self.labels else [])]) or "descriptions"


@dataclass(frozen=True, kw_only=True)
class Version:
    """One immutable version."""

    format: str = FORMAT
    format_version: int = FORMAT_VERSION
    name: str
    number: int
    """From 1."""
    label: str
    """The day on which it was pushed, in UTC, with `.2` for the second version of that day."""
    created_utc: str
    dataset: str
    manifest: Ref
    content_id: str
    """SHA-256 of the content, wherever its bytes are: equal for equal stores."""
    num_bytes: int
    """Of all features and times."""
    num_labels: int
    streams: tuple[StreamFacts, ...]
    texts: tuple[str, ...] = ()
    licence: str = ""
    """Of the dataset."""
    weights_licences: dict[str, str] = field(default_factory=dict)
    clauses: tuple[str, ...] = ()
    """Clauses of these licences that forbid passing on."""
    permission: str = ""
    """The permission that the person who pushed stated, where a clause forbids it."""
    note: str = ""
    changes: Changes = field(default_factory=Changes)

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.name) or not LABEL.fullmatch(self.label):
            raise InvalidFeatures(f"a version named {self.name[:80]!r} @ {self.label[:80]!r}")
        if not 1 <= self.number <= MOST_NUMBER or min(self.num_bytes, self.num_labels) < 0:
            raise InvalidFeatures("a number that is out of range")
        check_sha256(self.content_id)
        require_texts((self.created_utc, self.dataset, self.licence, self.permission, self.note, *self.clauses), "it")

    @property
    def full_name(self) -> str:
        return f"{self.name}@{self.label}"

    def to_bytes(self) -> bytes:
        return json_bytes(asdict(self))


def version_path(name: str, number: int) -> str:
    return f"stores/{name}/{number:06d}.json"


def number_in(path: str) -> tuple[str, int] | None:
    """Name and number of a version's file, by its path below `stores/`; None for other files."""
    found = re.fullmatch(r"([a-z0-9][a-z0-9_-]{0,63})/([0-9]{6})\.json", path)
    return (found[1], int(found[2])) if found and int(found[2]) else None


def version_from(data: bytes, name: str, number: int, where: str) -> Version:
    """Raises `NotAStore` for anything else than the version of this name and number."""
    values = read_json(data, where, NotAStore)
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        raise NotAStore(f"{where} is not a version of a store")
    if values.get("format_version") != FORMAT_VERSION:
        raise NotAStore(f"{where} has the format version {str(values.get('format_version'))[:20]}{NEWER}")
    found = build(Version, values, where, NotAStore)
    if (found.name, found.number) != (name, number):
        raise NotAStore(f"{where} says that it is version {found.number} of {found.name}")
    return found
