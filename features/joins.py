"""Several stores become one: labels joined, recipes kept apart, and nothing taken from two that disagree."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from longtake.features.errors import FeaturesError, StoreConflict
from longtake.features.store import (
    Store,
    Stream,
    StreamPlan,
    consecutive,
    open_store,
    storage_for,
    store_exists,
    write_store,
)
from longtake.features.types import OK, FeatureHeader, LabelRow, Labels, TextFeatures
from longtake.manifests.card import Card

MAX_SHOWN = 20
RULES = ("splits", "categories", "scores", "default_scores", "window_clips", "clips", "protocol", "labels", "prompts")
"""Entries of a card by which numbers are made; the others are words about them."""


@dataclass(frozen=True)
class Merged:
    num_videos: int
    num_clips: int
    num_streams: int
    num_texts: int


def merge(sources: Sequence[Path | str], out: Path | str, *, beside: bool = False) -> Merged:
    """Stores of one dataset into a new one at `out`. Videos may be in several, when all say the same.

    Raises `StoreConflict` with the list when values, labels, cards, prompt sets or recipes differ; `beside` keeps several recipes of
    one backbone side by side. A video that failed in one store and not in another has not failed.
    """
    require_new(out)
    with ExitStack() as opened:
        stores = [opened.enter_context(open_store(source)) for source in sources]
        names = dict.fromkeys(store.dataset for store in stores)
        if len(names) > 1:
            raise StoreConflict(
                f"these are stores of different datasets: {', '.join(names)}. One store holds one dataset"
            )
        carded = [store for store in stores if store.card]
        for other in carded[1:]:
            if entries := [name for name in card_differences(carded[0].card, other.card) if name in RULES]:
                raise StoreConflict(
                    f"the cards in {carded[0].path} and {other.path} differ in {', '.join(entries)}: give both the one that is right with "
                    f"`features relabel`"
                )
        labels = stores[0].labels
        conflicts: list[str] = []
        for store in stores[1:]:
            conflicts += label_conflicts(labels, store.labels)
            labels = combine_labels(labels, store.labels)
        require_no_conflicts(conflicts, "labels")
        if not beside:
            held: list[FeatureHeader] = []
            for store in stores:
                require_one_recipe(held, [stream.header for stream in store.streams], store.path)
                held += [stream.header for stream in store.streams]
        plans = _merged_streams(stores, labels)
        texts = _merged_texts(stores)
        card = carded[0].card if carded else None
        write_store(
            out, dataset=stores[0].dataset, card=card, labels=labels, streams=plans, texts=texts,
            storage=storage_for(out, stores[0]),
        )  # fmt: skip
        counts = [item.counts for plan in plans for item in plan.items]
        return Merged(sum(map(len, counts)), int(sum(map(sum, counts))), len(plans), len(texts))


def require_new(out: Path | str) -> None:
    """Raises `FeaturesError` when a store is there, on a disk or at a URL: whole stores are made anew, never written over."""
    if store_exists(out):
        raise FeaturesError(f"{out} exists; choose another name, or remove it first")


def require_may_join(path: Path, dataset: str, card: Card | None) -> None:
    """`require_one_dataset` of the store at `path`, if there is one: for whoever has work to do before it joins."""
    if store_exists(path):
        with open_store(path) as store:
            require_one_dataset(store, dataset, card)


def require_one_dataset(store: Store, dataset: str, card: Card | None) -> None:
    """Raises `StoreConflict` where what joins a store is of another dataset. Names of tables without a card are only names of files."""
    if store.dataset != dataset and (store.card or card):
        raise StoreConflict(
            f"{store.path} is a store of {store.dataset}, and this is of {dataset}: one store holds one dataset; choose another --out"
        )


def require_one_recipe(held: Iterable[FeatureHeader], new: Iterable[FeatureHeader], where: Path | str) -> None:
    """Raises `StoreConflict` with the fields in which two recipes of one backbone differ."""
    held = list(held)
    for header in new:
        for other in held:
            if other.backbone == header.backbone and other.recipe_id != header.recipe_id:
                fields = other.differences(header).items()
                lines = "\n  ".join(f"{name}: {theirs!r} before, {ours!r} now" for name, (theirs, ours) in fields)
                raise StoreConflict(
                    f"{where}: {header.backbone} features of another recipe:\n  {lines}\nFeatures of different recipes are "
                    f"not mixed. Choose another store, or keep both side by side with --beside"
                )


def _merged_streams(stores: Sequence[Store], labels: Labels) -> list[StreamPlan]:
    streams: dict[str, list[Stream]] = {}
    for store in stores:
        for stream in store.streams:
            streams.setdefault(stream.name, []).append(stream)
    conflicts: list[str] = []
    place = {video_id: row for row, video_id in enumerate(labels.video_ids)}
    plans = []
    for name, same in sorted(streams.items()):
        dtypes = {stream.features.dtype for stream in same}
        if len(dtypes) > 1:
            raise StoreConflict(
                f"{name} is {' in one store and '.join(sorted(map(str, dtypes)))} in another: make them alike with "
                f"`features convert --dtype`"
            )
        taken: dict[str, tuple[Stream, int]] = {}
        for stream in same:
            statuses, checksums = stream.videos.statuses, stream.videos.checksums
            for row, video_id in enumerate(stream.videos.video_ids):
                if video_id in taken:
                    other, other_row = taken[video_id]
                    if other.videos.statuses[other_row] == OK:
                        if statuses[row] == OK and checksums[row] != other.videos.checksums[other_row]:
                            conflicts.append(f"{name} {video_id}: other values")
                        continue
                    if statuses[row] != OK:
                        continue
                taken[video_id] = (stream, row)
        order = sorted(taken, key=lambda video_id: (place.get(video_id, len(place)), video_id))
        plans.append(StreamPlan(same[0].header, dtypes.pop(), consecutive(taken[video_id] for video_id in order)))
    require_no_conflicts(conflicts, "features")
    return plans


def _merged_texts(stores: Sequence[Store]) -> list[TextFeatures]:
    taken: dict[tuple[str, str], TextFeatures] = {}
    for store in stores:
        for text in store.texts:
            other = taken.setdefault((text.name, text.header.recipe_id), text)
            if not other.equals(text):
                raise StoreConflict(f"{store.path}: prompt set {text.name}@{text.header.recipe_id} with other values")
    return list(taken.values())


def combine_labels(*newest_first: Labels) -> Labels:
    """All videos of all of them; where several know one, the newest says what it says anything of. Score columns and boundaries are
    joined."""
    names = tuple(dict.fromkeys(name for labels in newest_first for name in labels.score_names))
    num_boundaries = max(labels.boundaries.shape[1] for labels in newest_first)
    rows: dict[str, tuple[str, str, np.ndarray, np.ndarray]] = {}
    for labels in newest_first:
        columns = [names.index(name) for name in labels.score_names]
        for index, video_id in enumerate(labels.video_ids):
            scores, boundaries = np.full(len(names), np.nan), np.full(num_boundaries, np.nan)
            scores[columns] = labels.scores[index]
            boundaries[: labels.boundaries.shape[1]] = labels.boundaries[index]
            split, category = labels.splits[index], labels.categories[index]
            if video_id in rows:
                new_split, new_category, new_scores, new_boundaries = rows[video_id]
                split, category = new_split or split, new_category or category
                scores = np.where(np.isnan(new_scores), scores, new_scores)
                # The ends of stages are one list: those of two labellings do not mix.
                boundaries = boundaries if np.isnan(new_boundaries).all() else new_boundaries
            rows[video_id] = (split, category, scores, boundaries)
    splits, categories, scores, boundaries = zip(*rows.values()) if rows else ((), (), (), ())
    return Labels(
        tuple(rows), splits, categories, names, np.array(scores).reshape(len(rows), len(names)),
        np.array(boundaries).reshape(len(rows), num_boundaries),
    )  # fmt: skip


def card_differences(one: Card | None, other: Card | None) -> list[str]:
    """Names of the entries in which two cards differ."""
    return [f.name for f in fields(Card) if getattr(one, f.name, None) != getattr(other, f.name, None)]


def label_conflicts(one: Labels, other: Labels) -> list[str]:
    """What two sets of labels say differently about the same videos, a line each."""
    rows = {video_id: index for index, video_id in enumerate(other.video_ids)}
    found = []
    for index, video_id in enumerate(one.video_ids):
        if video_id in rows and one.row(index) != other.row(rows[video_id]):
            found.append(f"{video_id}: {_said(one.row(index))} against {_said(other.row(rows[video_id]))}")
    return found


def _said(row: LabelRow) -> str:
    numbers = [f"{name} {value:.8g}" for name, value in row.scores.items()]
    numbers += [f"boundary {number} {value:.8g}" for number, value in enumerate(row.boundaries, 1)]
    return ", ".join(part for part in (row.split, row.category, *numbers) if part) or "nothing"


def require_no_conflicts(conflicts: list[str], what: str) -> None:
    if conflicts:
        shown = "\n  ".join(conflicts[:MAX_SHOWN])
        more = f"\n  and {len(conflicts) - MAX_SHOWN} more" if len(conflicts) > MAX_SHOWN else ""
        raise StoreConflict(f"{what} differ for {len(conflicts)} videos:\n  {shown}{more}")
