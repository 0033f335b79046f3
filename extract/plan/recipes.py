"""Published recipes by name, for `extract run --recipe`; recipes.toml has how the features of papers were made, each with its source."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from longtake.errors import there_are
from longtake.extract.backbones import get_spec
from longtake.extract.backbones.spec import BackboneSpec
from longtake.extract.errors import ExtractError
from longtake.extract.preprocessing import ClipRule, FrameRule, SoundRule


@dataclass(frozen=True)
class Change:
    """What a recipe changes of one backbone; None leaves the backbone's own."""

    clips: ClipRule
    frames: FrameRule | SoundRule | None = None
    weights: str | None = None


@dataclass(frozen=True)
class Recipe:
    about: str
    source: str
    backbones: Mapping[str, Change]


def _recipe(about: str, source: str, changes: list[dict[str, Any]]) -> Recipe:
    found = {}
    for change in changes:
        for name in change["backbones"]:
            frames = replace(get_spec(name).frames, **change["frames"]) if "frames" in change else None
            found[name] = Change(ClipRule(**change["clips"]), frames, change.get("weights"))
    return Recipe(about, source, found)


_TABLES = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
RECIPES: dict[str, Recipe] = {name: _recipe(**table) for name, table in _TABLES.items()}


def apply_recipe(name: str | None, spec: BackboneSpec) -> BackboneSpec:
    """The spec with the recipe's changes. Raises `ExtractError` for an unknown recipe and for a backbone that it does not have."""
    if name is None:
        return spec
    if name not in RECIPES:
        raise ExtractError(f"no recipe is called {name!r}{there_are(name, RECIPES)}")
    recipe = RECIPES[name]
    if spec.name not in recipe.backbones:
        raise ExtractError(
            f"the recipe {name} does not have the backbone {spec.name}; it has {', '.join(recipe.backbones)}"
        )
    change = recipe.backbones[spec.name]
    return replace(
        spec,
        clips=change.clips,
        frames=change.frames or spec.frames,
        default_weights=change.weights or spec.default_weights,
    )
