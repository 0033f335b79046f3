"""The versions of the stores on a remote, and the index that is made from them.

A version is one file that is created only if its number is free, so no writer overwrites another's. The index names the newest version of each
store for readers that cannot list files. It may be old after a kill: a reader continues from the number in it until no file is there.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from longtake.checks import build, read_json
from longtake.errors import there_are
from longtake.features.errors import InvalidFeatures, NotAStore, NotInStore
from longtake.features.remotes.pieces import json_bytes
from longtake.features.remotes.place import Place
from longtake.features.remotes.versions import (
    LABEL,
    MOST_BYTES,
    NEWER,
    Version,
    number_in,
    version_from,
    version_path,
)
from longtake.features.store_name import MOST_NUMBER, NAME, StoreName

INDEX = "index.json"
INDEX_FORMAT, INDEX_VERSION = "longtake-remote", 1
MOST_INDEX_BYTES = 1 << 26
MOST_MISSING = 1000
"""Versions one after the other that were deleted; an index that lies could name more."""
MOST_TRIES = 1000
"""Versions that appear while one is being published."""


@dataclass(frozen=True)
class Newest:
    """The newest version of a store, as the index has it."""

    name: str
    number: int
    label: str
    created_utc: str
    dataset: str
    videos: int
    num_bytes: int
    streams: tuple[str, ...]

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.name) or not LABEL.fullmatch(self.label) or not 1 <= self.number <= MOST_NUMBER:
            raise InvalidFeatures(f"a store named {self.name[:80]!r} @ {self.label[:80]!r}")

    @classmethod
    def of(cls, version: Version) -> Newest:
        streams = tuple(stream.name for stream in version.streams)
        videos = max((stream.videos for stream in version.streams), default=0)
        return cls(version.name, version.number, version.label, version.created_utc, version.dataset, videos,
                   version.num_bytes, streams)  # fmt: skip


@dataclass(frozen=True)
class _Index:
    format: str
    format_version: int
    stores: dict[str, Newest]


def read_index(place: Place) -> dict[str, Newest]:
    """Empty where there is none. Raises `NotAStore` for one that is damaged or of a later format."""
    data, where = place.read(INDEX, MOST_INDEX_BYTES), f"{place.url}/{INDEX}"
    if data is None:
        return {}
    values = read_json(data, where, NotAStore)
    if not isinstance(values, dict) or values.get("format") != INDEX_FORMAT:
        raise NotAStore(f"{where} is not the index of a remote")
    if values.get("format_version") != INDEX_VERSION:
        raise NotAStore(f"{where} has the format version {str(values.get('format_version'))[:20]}{NEWER}")
    return build(_Index, values, where, NotAStore).stores


def read_version(place: Place, name: str, number: int) -> Version | None:
    path = version_path(name, number)
    data = place.read(path, MOST_BYTES)
    return None if data is None else version_from(data, name, number, f"{place.url}/{path}")


def numbers(place: Place) -> dict[str, list[int]] | None:
    """Name -> the numbers of its versions, ascending; None where files cannot be listed."""
    paths = place.walk("stores")
    if paths is None:
        return None
    found: dict[str, list[int]] = {}
    for name, number in sorted(filter(None, map(number_in, paths))):
        found.setdefault(name, []).append(number)
    return found


def _numbers_of(place: Place, name: str) -> list[int]:
    paths = place.walk(f"stores/{name}")
    if paths is not None:
        found = (number_in(f"{name}/{path}") for path in paths)
        return sorted(number for _, number in filter(None, found))
    known = read_index(place).get(name)
    last = known.number if known else 0
    # Versions that are newer than the index; without any in the index, the first may still be there.
    while last < MOST_NUMBER and read_version(place, name, last + 1) is not None:
        last += 1
    return list(range(1, last + 1))


def last_number(place: Place, name: str) -> int:
    """The highest number that a version ever had, 0 without any: of one that was taken back, the pages or the place in the index are left."""
    files = (re.match(r"([0-9]{6})[./]", path) for path in place.walk(f"stores/{name}") or ())
    known = _old_index(place).get(name)
    return max([known.number if known else 0, *(int(found[1]) for found in files if found)])


def _newest_first(place: Place, name: str) -> Iterator[Version]:
    """Each is read when it is asked for. Those that were deleted are left out."""
    missing = 0
    for number in reversed(_numbers_of(place, name)):
        found = read_version(place, name, number)
        missing = 0 if found else missing + 1
        if missing > MOST_MISSING:
            raise NotAStore(f"{place.url}: {missing} versions of {name} that its index names are missing")
        if found:
            yield found


def versions(place: Place, name: str) -> list[Version]:
    """All versions of a store, the oldest first."""
    return list(_newest_first(place, name))[::-1]


def latest(place: Place, name: str) -> Version | None:
    return next(_newest_first(place, name), None)


def newest_of_each(place: Place) -> list[Newest]:
    """The newest version of every store, by name; of a web server, as its index has them."""
    return [found for _, found in sorted(_current(place, read_index(place)).items())]


def find_version(place: Place, wanted: StoreName) -> Version:
    """Raises `NotInStore` with what there is."""
    if wanted.version is None:
        found = latest(place, wanted.name)
    elif wanted.version.isdecimal():
        found = read_version(place, wanted.name, int(wanted.version))
    else:
        found = next((v for v in _newest_first(place, wanted.name) if v.label == wanted.version), None)
    if found is not None:
        return found
    if wanted.version is None:
        names = sorted(_current(place, read_index(place)))
        raise NotInStore(f"{place.url} has no store {wanted.name!r}{there_are(wanted.name, names)}")
    labels = [version.label for version in versions(place, wanted.name)]
    raise NotInStore(f"{place.url} has no version {wanted}{there_are(wanted.version, labels)}")


def publish(place: Place, name: str, make: Callable[[Version | None], Version | None]) -> Version | None:
    """Create the next version. `make` gets the newest one; where another writer was faster, it is called again with that writer's. None
    from `make` ends this without a new version."""
    for _ in range(MOST_TRIES):
        before = latest(place, name)
        made = make(before)
        if made is None:
            return None
        if place.create(version_path(name, made.number), made.to_bytes()):
            return made
    raise NotAStore(f"{place.url}: {MOST_TRIES} other versions of {name} were pushed meanwhile; try again later")


def update_index(place: Place) -> None:
    """Write the index until it holds every version that is listed after it was written. Of several writers at one time, the last one
    to write also lists last, so none is missing when all are done."""
    old = _old_index(place)
    made = _current(place, old)
    if old and made == old:
        return
    while True:
        place.replace_all({INDEX: _index_bytes(made)})
        now = _current(place, made)
        if now == made:
            return
        made = now


def _old_index(place: Place) -> dict[str, Newest]:
    try:
        return read_index(place)
    except NotAStore:
        return {}


def _current(place: Place, known: Mapping[str, Newest]) -> dict[str, Newest]:
    """The newest version of each store; files are read only for those that `known` lacks."""
    listed = numbers(place)
    if listed is None:
        return dict(known)
    found = {}
    for name, have in listed.items():
        if name in known and known[name].number == have[-1]:
            found[name] = known[name]
        elif version := read_version(place, name, have[-1]):
            found[name] = Newest.of(version)
    return found


def _index_bytes(stores: Mapping[str, Newest]) -> bytes:
    facts = {
        name: {key: value for key, value in vars(newest).items() if key != "name"} for name, newest in stores.items()
    }
    table = {"format": INDEX_FORMAT, "format_version": INDEX_VERSION, "stores": facts}
    return json.dumps(json.loads(json_bytes(table)), indent=1).encode()
