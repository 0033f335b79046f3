"""The hyper-parameters of every head and dataset, as presets.toml has them."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from longtake.errors import there_are
from longtake.train.errors import SettingsError

FILE = Path(__file__).with_name("presets.toml")


@cache
def _presets() -> Mapping[str, Mapping[str, Mapping[str, object]]]:
    return tomllib.loads(FILE.read_text(encoding="utf-8"))


def preset_row(preset: str, head: str, dataset: str, category: str) -> dict[str, object]:
    """Settings that a preset gives a head on a dataset and category. Raises `SettingsError` for an unknown preset."""
    if preset not in _presets():
        raise SettingsError(f"no preset is called {preset!r}{there_are(preset, _presets())}")
    table = _presets()[preset]
    name = f"{head} {dataset}"
    row = _whole(table, name if name in table else head)
    return {
        name: value.get(category, value.get("")) if isinstance(value, Mapping) else value
        for name, value in row.items()
        if not isinstance(value, Mapping) or category in value or "" in value
    }


def _whole(table: Mapping[str, Mapping[str, object]], name: str) -> dict[str, object]:
    """A row with those that it is like; empty for a head that the preset leaves at its defaults."""
    row = dict(table.get(name, {}))
    like = row.pop("like", None)
    return row if like is None else _whole(table, str(like)) | row
