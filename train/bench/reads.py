"""What a row of the bench reads in addition to its stream of features, and what its preset sets: a finished cell must have been made of the same."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from longtake.errors import LongtakeError
from longtake.train.bench.file import Choice, HeadEntry
from longtake.train.heads import get_head
from longtake.train.heads.base import Needs
from longtake.train.heads.plugin import PLUGINS, plugin_for
from longtake.train.protocol.options import parse_streams
from longtake.train.protocol.presets import preset_row
from longtake.train.protocol.settings import build_settings, settings_kinds, without_replaced


@dataclass(frozen=True)
class Reads:
    streams: tuple[str, ...]
    """Backbones of further streams."""
    texts: tuple[str, ...]
    """Names of prompt sets, without their recipes."""
    groups: tuple[str, ...] | None
    """Kinds of groups; empty for all that there are, None for a head that reads none."""


def reads_of(entry: HeadEntry, dataset: str) -> Reads:
    """Of all ways to set the head."""
    second, further = parse_streams(entry.audio or None, entry.streams)
    streams = [*([second] if second else []), *further.values()]
    texts: list[str] = []
    kinds: set[str] = set()
    all_groups = False
    for way in entry.ways:
        needs, names = _of_way(entry, way, dataset)
        texts += names
        kinds |= set(needs.groups or ())
        all_groups |= needs.groups == ()
    groups = () if all_groups else tuple(sorted(kinds)) or None
    return Reads(tuple(streams), tuple(dict.fromkeys(name.partition("@")[0] for name in texts)), groups)


def _of_way(entry: HeadEntry, way: Choice, dataset: str) -> tuple[Needs, list[str]]:
    plugin = plugin_for(way.plugin, {}) if way.plugin else None
    named = {"text": way.text} if way.text else {}
    kinds = settings_kinds(entry.head, plugin.kind if plugin else None)
    settings = build_settings(entry.head, dataset, "", way.settings | named, kinds, way.preset)
    try:
        needs = get_head(entry.head).needs(settings.head)
    except LongtakeError:
        needs = Needs()  # Of a head whose judges the card names.
    own = [settings.prototypes.text] if needs.texts else []
    # Which of a plug-in's prompt sets it takes depends on the store.
    return needs, own + [one.prompt_set for one in PLUGINS.get(way.plugin, ())]


def preset_rows(entry: HeadEntry, dataset: str, categories: Iterable[str]) -> list[dict[str, dict[str, Any]]]:
    """Of each way to set the head: category -> what its preset sets there and the entry does not, as JSON has it."""
    rows = []
    for way in entry.ways:
        given = way.settings | ({"text": way.text} if way.text else {})
        of_preset = {c: preset_row(way.preset, entry.head, dataset, c) for c in categories}
        rows.append(
            {
                category: {name: value for name, value in without_replaced(row, given).items() if name not in given}
                for category, row in of_preset.items()
            }
        )
    return list(json.loads(json.dumps(rows)))
