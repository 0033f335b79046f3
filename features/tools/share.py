"""Push a store with all that goes with it: its terms, its card, Croissant metadata and BibTeX."""

from __future__ import annotations

from pathlib import Path

from longtake.features.remotes.pieces import hash_of
from longtake.features.remotes.push import Pushed, finish, name_for, push
from longtake.features.remotes.versions import Version
from longtake.features.store import Store, open_store
from longtake.features.tools.card import store_card
from longtake.features.tools.cite import bibtex
from longtake.features.tools.croissant import File, croissant
from longtake.features.tools.terms import terms_of, unknown_licences


def share(
    path: Path | str, remote: str, *, name: str | None = None, note: str = "", permission: str = ""
) -> tuple[Pushed, list[str]]:
    """Push, and name what has no known licence. Raises `FeaturesError` where a licence forbids it, before anything is sent."""
    with open_store(path) as store:
        chosen = name_for(store, name)
        terms = terms_of(store, permission)
        done = push(store, remote, name=chosen, terms=terms, note=note)
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
