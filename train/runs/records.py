"""What a run's folder says of the run: config.json and metrics.json, checked before use.

A folder may come from another person or another release. Entries that this release does not know are ignored, all others are checked,
and one message names every fault.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass, make_dataclass
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from longtake.checks import read_json, read_value, refuse
from longtake.features.types import FeatureHeader, TextHeader
from longtake.files import require_regular
from longtake.manifests.card import dataset_names, find_card
from longtake.train.errors import DataError
from longtake.train.protocol.options import fold_rule
from longtake.train.protocol.rows import Row
from longtake.train.uncertainty import Interval

CONFIG, METRICS = "config.json", "metrics.json"
"""The first is that of a run of `train heads`; a folder of imported checkpoints has none."""


@dataclass(frozen=True)
class RunOptions:
    """Those of the options of `train heads` that are read again."""

    backbone: str | None
    categories: tuple[str, ...]
    seeds: int
    folds: int | str
    first_seed: int
    overrides: dict[str, object]
    group: str | None = None

    @property
    def fold_rule(self) -> str:
        return fold_rule(self.folds, self.group)


@dataclass(frozen=True)
class RunConfig:
    """What a run was made of."""

    head: str
    dataset: str
    preset: str
    options: RunOptions
    settings: dict[str, object]
    features: FeatureHeader
    recipe_id: str
    data_id: str
    run_id: str
    text: TextHeader | None
    dataset_title: str | None
    dataset_licence: str | None
    dataset_citation: str | None
    weights_licence: str | None
    versions: dict[str, str]
    earlier_versions: tuple[dict[str, str], ...] = ()
    """Of each time that the run was resumed with other packages."""


@dataclass(frozen=True)
class Tested:
    """A model's test after its last epoch; None where a figure is undefined."""

    spearman: float | None
    mse: float | None
    num_videos: int


@dataclass(frozen=True)
class ModelRecord:
    category: str
    score: str
    seed: int
    control: bool
    test: Tested


def is_simulated(config: RunConfig) -> bool:
    """By the card of its dataset, or the title that the run recorded."""
    if config.dataset in dataset_names():
        return find_card(config.dataset).simulated
    return "simulated" in (config.dataset_title or "").lower()


_TYPES: Mapping[object, Any] = {
    "str": str,
    "int": int,
    "float": float | None,
    "Mapping[str, Interval]": dict[str, Interval],
}
TableRow = make_dataclass(
    "TableRow", [(one.name, _TYPES[one.type], field(default=one.default, default_factory=one.default_factory)) for one in fields(Row)], frozen=True
)  # fmt: skip
"""A `Row` as JSON has it, with null for nan."""


@dataclass(frozen=True)
class RunMetrics:
    """The results of a run."""

    head: str
    dataset: str
    random_weights: bool
    table: tuple[TableRow, ...]  # type: ignore[valid-type]  # made from Row above
    models: tuple[ModelRecord, ...]
    num_models: int | None = None
    """How many the run is to have; None for files of older releases."""
    num_done: int | None = None
    intervals_over: str = "videos"
    """The name of a group, where intervals are over groups."""

    @property
    def rows(self) -> list[Row]:
        return [Row(**{name: number(value) for name, value in vars(row).items()}) for row in self.table]

    @property
    def group(self) -> str:
        """That of `intervals_over`; empty for videos."""
        return "" if self.intervals_over == "videos" else self.intervals_over

    @property
    def unfinished(self) -> str:
        return unfinished(self.num_done, self.num_models)


def number(value: Any) -> Any:
    """JSON has null for nan."""
    return math.nan if value is None else value


def unfinished(num_done: int | None, num_models: int | None) -> str:
    """A mark of a run that has fewer models than it is to have; empty for others."""
    return f"UNFINISHED, {num_done} of {num_models} models" if num_done != num_models else ""


def read_config(folder: Path) -> RunConfig:
    """Raises `DataError` where the folder has none that can be used."""
    return _read(folder, {CONFIG: RunConfig})[0]


def read_metrics(folder: Path) -> RunMetrics:
    """Raises as `read_config` does."""
    return _read(folder, {METRICS: RunMetrics})[0]


def read_run(folder: Path) -> tuple[RunMetrics, RunConfig]:
    """Raises `DataError` for a folder that is not a run with results, with the faults of both files."""
    metrics, config = _read(folder, {METRICS: RunMetrics, CONFIG: RunConfig})
    return metrics, config


def _read(folder: Path, files: Mapping[str, type]) -> list[Any]:
    faults: list[str] = []
    found = []
    for name, kind in files.items():
        why = f"{folder} is not a finished run of `train heads`: no {name} in it"
        values = read_values(folder / name, why if folder.exists() else no_folder(folder))
        found.append(read_value(kind, only_known(kind, values), name.removesuffix(".json"), faults))
    refuse(faults, f"the run in {folder}", DataError)
    return found


def no_folder(run: Path) -> str:
    """What is said of a run that does not exist."""
    return f"there is no folder {run}; a run is the folder that `train heads` wrote: `train list runs .` shows those below this one"


def read_values(path: Path, missing: str = "") -> Any:
    """The unchecked values of a JSON file. Raises `DataError`, with the message `missing` where there is no such file."""
    try:
        text = require_regular(path).read_bytes()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DataError(missing or f"no file at {path}") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    return read_json(text, str(path), DataError)


def only_known(kind: Any, values: Any) -> Any:
    """Values without the entries that `kind`, a dataclass, has no field for, nor have the dataclasses in it."""
    if is_dataclass(kind) and isinstance(values, Mapping):
        hints = get_type_hints(kind)
        return {name: only_known(hints[name], value) for name, value in values.items() if name in hints}
    if get_origin(kind) is tuple and isinstance(values, list):
        return [only_known(get_args(kind)[0], value) for value in values]
    if get_origin(kind) is dict and isinstance(values, Mapping):
        return {name: only_known(get_args(kind)[1], value) for name, value in values.items()}
    inner = [one for one in get_args(kind) if is_dataclass(one)]
    return only_known(inner[0], values) if inner and isinstance(values, Mapping) else values
