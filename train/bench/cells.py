"""The cells of a bench: one head on one stream of one dataset, by one split and seed, each a run of its own.

A cell that cannot be trained, since the store lacks a stream or a package is not installed, is a row with its reason, and so is one
that fails. Nothing of that ends the bench.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from longtake.checks import build
from longtake.errors import there_are
from longtake.files import write_whole
from longtake.terminal import finite
from longtake.train.bench.file import Bench
from longtake.train.bench.sources import Source, Stamp
from longtake.train.engine.names import unit_name
from longtake.train.errors import DataError, SettingsError
from longtake.train.heads import get_head
from longtake.train.protocol.settings import PLUGIN
from longtake.train.runs.folder import versions
from longtake.train.runs.records import CONFIG, only_known, read_values

DONE, REASON = "bench.json", "reason.json"
"""In a cell's folder: what a finished cell is of, written last; or why it is not finished."""
FAILED, NOT_APPLICABLE = "failed", "not applicable"


@dataclass(frozen=True)
class Cell:
    dataset: str
    head: str
    """Name of the row, which may be another than the head's."""
    backbone: str
    split: str
    seed: int

    @property
    def folder(self) -> str:
        names = self.dataset, self.head, self.backbone.replace("@", "-"), self.split
        return "-".join([*(unit_name(name, "") for name in names), f"seed{self.seed}"])


@dataclass(frozen=True)
class ScoredUnit:
    """A category and score that a cell has a result for."""

    category: str
    """Empty where one model serves all categories."""
    score: str
    label_range: float


@dataclass(frozen=True)
class Done:
    """What is known of a finished cell, in addition to its predictions."""

    cell: Cell
    entry: dict[str, Any]
    """The row of the bench file, with the settings of all in it."""
    split: dict[str, Any]
    stamp: Stamp
    units: tuple[ScoredUnit, ...]
    random_weights: bool
    num_models: int
    """That the result is of."""
    num_inner_models: int
    """That were trained in addition, to choose settings."""
    parameters: int | None
    """Most of any of its models."""
    seconds_per_model: float
    """Of training, the mean."""
    epochs: int | None
    """None for a head in closed form."""
    preset_epochs: int | None
    taken: dict[str, Any] | None = None
    """The categories and scores that were asked for; of cells of older releases, those of their run (`read_done`)."""
    chosen: dict[str, int] = field(default_factory=dict)
    """Model -> which of the entry's choices, where there are several."""
    presets: tuple[dict[str, dict[str, Any]], ...] | None = None
    """Of each way to set the head: category -> what its preset set, as `preset_rows` has it; None where an earlier version finished the cell."""
    leaks: tuple[str, ...] | None = None
    """What training and test videos share that flatters the result, in sentences; None where a version without this audit finished the cell."""
    versions: dict[str, str] = field(default_factory=versions)
    precisions: tuple[str, ...] | None = None
    """In which its models were trained, none for a closed form; None where a version without this record finished the cell."""
    recorded: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Of a cell that an earlier version finished, with one way to set the head: category -> the settings of its run (`read_done`)."""


@dataclass(frozen=True)
class Reason:
    cell: Cell
    kind: str
    reason: str


def plan(bench: Bench, sources: Mapping[str, Source], only: Sequence[str] = ()) -> list[Cell]:
    """Every cell, seed by seed, in the order of the file. Raises `SettingsError` for a head in `only` that the file does not have."""
    for name in only:
        if name not in bench.heads:
            raise SettingsError(f"--only {name}: the bench file has no such head{there_are(name, bench.heads)}")
    found = [
        Cell(dataset, head, backbone, split, seed)
        for seed in range(bench.seeds)
        for dataset, source in sources.items()
        for head, entry in bench.heads.items()
        if (not only or head in only) and (seed == 0 or not get_head(entry.head).closed_form)
        for split in bench.splits
        for backbone in source.streams
    ]
    folders: dict[str, Cell] = {}
    for cell in found:
        if folders.setdefault(cell.folder.casefold(), cell) is not cell:
            raise DataError(f"two cells of the bench would have the same folder, {cell.folder}: rename a head or split")
    return found


def read_done(folder: Path) -> Done | None:
    """None for a cell that is not finished. Raises `DataError` for a damaged file."""
    path = folder / DONE
    if not path.exists():
        return None
    done = build(Done, only_known(Done, read_values(path)), str(path), DataError)
    if done.taken and done.presets is not None:
        return done
    # From the run of a cell, or of its first outer fold.
    run = next(iter([*folder.glob(CONFIG), *sorted(folder.glob(f"*/*/{CONFIG}"))]), None)
    values = read_values(run) if run else None
    if not isinstance(values, Mapping):
        return done
    recorded = _recorded(values.get("settings")) if done.presets is None and not done.entry.get("choices") else {}
    return replace(done, taken=done.taken or _taken(values.get("options")), recorded=recorded)


def _taken(options: object) -> dict[str, Any] | None:
    """None where it is not known."""
    if not isinstance(options, Mapping) or not {"categories", "scores"} <= options.keys():
        return None
    return {name: options[name] for name in ("categories", "scores")}


def _recorded(settings: object) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for category, parts in settings.items() if isinstance(settings, Mapping) else ():
        own = found.setdefault("" if category == "all" else category, {})
        for part, values in parts.items() if isinstance(parts, Mapping) else ():
            before = PLUGIN if part == "plugin" else ""
            own |= {f"{before}{name}": value for name, value in (values or {}).items()}
    return found


def read_reason(folder: Path) -> Reason | None:
    path = folder / REASON
    return build(Reason, only_known(Reason, read_values(path)), str(path), DataError) if path.exists() else None


def write_done(folder: Path, done: Done) -> None:
    write_whole(folder / DONE, json.dumps(finite(asdict(done)), indent=1) + "\n")
    (folder / REASON).unlink(missing_ok=True)


def write_reason(folder: Path, reason: Reason) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / REASON, json.dumps(asdict(reason), indent=1) + "\n")
