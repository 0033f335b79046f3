"""A run is resumed with the settings that it was started with, also where a later release has other presets or more settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from longtake.checks import build
from longtake.train.engine.settings import TrainSettings
from longtake.train.errors import DataError, SettingsError
from longtake.train.protocol.experiment import Experiment
from longtake.train.protocol.settings import RunSettings, settings_kinds
from longtake.train.protocol.units import Unit
from longtake.train.runs.records import CONFIG, read_values


def with_recorded_settings(folder: Path, experiment: Experiment) -> Experiment:
    """The experiment with the settings of the run in the folder, where the same was asked for; otherwise as it is."""
    try:
        if not (folder / CONFIG).exists():
            return experiment
        there = read_values(folder / CONFIG)
        if there.get("run_id") in (None, experiment.run_id) or not _same_call(there, experiment):
            return experiment
        kinds = settings_kinds(experiment.head, experiment.plugin.kind if experiment.plugin else None)
        units = []
        for unit in experiment.units:
            parts = there["settings"][unit.category or "all"]
            made: dict[str, Any] = {part: build(kind, parts[part], part, SettingsError) for part, kind in kinds.items()}
            made["head"] = replace(made["head"], **_of_this_score(unit, experiment.units))
            units.append(replace(unit, settings=RunSettings(**made)))
    except (DataError, SettingsError, AttributeError, KeyError, TypeError):
        # The folder's own check says what is wrong with it.
        return experiment
    found = replace(experiment, units=tuple(units))
    return found if found.run_id == there["run_id"] else experiment


def _of_this_score(unit: Unit, units: Sequence[Unit]) -> dict[str, object]:
    """Settings of the head that differ between scores, such as a score's range: a run records those of one score of each category."""
    mine = vars(unit.settings.head)
    others = [vars(one.settings.head) for one in units if one.category == unit.category]
    return {name: value for name, value in mine.items() if any(other[name] != value for other in others)}


def same_settings(there: Experiment, now: Experiment) -> bool:
    """Whether two experiments on the same data train in the same way, apart from the precision that `auto` takes on a machine."""

    def of(experiment: Experiment) -> list[RunSettings]:
        plain = TrainSettings().precision
        return [
            replace(unit.settings, train=replace(unit.settings.train, precision=plain)) for unit in experiment.units
        ]

    return of(there) == of(now)


def _same_call(there: Mapping[str, Any], experiment: Experiment) -> bool:
    options = there["options"]
    mine = experiment.options
    asked = {name: str(value) for name, value in mine.overrides}
    recorded = {name: str(value) for name, value in options["overrides"].items()}
    return (asked, mine.preset, experiment.head) == (recorded, options["preset"], there["head"])
