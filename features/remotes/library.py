"""The folder of pulled stores on this machine: NAME/LABEL.h5 with LABEL.json, the version that it is and where it came from."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from longtake.checks import build, read_json
from longtake.errors import LongtakeError
from longtake.features.errors import FeaturesError, NotAStore
from longtake.features.remote import without_password
from longtake.features.remotes.pieces import json_bytes
from longtake.features.remotes.versions import MOST_BYTES, Version
from longtake.features.store_name import StoreName
from longtake.files import require_regular, write_whole

LIBRARY_VARIABLE = "LONGTAKE_LIBRARY"
REMOTE_VARIABLE = "LONGTAKE_REMOTE"
OFFLINE_VARIABLE = "LONGTAKE_OFFLINE"


def library_folder() -> Path:
    """`$LONGTAKE_LIBRARY`, or `stores` in the user's data folder. It may not exist yet."""
    if override := os.environ.get(LIBRARY_VARIABLE):
        return Path(override).expanduser().absolute()
    import platformdirs  # a lazy import keeps `--help` fast

    folder = Path(platformdirs.user_data_dir("longtake")) / "stores"
    if not folder.is_absolute():
        raise FeaturesError(f"there is no home folder for pulled stores: name a folder with {LIBRARY_VARIABLE}")
    return folder


def configured_remote() -> str:
    """`$LONGTAKE_REMOTE`; empty if there is none."""
    return os.environ.get(REMOTE_VARIABLE, "")


def is_offline() -> bool:
    return os.environ.get(OFFLINE_VARIABLE, "") not in ("", "0")


@dataclass(frozen=True)
class Held:
    """A pulled version."""

    version: Version
    remote: str
    path: Path


@dataclass(frozen=True)
class _Record:
    remote: str
    version: Version


def store_path(version: Version) -> Path:
    return library_folder() / version.name / f"{version.label}.h5"


def _record_path(store: Path) -> Path:
    return store.with_name(store.name.removesuffix(".h5") + ".json")


def held(name: str) -> list[Held]:
    """The pulled versions of a store, the oldest first. Files that are damaged are left out: the version is pulled again."""
    found = []
    for path in sorted((library_folder() / name).glob("*.h5")):
        if not path.name.startswith(".") and (one := read_record(path)) is not None and one.version.name == name:
            found.append(one)
    return sorted(found, key=lambda one: one.version.number)


def read_record(store: Path) -> Held | None:
    """What is recorded about a pulled store; None if it is not one."""
    record = _record_path(store)
    try:
        with require_regular(record).open("rb") as file:
            values = read_json(file.read(MOST_BYTES), str(record), NotAStore)
        found = build(_Record, values, str(record), NotAStore)
    except (OSError, LongtakeError):
        return None
    return Held(found.version, found.remote, store) if store.name == f"{found.version.label}.h5" else None


def find_held(wanted: StoreName, remote: str = "") -> Held | None:
    """The pulled version of this name; the newest one that was pulled if no version is asked for. Numbers are those of one remote: of
    several, `remote` decides, and without it `FeaturesError` is raised."""
    found = held(wanted.name)
    if wanted.version is None or wanted.version.isdecimal():
        named = [one for one in found if wanted.version is None or one.version.number == int(wanted.version)]
        named = [one for one in named if one.remote == remote] or named
        if len({one.remote for one in named}) > 1:
            choices = ", ".join(f"{one.version.full_name} of {one.remote}" for one in named)
            raise FeaturesError(f"{wanted} could be several stores that were pulled: {choices}. Name one by its date")
        return named[-1] if named else None
    return next((one for one in found if one.version.label == wanted.version), None)


def require_free(version: Version, remote: str) -> None:
    """Raise `FeaturesError` if another store was pulled under this name and version."""
    before = read_record(store_path(version)) if store_path(version).exists() else None
    if before is not None and before.version.content_id != version.content_id:
        raise FeaturesError(
            f"{store_path(version)} is {version.full_name} of {before.remote}, with other content than that of {remote}: give --out FILE, or "
            f"another library with {LIBRARY_VARIABLE}"
        )


def record(version: Version, remote: str) -> None:
    """Before the store itself is written, so a store in the library always has its record."""
    path = store_path(version)
    path.parent.mkdir(parents=True, exist_ok=True)
    facts: Mapping[str, object] = {"remote": without_password(remote), "version": asdict(version)}
    write_whole(_record_path(path), json_bytes(facts))
