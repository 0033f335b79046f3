"""The cells of a bench: one head on one stream of one dataset, by one split and seed, each a run of its own.

A cell that cannot be trained, since the store lacks a stream or a package is not installed, is a row with its reason, and so is one
that fails. Nothing of that ends the bench.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from longtake.checks import build, read_value, refuse
from longtake.errors import LongtakeError, there_are
from longtake.features.labels import Labels
from longtake.features.store import Store, open_store
from longtake.features.types import recipe_hash
from longtake.files import write_whole
from longtake.terminal import finite
from longtake.train.bench.file import Bench, DatasetEntry, SplitEntry
from longtake.train.engine.names import unit_name
from longtake.train.errors import DataError, SettingsError
from longtake.train.heads import get_head
from longtake.train.runs.folder import versions
from longtake.train.runs.records import CONFIG, only_known, read_values

DONE, REASON = "bench.json", "reason.json"
"""In a cell's folder: what a finished cell is of, written last; or why it is not finished."""
SOURCES = "sources.json"
"""In a bench's folder: the stores that it learns from, so that its table can be made without them."""
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
class Stamp:
    """The state of a store that a cell has learnt from."""

    dataset: str
    recipe_id: str
    features: str
    """As `StreamState` has it."""
    labels: str
    """Hash of what `labels_id` covers."""
    groups: str = ""
    """Hash of the groups that the split uses; empty where it uses none."""


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
    leaks: tuple[str, ...] | None = None
    """What training and test videos share that flatters the result, in sentences; None where a version without this audit finished the cell."""
    versions: dict[str, str] = field(default_factory=versions)


@dataclass(frozen=True)
class Reason:
    cell: Cell
    kind: str
    reason: str


@dataclass(frozen=True)
class StreamState:
    """Of a store; empty texts where the store has no such stream."""

    recipe_id: str
    features: str
    """Hash of the recipe, the videos and their checksums."""


@dataclass(frozen=True)
class Source:
    """A dataset of the bench: its store, and what it holds."""

    entry: DatasetEntry
    path: str
    labels: str
    groups: dict[str, dict[str, str]]
    """Name of a group -> video -> group; videos whose group is unknown are left out."""
    streams: dict[str, StreamState]

    def stamp(self, backbone: str, split: SplitEntry) -> Stamp:
        stream = self.streams[backbone]
        return Stamp(self.entry.dataset, stream.recipe_id, stream.features, self.labels, self.groups_id(split))

    def groups_id(self, split: SplitEntry) -> str:
        """Hash of the groups by which a split is cut; empty for others."""
        return recipe_hash(sorted(self.groups.get(split.group, {}).items())) if split.group else ""


def labels_id(labels: Labels) -> str:
    """Hash of ids, splits, categories, scores and boundaries. Groups are not in it: only splits by group depend on them."""
    digest = hashlib.sha256(
        json.dumps([*map(list, (labels.video_ids, labels.splits, labels.categories, labels.score_names))]).encode()
    )
    for values in (labels.scores, labels.boundaries):
        digest.update(np.ascontiguousarray(np.round(values, 6)).tobytes())
    return digest.hexdigest()[:16]


def read_source(entry: DatasetEntry, path: Path | str) -> Source:
    """Raises `DataError` for a store of another dataset, with other labels or of other recipes than the bench file says."""
    with open_store(path) as store:
        found = Source(entry, str(path), labels_id(store.labels), _groups(store.labels), _streams(store, entry))
        faults = []
        if store.dataset != entry.dataset:
            faults.append(f"it holds the dataset {store.dataset}")
        if entry.labels and found.labels != entry.labels:
            faults.append(f"its labels have the hash {found.labels}, the bench is of {entry.labels}")
        for stream, recipe in entry.recipes.items():
            there = found.streams[stream].recipe_id if stream in found.streams else ""
            if there and there != recipe:
                faults.append(f"its features of {stream} are of recipe {there}, the bench is of {recipe}")
        for name in filter(None, (entry.resample, entry.within)):
            if name not in found.groups:
                faults.append(
                    f"its labels have no group {name!r}{there_are(name, found.groups)}: `features relabel` adds groups"
                )
    if faults:
        raise DataError(f"{path} is not the store of {entry.name} that the bench file means:\n  " + "\n  ".join(faults))
    return found


def _groups(labels: Labels) -> dict[str, dict[str, str]]:
    return {
        name: {video: group for video, group in zip(labels.video_ids, values) if group}
        for name, values in labels.groups.items()
    }


def _streams(store: Store, entry: DatasetEntry) -> dict[str, StreamState]:
    names = entry.streams or [stream.name for stream in store.streams if stream.header.modality != "audio"]
    found = {}
    for name in names:
        try:
            stream = store.stream(name)
        except LongtakeError:
            found[name] = StreamState("", "")
            continue
        ids, checksums = stream.videos.video_ids, stream.videos.checksums
        order = store.labels.order_of(ids)  # The order in which a store has grown changes no result.
        held = [ids[row] for row in order], [str(checksums[row]) for row in order]
        found[name] = StreamState(stream.header.recipe_id, recipe_hash([stream.header.recipe_id, *held]))
    return found


def write_sources(out: Path, sources: Mapping[str, Source]) -> None:
    out.mkdir(parents=True, exist_ok=True)
    write_whole(out / SOURCES, json.dumps({name: asdict(one) for name, one in sources.items()}, indent=1) + "\n")


def read_sources(out: Path) -> dict[str, Source]:
    """Raises `DataError` for a folder that holds no bench."""
    path = out / SOURCES
    values = read_values(path, f"{out} holds no bench: no {SOURCES} in it")
    faults: list[str] = []
    found: dict[str, Source] = read_value(dict[str, Source], values, "", faults)
    refuse(faults, str(path), DataError)
    return found


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
    return done if done.taken else replace(done, taken=_taken(folder))


def _taken(folder: Path) -> dict[str, Any] | None:
    """From the run of a cell, or of its first outer fold. None where it is not known."""
    path = next(iter([*folder.glob(CONFIG), *sorted(folder.glob(f"*/*/{CONFIG}"))]), None)
    values = read_values(path) if path else None
    options = values.get("options") if isinstance(values, Mapping) else None
    if not isinstance(options, Mapping) or not {"categories", "scores"} <= options.keys():
        return None
    return {name: options[name] for name in ("categories", "scores")}


def read_reason(folder: Path) -> Reason | None:
    path = folder / REASON
    return build(Reason, only_known(Reason, read_values(path)), str(path), DataError) if path.exists() else None


def write_done(folder: Path, done: Done) -> None:
    write_whole(folder / DONE, json.dumps(finite(asdict(done)), indent=1) + "\n")
    (folder / REASON).unlink(missing_ok=True)


def write_reason(folder: Path, reason: Reason) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / REASON, json.dumps(asdict(reason), indent=1) + "\n")
