"""What was read of stores, kept in the user's cache folder: a store that has not changed is not read again.

A store is the same as long as its file has the size, the time and the number that it had. Stores are replaced whole, by a new file; one that
is changed in place gets another time. Where the cache cannot be used, stores are read.
"""

from __future__ import annotations

import json
import os
import sqlite3
from contextlib import suppress
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from longtake.features.catalog.stores import StoreRow, StreamRow, VideoTable
from longtake.files import is_url

NAME = "view.sqlite"
MOST_STORES = 20_000
"""Kept; those that were added first go."""
FORM = 1
"""Of what is kept; raised when `StoreRow` or `VideoTable` changes."""
_TABLE = "create table if not exists stores (place text primary key, stamp text not null, value text not null)"


class Kept:
    """Use it as a context manager. `folder` is `$LONGTAKE_CACHE` or the user's cache folder if none is given."""

    def __init__(self, folder: Path | None = None) -> None:
        self._database: sqlite3.Connection | None = None
        self._writes = True
        with suppress(OSError, sqlite3.Error):
            folder = folder or _folder()
            folder.mkdir(parents=True, exist_ok=True)
            path = folder / NAME
            # Labels are in it: for its owner alone.
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
            # Each store is written at once, so that another process never waits long; a cache that a power cut damages is only lost.
            database = sqlite3.connect(path, timeout=1, isolation_level=None)
            database.execute("pragma synchronous = off")
            database.execute(_TABLE)
            self._database = database

    def __enter__(self) -> Kept:
        return self

    def __exit__(self, *_: object) -> None:
        if self._database is None:
            return
        with suppress(sqlite3.Error):
            self._database.execute(
                "delete from stores where rowid not in (select rowid from stores order by rowid desc limit ?)",
                (MOST_STORES,),
            )
        self._database.close()

    def find(self, place: Path | str, stamp: str) -> tuple[StoreRow, VideoTable] | None:
        """What was kept of a store with this stamp; None where there is nothing that can be used."""
        if self._database is None or not stamp:
            return None
        try:
            found = self._database.execute(
                "select value from stores where place = ? and stamp = ?", (_key(place), stamp)
            ).fetchone()
            return _made(json.loads(found[0])) if found else None
        except (sqlite3.Error, ValueError, TypeError, KeyError, RecursionError):
            return None

    def keep(self, place: Path | str, stamp: str, row: StoreRow, table: VideoTable) -> None:
        if self._database is None or not stamp or not self._writes:
            return
        value = json.dumps([row, table], default=vars)
        try:
            self._database.execute("insert or replace into stores values (?, ?, ?)", (_key(place), stamp, value))
        except sqlite3.Error:
            self._writes = False  # To wait for a lock once more for each store would take longer than to read them.


def stamp_of(place: Path | str) -> str:
    """What changes when a store is written; empty for one that is not kept: at a URL, or missing."""
    if is_url(place):
        return ""
    path = Path(place)
    try:
        facts = (path / "zarr.json" if path.is_dir() else path).stat()
    except OSError:
        return ""
    return f"{FORM} {_release()} {facts.st_dev} {facts.st_ino} {facts.st_size} {facts.st_mtime_ns}"


def _release() -> str:
    try:
        return version("longtake")
    except PackageNotFoundError:
        return ""


def _folder() -> Path:
    import platformdirs

    override = os.environ.get("LONGTAKE_CACHE")
    return Path(os.path.expanduser(override)) if override else platformdirs.user_cache_path("longtake")


def _key(place: Path | str) -> bytes:
    """Bytes, since names of files need not be text."""
    return os.fsencode(os.path.realpath(place))


def _made(value: Any) -> tuple[StoreRow, VideoTable]:
    row, table = value
    made = StoreRow(**row)
    return replace(made, streams=[StreamRow(**one) for one in row["streams"]]), VideoTable(**table)
