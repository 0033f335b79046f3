"""Merge stores of one dataset into a new store."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from longtake.features.content import StreamPlan, plan_in_order
from longtake.features.errors import StoreConflict
from longtake.features.joins import card_differences, require_new, require_no_conflicts, require_one_recipe
from longtake.features.labels import Labels, combine_labels, label_conflicts
from longtake.features.store import Store, open_store, storage_for, write_store
from longtake.features.stream import Stream
from longtake.features.types import OK, TextFeatures
from longtake.manifests.card import Card

RULES = ("splits", "categories", "scores", "default_scores", "window_clips", "clips", "protocol", "labels", "prompts")
"""Entries of a card that decide numbers; the others are descriptions."""


@dataclass(frozen=True)
class Merged:
    num_videos: int
    num_clips: int
    num_streams: int
    num_texts: int


def merge(sources: Sequence[Path | str], out: Path | str, *, beside: bool = False) -> Merged:
    """Merge stores of one dataset into a new store at `out`. A video may be in several sources if their values are equal.

    A video that failed in one source and succeeded in another counts as successful. With `beside=True`, several recipes of one backbone are kept.

    Raises `StoreConflict` with all conflicts if values, labels, cards, prompt sets or recipes differ.
    """
    require_new(out)
    with ExitStack() as opened:
        stores = [opened.enter_context(open_store(source)) for source in sources]
        names = dict.fromkeys(store.dataset for store in stores)
        if len(names) > 1:
            raise StoreConflict(
                f"these are stores of different datasets: {', '.join(names)}. One store holds one dataset"
            )
        card, labels = _one_card(stores), _one_label_set(stores)
        if not beside:
            for index, store in enumerate(stores):
                held = [stream.header for before in stores[:index] for stream in before.streams]
                require_one_recipe(held, [stream.header for stream in store.streams], store.path)
        plans, texts = _one_plan_per_stream(stores, labels), _one_text_each(stores)
        write_store(
            out, dataset=stores[0].dataset, card=card, labels=labels, streams=plans, texts=texts,
            storage=storage_for(out, stores[0]),
        )  # fmt: skip
        counts = [item.counts for plan in plans for item in plan.items]
        return Merged(sum(map(len, counts)), int(sum(map(sum, counts))), len(plans), len(texts))


def _one_card(stores: Sequence[Store]) -> Card | None:
    with_card = [store for store in stores if store.card]
    for other in with_card[1:]:
        if entries := [name for name in card_differences(with_card[0].card, other.card) if name in RULES]:
            raise StoreConflict(
                f"the cards in {with_card[0].path} and {other.path} differ in {', '.join(entries)}: give both stores the right card with "
                f"`features relabel`"
            )
    return with_card[0].card if with_card else None


def _one_label_set(stores: Sequence[Store]) -> Labels:
    labels = stores[0].labels
    conflicts: list[str] = []
    for store in stores[1:]:
        conflicts += label_conflicts(labels, store.labels)
        labels = combine_labels(labels, store.labels)
    require_no_conflicts(conflicts, "labels")
    return labels


def _one_plan_per_stream(stores: Sequence[Store], labels: Labels) -> list[StreamPlan]:
    streams: dict[str, list[Stream]] = {}
    for store in stores:
        for stream in store.streams:
            streams.setdefault(stream.name, []).append(stream)
    conflicts: list[str] = []
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
        plans.append(plan_in_order(same[0].header, dtypes.pop(), taken, labels))
    require_no_conflicts(conflicts, "features")
    return plans


def _one_text_each(stores: Sequence[Store]) -> list[TextFeatures]:
    taken: dict[str, TextFeatures] = {}
    for store in stores:
        for text in store.texts:
            other = taken.setdefault(text.full_name, text)
            if not other.equals(text):
                raise StoreConflict(f"{store.path}: prompt set {text.full_name} with other values")
    return list(taken.values())
