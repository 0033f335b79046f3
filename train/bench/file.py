"""The bench file: what is compared, as a TOML file that others can run and add to.

Datasets with their stores, ways to split their videos, and heads with their settings; the bench is every head on every dataset and stream
of features, by every split and seed. All faults of a file are reported together, before anything is trained.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from longtake.checks import read_fields, refuse
from longtake.errors import LongtakeError, there_are
from longtake.files import require_regular
from longtake.train.errors import DataError, SettingsError
from longtake.train.heads import get_head
from longtake.train.heads.plugin import plugin_for
from longtake.train.protocol.options import GROUPS, LEAVE_ONE_OUT, PUBLISHED, parse_streams
from longtake.train.protocol.settings import build_settings, settings_kinds

FOLDER = Path(__file__).with_name("files")
"""Of the bench files that are installed."""
METRICS = {"spearman": "rho", "within_group": "rho within groups", "mse": "MSE", "relative_l2": "R-l2 x100"}
"""Name in a bench file -> name in a table."""


@dataclass(frozen=True)
class Choice:
    """One way to set a head."""

    preset: str = PUBLISHED
    text: str = ""
    """Prompt set; empty for the head's own."""
    plugin: str = ""
    settings: dict[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, value in self.settings.items():
            if not isinstance(value, (str, int, float, bool)):
                raise ValueError(f"settings.{name} must be text, a number, or true or false, got {value!r}")


@dataclass(frozen=True)
class HeadEntry(Choice):
    """A row of the table: a head with one way to set it, or with several, of which inner folds choose."""

    name: str = ""
    head: str = ""
    """Empty where the row's name is the head's."""
    audio: str = ""
    """Backbone of a second stream."""
    streams: tuple[str, ...] = ()
    """Further streams as NAME=BACKBONE."""
    choices: tuple[Choice, ...] = ()
    """Ways to choose from. What is above is then that of none."""
    inner_folds: int = 3
    """Folds of each outer fold's training videos, by which a way is chosen."""
    about: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.choices and (self.settings or self.preset != PUBLISHED):
            raise ValueError("preset and settings go into each of choices")
        if len(self.choices) == 1:
            raise ValueError("choices takes two or more; one way to set a head goes into the entry itself")
        if self.inner_folds < 2:
            raise ValueError(f"inner_folds must be 2 or more, got {self.inner_folds}")
        object.__setattr__(self, "head", self.head or self.name)

    @property
    def ways(self) -> tuple[Choice, ...]:
        return self.choices or (Choice(self.preset, self.text, self.plugin, self.settings),)


@dataclass(frozen=True)
class SplitEntry:
    """How videos are split into training and test."""

    name: str
    folds: int | str = 0
    """Of the training split; 0 for the dataset's own split. `groups` leaves one group out at a time, `leave-one-out` one video."""
    group: str = ""
    """No group of this name is in both parts of a fold."""
    about: str = ""

    def __post_init__(self) -> None:
        if isinstance(self.folds, str) and self.folds not in (GROUPS, LEAVE_ONE_OUT):
            raise ValueError(f'folds must be a whole number, "{GROUPS}" or "{LEAVE_ONE_OUT}", got {self.folds!r}')
        if isinstance(self.folds, int) and (self.folds < 0 or self.folds == 1):
            raise ValueError(f"folds must be 0, for the dataset's own split, or 2 or more, got {self.folds}")
        if self.group and self.folds in (0, LEAVE_ONE_OUT) or self.folds == GROUPS and not self.group:
            raise ValueError('group goes with a number of folds or "groups", and "groups" with a group')


@dataclass(frozen=True)
class DatasetEntry:
    name: str
    features: str
    """The store, a path or a URL; `--features` names another."""
    dataset: str = ""
    """Of the store; empty where it is the entry's name."""
    streams: tuple[str, ...] = ()
    """Streams of features that every head is trained on; empty for all but sound."""
    labels: str = ""
    """Hash of the labels; another is refused."""
    recipes: dict[str, str] = field(default_factory=dict)
    """Stream -> id of its recipe; another is refused."""
    categories: tuple[str, ...] = ()
    scores: tuple[str, ...] = ()
    resample: str = ""
    """Group whose videos are drawn together for intervals."""
    within: str = ""
    """Group inside which `within_group` ranks videos."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "dataset", self.dataset or self.name)


@dataclass(frozen=True)
class Bench:
    title: str
    datasets: dict[str, DatasetEntry]
    splits: dict[str, SplitEntry]
    heads: dict[str, HeadEntry]
    about: str = ""
    seeds: int = 1
    """Of heads in which something is random: those with gradient steps."""
    metrics: tuple[str, ...] = ("spearman", "mse")
    """Columns; the first ranks."""
    settings: dict[str, object] = field(default_factory=dict)
    """Of all heads that are trained by gradient steps, unless their own say otherwise."""

    def settings_of(self, entry: HeadEntry) -> HeadEntry:
        """The entry with the settings of all in it."""
        if get_head(entry.head).closed_form:
            return entry
        if entry.choices:
            return replace(entry, choices=tuple(replace(c, settings=self.settings | c.settings) for c in entry.choices))
        return replace(entry, settings=self.settings | entry.settings)


def find_bench(name: str) -> Path:
    """A bench file by its path, or an installed one by its name. Raises `SettingsError`."""
    known = {path.stem: path for path in sorted(FOLDER.glob("*.toml"))}
    path = Path(name)
    if path.exists() and not path.is_dir():
        return path
    if name not in known:
        raise SettingsError(f"no bench file at {name}, and none of that name is installed{there_are(name, known)}")
    return known[name]


def read_bench(path: Path) -> Bench:
    """Raises `DataError` with all faults of the file."""
    try:
        values = tomllib.loads(require_regular(path).read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is damaged: {error}") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    faults: list[str] = []
    made = read_fields(Bench, values, "", faults)
    faults += _faults(made)
    refuse(faults, str(path), DataError)
    return Bench(**made)


def _faults(made: Mapping[str, Any]) -> Iterator[str]:
    for name in ("datasets", "splits", "heads", "metrics"):
        if name in made and not made[name]:
            yield f"{name} is empty"
    if made.get("seeds", 1) < 1:
        yield f"seeds must be 1 or more, got {made['seeds']}"
    for name in made.get("metrics", ()):
        if name not in METRICS:
            yield f"metrics: no metric is called {name!r}{there_are(name, METRICS)}"
    common = made.get("settings", {})
    for entry in made.get("heads", {}).values():
        for number, way in enumerate(entry.ways):
            place = f"heads.{entry.name}" + (f".choices[{number}]" if entry.choices else "")
            for dataset in made.get("datasets", {}).values():
                fault = _fault_of(entry, way, dataset.dataset, common)
                if fault:
                    yield f"{place}: {fault}"
                    break


def _fault_of(entry: HeadEntry, way: Choice, dataset: str, common: Mapping[str, object]) -> str:
    """Why a head cannot have these settings; empty where it can."""
    try:
        head = get_head(entry.head)
        plugin = plugin_for(way.plugin, {}).kind if way.plugin else None
        parse_streams(entry.audio or None, entry.streams)
        settings = {} if head.closed_form else dict(common)
        build_settings(entry.head, dataset, "", settings | way.settings, settings_kinds(entry.head, plugin), way.preset)
    except LongtakeError as error:
        return str(error)
    return ""
