"""Put corrected labels and the current card of the dataset into a store."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from longtake.features.errors import FeaturesError
from longtake.features.labels import labels_of
from longtake.features.parts import pack_or_wait
from longtake.features.store import open_store
from longtake.manifests.card import dataset_names, find_card
from longtake.manifests.table import find_manifest, read_manifest


@dataclass(frozen=True)
class Relabelled:
    changed: tuple[str, ...]
    """Videos whose labels are now different."""
    added: tuple[str, ...]
    card_changed: bool


def relabel(path: Path, source: str | Path) -> Relabelled:
    """Take labels from the table of a dataset, given by name, or from a CSV file, given as a path.

    Features do not change, and neither do labels for which the source has no value. Raises `FeaturesError` for labels of another
    dataset, or if another process holds the lock of the store.
    """
    with open_store(path) as store:
        dataset, before, card, card_json = store.dataset, store.labels.rows(), store.card, store.card_json
    if card is not None and dataset in dataset_names():
        card = find_card(dataset)
    corrected = read_manifest(source, card) if isinstance(source, Path) else find_manifest(source)
    is_other_dataset = isinstance(source, str) and corrected.name != dataset
    if is_other_dataset or not {row.video_id for row in corrected.rows}.intersection(before):
        raise FeaturesError(f"{path} is a store of {dataset}; these labels are of {corrected.name}")
    pack_or_wait(path, dataset=dataset, card=corrected.card, labels=labels_of(corrected)).require_published(path)
    with open_store(path) as store:
        after = store.labels.rows()
        return Relabelled(
            tuple(name for name, row in after.items() if name in before and before[name] != row),
            tuple(name for name in after if name not in before),
            store.card_json != card_json,
        )
