"""The card of a store: a page of Markdown to share it with, with the licences of dataset and weights."""

from __future__ import annotations

import json
from pathlib import Path

from jinja2 import Environment

from longtake.features.remotes.versions import Version
from longtake.features.store import Store
from longtake.features.tools.cite import bibtex
from longtake.features.tools.inspect import describe
from longtake.manifests.pretrained import TABLE
from longtake.safe_text import Whole, in_markdown

TEMPLATE = Path(__file__).with_name("card.md")


def store_card(store: Store, version: Version | None = None) -> str:
    """Of a store, or of the version as which it was pushed."""
    facts = describe(store)
    used = [stream.header.weights for stream in store.streams] + [text.header.weights for text in store.texts]
    environment = Environment(trim_blocks=True, lstrip_blocks=True, finalize=in_markdown, keep_trailing_newline=True)
    environment.filters["own"] = Whole
    environment.filters["counts"] = lambda counts: ", ".join(f"{name} {count}" for name, count in counts.items())
    return environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        facts=facts,
        card=store.card,
        weights=[TABLE[name] for name in dict.fromkeys(used) if name in TABLE],
        recipes=Whole(json.dumps({s["name"]: s["recipe"] for s in facts["streams"]}, indent=2)),
        name=Whole(version.full_name) if version else Path(facts["path"]).name,
        bibtex=Whole(bibtex(store, version)),
    )
