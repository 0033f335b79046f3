"""Push a store with all that goes with it: its terms, its card, Croissant metadata and BibTeX."""

from __future__ import annotations

import tempfile
from pathlib import Path

from longtake.features.errors import Superseded
from longtake.features.remotes.history import latest
from longtake.features.remotes.pieces import hash_of
from longtake.features.remotes.place import open_place
from longtake.features.remotes.pull import pull
from longtake.features.remotes.push import Pushed, finish, name_for, push
from longtake.features.remotes.versions import Version
from longtake.features.store import Store, open_store
from longtake.features.store_name import StoreName
from longtake.features.tools.card import store_card
from longtake.features.tools.cite import bibtex
from longtake.features.tools.croissant import File, croissant
from longtake.features.tools.merge import merge
from longtake.features.tools.terms import terms_of, unknown_licences

MOST_TRIES = 5
"""Of adding to the newest version, while others push."""


def share(
    path: Path | str, remote: str, *, name: str | None = None, note: str = "", permission: str = "", add: bool = False
) -> tuple[Pushed, list[str]]:
    """Push, and name what has no known licence. Raises `FeaturesError` where a licence forbids it, before anything is sent.

    With `add`, the next version is the newest one merged with the store: nothing of it is dropped. The newest is pulled into the library first.
    Raises `StoreConflict` where they differ, `Superseded` where others push all the time.
    """
    with open_store(path) as store:
        chosen = name_for(store, name)
        terms_of(store, permission)
    if not add:
        return _share(path, remote, chosen, note, permission)
    for tries_left in reversed(range(MOST_TRIES)):
        newest = latest(open_place(remote), chosen)
        try:
            if newest is None:
                return _share(path, remote, chosen, note, permission, after=0)
            base = pull(StoreName(chosen, str(newest.number)), remote)
            with tempfile.TemporaryDirectory(prefix="longtake-push-") as folder:
                both = Path(folder) / f"{chosen}{base.path.suffix}"
                merge([base.path, path], both)
                return _share(both, remote, chosen, note, permission, after=newest.number)
        except Superseded:
            if not tries_left:
                raise
    raise AssertionError("the last try returns or raises")


def _share(
    path: Path | str, remote: str, name: str, note: str, permission: str, after: int | None = None
) -> tuple[Pushed, list[str]]:
    with open_store(path) as store:
        terms = terms_of(store, permission)
        done = push(store, remote, name=name, terms=terms, note=note, after=after)
        # Where nothing is new, a push that was killed may have left the index old.
        finish(remote, documents(store, done.version) if done.is_new else {}, done.version)
        return done, list(unknown_licences(store))


def documents(store: Store, version: Version) -> dict[str, bytes]:
    """Pages for people and programs, by their names in the folder of the version."""
    data = version.to_bytes()
    files = [
        File(
            f"{version.number:06d}.json", f"../{version.number:06d}.json", len(data), hash_of(data), "application/json"
        )
    ]
    meta = croissant(store, files, version=f"{version.number}.0.0", date=version.created_utc[:10])
    return {
        "README.md": store_card(store, version).encode(),
        "croissant.json": meta,
        "citation.bib": bibtex(store, version).encode(),
    }
