"""The settings of a run: defaults, then the preset's row, then the user's `--set KEY=VALUE`.

They are one frozen object, made once and recorded with the weights.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import Field, dataclass, fields
from typing import Any

from longtake.checks import read_value
from longtake.errors import there_are
from longtake.manifests.card import Card
from longtake.train.data.dataset import ScoreScale
from longtake.train.data.prompts import PrototypeSettings
from longtake.train.engine.settings import TrainSettings
from longtake.train.errors import SettingsError
from longtake.train.heads import get_head
from longtake.train.heads.plugin import PlugIn
from longtake.train.protocol.options import PUBLISHED
from longtake.train.protocol.presets import preset_row

PLUGIN = "plugin."
"""Before the name of a plug-in's setting, which a head may have as well."""


@dataclass(frozen=True)
class RunSettings:
    """All that `--set` may change: settings of training, of the head, of the prototypes and, as `plugin.KEY`, of the plug-in."""

    train: TrainSettings
    head: Any
    prototypes: Any
    plugin: Any = None


def settings_kinds(head: str, plugin: type[PlugIn] | None = None) -> dict[str, type]:
    """Part of `RunSettings` -> its dataclass, for a head and the class of a plug-in."""
    kinds = {"train": TrainSettings, "head": get_head(head).Settings, "prototypes": PrototypeSettings}
    return kinds if plugin is None else {**kinds, "plugin": plugin.Settings}


def card_settings(card: Card | None, scale: ScoreScale, kind: type) -> dict[str, object]:
    """Settings of a head that are facts of the dataset: the score's range, and how it follows from those of judges. Only those that
    `kind`, the class of the head's settings, has. Where the card has no rule, `--set` may name the judges."""
    facts: dict[str, object] = {"score_minimum": scale.minimum, "score_maximum": scale.maximum}
    rule = card.scores.get(scale.name) if card else None
    if card is not None and rule is not None and rule.judges:
        judges = [card.scores[name] for name in rule.judges]
        facts |= {
            "judges": ",".join(rule.judges),
            "drop": rule.drop,
            "times": rule.times,
            "judge_minimum": min(judge.minimum for judge in judges),
            "judge_maximum": max(judge.maximum for judge in judges),
            "times_maximum": card.scores[rule.times].maximum if rule.times else 1.0,
        }
    known = {field.name for field in fields(kind)}
    return {name: value for name, value in facts.items() if name in known}


def build_settings(
    head: str, dataset: str, category: str, overrides: Mapping[str, object], kinds: Mapping[str, type],
    preset: str = PUBLISHED,
) -> RunSettings:  # fmt: skip
    """Defaults, then the preset's row, then the user's overrides; `kinds` as `settings_kinds` returns them.

    Raises `SettingsError` for a name that no part has, with the nearest that one has, and for a value out of range.
    """
    known = {
        f"{PLUGIN if part == 'plugin' else ''}{field.name}" for part, kind in kinds.items() for field in _settable(kind)
    }
    for name in overrides:
        if name.startswith(PLUGIN) and "plugin" not in kinds:
            raise SettingsError(f"{name} is a setting of a plug-in: name one with --plugin")
        if name not in known:
            raise SettingsError(f"head {head} has no setting {name!r}{there_are(name, sorted(known))}")
    values = {**without_replaced(preset_row(preset, head, dataset, category), overrides), **overrides}
    of_plugin = {name.removeprefix(PLUGIN): value for name, value in values.items() if name.startswith(PLUGIN)}
    parts = {}
    for part, kind in kinds.items():
        names = {field.name: field for field in _settable(kind)}
        given = of_plugin if part == "plugin" else values
        try:
            parts[part] = kind(**{n: _convert(n, v, names[n].type) for n, v in given.items() if n in names})
        except TypeError as error:
            raise SettingsError(str(error)) from error
        for field in _settable(kind):
            _check_range(field.name, getattr(parts[part], field.name))
    return RunSettings(**parts)


_REPLACES = {
    "schedule": ("milestones", "step_epochs", "step_factor"),
    "milestones": ("step_epochs",),
    "step_epochs": ("milestones",),
}


def without_replaced(row: Mapping[str, object], overrides: Mapping[str, object]) -> dict[str, object]:
    """A preset's row without the parts of its schedule that another schedule of the user has in their place."""
    replaced = {name for given in overrides for name in _REPLACES.get(given, ())}
    return {name: value for name, value in row.items() if name not in replaced}


_POSITIVE = {
    "width", "heads", "bins", "blocks", "clips", "decoder_layers", "depth", "feed_forward", "frames", "fusion_layers",
    "grading_layers", "groups", "unit", "layers", "points", "queries", "scores", "stages", "voters", "sigma", "temperature",
    "logit_scale", "penalty_min", "penalty_max",
}  # fmt: skip
_SHARES = {"dropout", "momentum", "label_smoothing"}


def _check_range(name: str, value: object) -> None:
    """A name means the same everywhere: a share is from 0 to below 1, a size or a scale above 0, and other numbers 0 or more, except
    the ends of a range."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return
    if name in _SHARES or name.endswith("_dropout"):
        allowed, fits = "must be from 0 to below 1", 0 <= value < 1
    elif name in _POSITIVE:
        allowed, fits = "must be above 0", 0 < value < math.inf
    elif name.endswith(("_minimum", "_maximum")):
        allowed, fits = "must be a number", math.isfinite(value)
    else:
        allowed, fits = "must be 0 or more", 0 <= value < math.inf
    if not fits:
        raise SettingsError(f"{name} {allowed}, got {value}")


def _settable(kind: type) -> list[Field]:
    return [field for field in fields(kind) if field.init]


def _convert(name: str, value: object, kind: object) -> object:
    """Text of the command line as the field's type; other values must have that type."""
    if not isinstance(value, str) or kind == "str":
        faults: list[str] = []
        made = read_value(
            {"int": int, "float": float, "bool": bool, "str": str}.get(str(kind), object), value, name, faults
        )
        if faults:
            raise SettingsError(faults[0])
        return made
    try:
        if kind == "bool":
            return {"true": True, "false": False, "1": True, "0": False}[value.lower()]
        return {"int": int, "float": float}[str(kind)](value)
    except (KeyError, ValueError):
        raise SettingsError(f"{name} takes a value of type {kind}, got {value!r}") from None
