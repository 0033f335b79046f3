"""Rules for what may join a store: features and labels of one dataset, one recipe per backbone, and no conflicting values."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import fields
from pathlib import Path

from longtake.errors import listed
from longtake.features.errors import FeaturesError, StoreConflict
from longtake.features.store import Store, open_store, store_exists
from longtake.features.types import FeatureHeader, TextFeatures
from longtake.manifests.card import Card


def require_new(out: Path | str) -> None:
    """Raise `FeaturesError` if a store exists at `out`, a path or URL: commands that make a whole store never overwrite one."""
    if store_exists(out):
        raise FeaturesError(f"{out} exists; choose another name, or remove it first")


def require_may_join(path: Path, dataset: str, card: Card | None) -> None:
    """`require_one_dataset` of the store at `path`, if it exists. Long work checks this before it starts."""
    if store_exists(path):
        with open_store(path) as store:
            require_one_dataset(store, dataset, card)


def require_one_dataset(store: Store, dataset: str, card: Card | None) -> None:
    """Raise `StoreConflict` if what joins the store is of another dataset. Without a card, the name is only that of a file."""
    if store.dataset != dataset:
        require_dataset(store.path, store.dataset, store.card is not None, dataset, card)


def require_dataset(path: Path | str, held: str, has_card: bool, dataset: str, card: Card | None) -> None:
    """`require_one_dataset` of a dataset that is known by its name."""
    if held != dataset and (has_card or card):
        raise StoreConflict(
            f"{path} is a store of {held}, and this is of {dataset}: one store holds one dataset; choose another --out"
        )


def require_one_recipe(held: Iterable[FeatureHeader], new: Iterable[FeatureHeader], where: Path | str) -> None:
    """Raise `StoreConflict` with the fields in which two recipes of one backbone differ."""
    held = list(held)
    for header in new:
        for other in held:
            if other.backbone == header.backbone and other.recipe_id != header.recipe_id:
                differing = other.differences(header).items()
                lines = "\n  ".join(f"{name}: {theirs!r} before, {ours!r} now" for name, (theirs, ours) in differing)
                raise StoreConflict(
                    f"{where}: {header.backbone} features of another recipe:\n  {lines}\nFeatures of different recipes are "
                    f"not mixed. Choose another store, or keep both side by side with --beside"
                )


def require_no_conflicts(conflicts: Sequence[str], what: str) -> None:
    """Raise `StoreConflict` with the first conflicts, one line per video."""
    if conflicts:
        raise StoreConflict(f"{what} differ for {len(conflicts)} videos:{listed(conflicts)}")


def card_differences(one: Card | None, other: Card | None) -> list[str]:
    """Names of the entries in which two cards differ."""
    return [f.name for f in fields(Card) if getattr(one, f.name, None) != getattr(other, f.name, None)]


def combine_texts(new: Iterable[TextFeatures], held: Iterable[TextFeatures]) -> list[TextFeatures]:
    """All prompt sets; a new one replaces one of the same name and recipe."""
    new = list(new)
    replaced = {text.full_name for text in new}
    return [*new, *(text for text in held if text.full_name not in replaced)]
