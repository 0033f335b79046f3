"""BibTeX of what a store is made of: its dataset, the weights of its features, and the store itself as it was pulled."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from longtake.features.remotes.versions import Version
from longtake.features.store import Store
from longtake.features.tools.terms import weights_of
from longtake.manifests.card import Card
from longtake.manifests.pretrained import TABLE

_SPECIAL = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "%": r"\%", "&": r"\&", "$": r"\$", "#": r"\#", "_": r"\_",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "`": "'",
}  # fmt: skip


def bibtex(store: Store, version: Version | None = None) -> str:
    """The entries, ready for a .bib file. Raises `LongtakeError` for a card that cannot be read."""
    return "\n".join(_entries(store, version))


def _entries(store: Store, version: Version | None) -> Iterator[str]:
    if store.card is not None:
        yield _of_dataset(store.card)
    for name in weights_of(store):
        if name in TABLE:
            entry = TABLE[name]
            yield _entry(
                name,
                {"title": f"Weights {name}", "note": entry.citation, "year": _year(entry.citation), "url": entry.url},
            )
    if version is not None:
        streams = ", ".join(stream.name for stream in version.streams)
        facts = {
            "title": f"Features of {store.dataset}, {version.full_name}", "year": version.created_utc[:4],
            "note": f"Longtake feature store with {streams}; content {version.content_id}",
        }  # fmt: skip
        yield _entry(f"{version.name}-{version.label}", facts)


def _of_dataset(card: Card) -> str:
    authors = " and ".join(name.strip() for name in re.split(r",| and ", card.authors) if name.strip())
    facts = {
        "title": card.title,
        "author": authors,
        "note": card.citation,
        "year": _year(card.citation),
        "doi": card.doi,
    }
    return _entry(card.name, facts)


def _year(citation: str) -> str:
    """The last year that a citation names; empty if there is none."""
    found = re.findall(r"\b(?:19|20)\d\d\b", re.sub(r"arXiv:\S+", "", citation))
    return found[-1] if found else ""


def _entry(key: str, facts: Mapping[str, str]) -> str:
    lines = [f"  {name} = {{{_plain(value, name)}}}," for name, value in facts.items() if value]
    return "\n".join([f"@misc{{{re.sub(r'[^A-Za-z0-9:.-]', '-', key)},", *lines, "}", ""])


def _plain(text: str, field: str) -> str:
    """Untrusted text on one line. Addresses and DOIs keep their underscores, as styles of bibliographies expect."""
    line = " ".join("".join(one if one.isprintable() else " " for one in text).split())
    if field in ("url", "doi"):
        return re.sub(r"[{}\\`\s]", "", line)
    return "".join(_SPECIAL.get(one, one) for one in line)
