"""Under which terms a store may be passed on: the licences of its dataset and weights, and clauses in them that forbid it."""

from __future__ import annotations

import re
from collections.abc import Iterable

from longtake.errors import listed
from longtake.features.errors import FeaturesError
from longtake.features.remotes.push import Terms
from longtake.features.store import Store
from longtake.manifests.pretrained import TABLE, licence_of

FORBIDS = re.compile(
    r"\b(?:no|not|never|without|nor|prohibit\w*|forbid\w*|may not|must not|cannot)\b[^.;]{0,60}?"
    r"\b(?:re-?distribut\w*|distribut\w*|shar(?:e|ed|ing)|pass(?:ed|ing)? (?:it |them )?on|publish\w*|derivat\w*|third part\w*)"
    r"|\bCC[ -]BY(?:[ -]NC)?[ -]ND\b|\bNoDeriv\w*|signed agreement|all rights reserved|internal use only",
    re.IGNORECASE,
)
"""Words of licences that forbid passing on, or let only those use a dataset who have signed. They are looked for where a card does not say
`forbids_sharing`; features are derived from videos, so a ban of derivatives is one."""


def clause_in(licence: str) -> str:
    """The sentence of a licence that forbids passing on; empty if there is none."""
    for sentence in re.split(r"(?<=[.;])\s+", licence):
        if FORBIDS.search(sentence):
            return sentence.strip()
    return ""


def weights_of(store: Store) -> list[str]:
    """Names of all weights that made the store, each once."""
    used = [stream.header.weights for stream in store.streams] + [text.header.weights for text in store.texts]
    return list(dict.fromkeys(used))


def clauses_of(store: Store) -> list[str]:
    """One line per licence that forbids to pass the store on, with its clause."""
    found = []
    card = store.card
    if card is not None and (clause := card.forbids_sharing or clause_in(card.licence)):
        found.append(f"the dataset {card.name}: {clause}")
    for name in weights_of(store):
        if name in TABLE and (clause := clause_in(TABLE[name].licence)):
            found.append(f"the weights {name}: {clause}")
    return found


def terms_of(store: Store, permission: str = "") -> Terms:
    """Raises `FeaturesError` if a licence forbids to pass the store on and no permission is stated."""
    clauses = clauses_of(store)
    if clauses and not permission.strip():
        raise FeaturesError(
            f'{store.path} may not be passed on:{listed(clauses)}\nIf you have a permission, state it with --permission "WHO gave it, WHEN, '
            'for WHAT"; it is recorded in the version'
        )
    licences = {name: licence_of(name) or "unknown" for name in weights_of(store)}
    return Terms(
        store.card.licence if store.card else "", licences, tuple(clauses), permission.strip() if clauses else ""
    )


def unknown_licences(store: Store) -> Iterable[str]:
    """What has no known licence, for a warning."""
    if store.card is None or not store.card.licence:
        yield f"the dataset {store.dataset}"
    for name in weights_of(store):
        if licence_of(name) is None and name != "unknown":
            yield f"the weights {name}"
