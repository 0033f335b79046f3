"""The stores that a bench learns from, and what a cell has learnt from one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from longtake.checks import read_value, refuse
from longtake.errors import LongtakeError, there_are
from longtake.features.labels import Labels
from longtake.features.store import Store, open_store
from longtake.features.types import TextFeatures, recipe_hash
from longtake.files import write_whole
from longtake.manifests.card import Card
from longtake.train.bench.file import DatasetEntry, HeadEntry, SplitEntry
from longtake.train.bench.reads import Reads, reads_of
from longtake.train.errors import DataError
from longtake.train.runs.records import read_values

SOURCES = "sources.json"
"""In a bench's folder: the stores that it learns from, so that its table can be made without them."""


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
    further: str = ""
    """Hash of what the head reads in addition: further streams, texts and groups; empty for nothing, and where an earlier version finished the cell."""
    card: str = ""
    """Hash of what the card says of scores and windows; empty where an earlier version finished the cell."""


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
    others: dict[str, StreamState] = field(default_factory=dict)
    """Streams that heads read in addition."""
    texts: dict[str, str] = field(default_factory=dict)
    """Prompt set -> hash of its recipe, texts and features."""
    card: str = ""
    """As `card_id` has it; empty where an earlier version wrote this down."""

    def stamp(self, backbone: str, split: SplitEntry, head: HeadEntry) -> Stamp:
        stream = self.streams[backbone]
        of_head = self.further_id(head)
        found = self.entry.dataset, stream.recipe_id, stream.features, self.labels, self.groups_id(split)
        return Stamp(*found, of_head, self.card)

    def further_id(self, head: HeadEntry) -> str:
        """`Stamp.further` of a row of the bench."""
        reads = reads_of(head, self.entry.dataset)
        kinds = [] if reads.groups is None else reads.groups or sorted(self.groups)
        found: list[object] = [[name, self.others[name].features] for name in reads.streams if name in self.others]
        found += [[name, self.texts[name]] for name in reads.texts if name in self.texts]
        found += [[kind, sorted(self.groups[kind].items())] for kind in kinds if kind in self.groups]
        return recipe_hash(found) if reads != Reads((), (), None) else ""

    def groups_id(self, split: SplitEntry) -> str:
        """Hash of the groups by which a split is cut; empty for others."""
        return recipe_hash(sorted(self.groups.get(split.group, {}).items())) if split.group else ""


def labels_id(labels: Labels) -> str:
    """Hash of ids, splits, categories, scores and boundaries. Groups are not in it: only splits by group and heads that read them depend on them."""
    digest = hashlib.sha256(
        json.dumps([*map(list, (labels.video_ids, labels.splits, labels.categories, labels.score_names))]).encode()
    )
    for values in (labels.scores, labels.boundaries):
        digest.update(np.ascontiguousarray(np.round(values, 6)).tobytes())
    return digest.hexdigest()[:16]


def read_source(entry: DatasetEntry, path: Path | str, further: Iterable[str] = ()) -> Source:
    """`further` are streams that heads read in addition. Raises `DataError` for a store of another dataset, with other labels or of other recipes
    than the bench file says."""
    with open_store(path) as store:
        names = entry.streams or [stream.name for stream in store.streams if stream.header.modality != "audio"]
        of_name = {text.name: [one for one in store.texts if one.name == text.name] for text in store.texts}
        texts = {name: texts_id(sets) for name, sets in of_name.items()}
        streams = _streams(store, names), _streams(store, further)
        found = Source(
            entry, str(path), labels_id(store.labels), _groups(store.labels), *streams, texts, card_id(store.card)
        )
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


def texts_id(texts: Sequence[TextFeatures]) -> str:
    """Hash of recipes, texts, groups and features."""
    return recipe_hash(
        [
            [
                one.header.recipe_id,
                one.texts,
                one.groups,
                hashlib.sha256(np.ascontiguousarray(one.features).tobytes()).hexdigest(),
            ]
            for one in texts
        ]
    )


def card_id(card: Card | None) -> str:
    """Hash of the ranges of scores and how they follow from judges, and of what is trained by default and on how many clips."""
    if card is None:
        return recipe_hash(None)
    scores = {
        name: [one.minimum, one.maximum, one.judges, one.drop, one.times] for name, one in sorted(card.scores.items())
    }
    return recipe_hash([scores, card.default_scores, card.window_clips, card.protocol.one_model_per])


def _groups(labels: Labels) -> dict[str, dict[str, str]]:
    return {
        name: {video: group for video, group in zip(labels.video_ids, values) if group}
        for name, values in labels.groups.items()
    }


def _streams(store: Store, names: Iterable[str]) -> dict[str, StreamState]:
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
