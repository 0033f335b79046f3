"""Encode the prompts of a dataset into its store: the work of `extract text`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from longtake.extract.backbones import text_encoders
from longtake.extract.backbones.download import Progress
from longtake.extract.errors import ExtractError
from longtake.features.joins import require_may_join
from longtake.features.parts import add_text
from longtake.features.store import check_store_name, open_store, store_exists
from longtake.features.types import TextFeatures
from longtake.manifests.card import find_card
from longtake.manifests.prompts import PromptSet


def encode_prompts(
    dataset: str,
    out: Path,
    *,
    encoder: str = "clip",
    weights: str | None = None,
    prompt_sets: Sequence[str] = (),
    on_download: Progress | None = None,
) -> Iterator[TextFeatures]:
    """Add the text features of each prompt set to the store, and yield them; no `prompt_sets` is all of them.

    Raises `ExtractError` for a prompt set that the dataset does not have, and where its texts cannot be composed.
    """
    card = find_card(dataset)
    unknown = [name for name in prompt_sets if name not in card.prompts]
    if unknown:
        raise ExtractError(
            f"{dataset} has no prompt set {', '.join(unknown)}; it has {', '.join(card.prompts) or 'none'}"
        )
    if not card.prompts:
        raise ExtractError(f"the card of {dataset} has no prompts to encode")
    check_store_name(out)
    require_may_join(out, card.name, card)
    for name in prompt_sets or card.prompts:
        prompts = _composed(card.prompts[name], card.name, out)
        features, header = text_encoders.encode_texts(
            prompts.texts, encoder=encoder, weights=weights, on_progress=on_download
        )
        groups = tuple(group for group, texts in prompts.groups.items() for _ in texts)
        encoded = TextFeatures(name, header, prompts.texts, groups, features)
        add_text(out, card.name, card, encoded)
        yield encoded


def _composed(prompts: PromptSet, dataset: str, out: Path) -> PromptSet:
    """The prompt set with its texts; where they are composed for categories, for those of the store."""
    if prompts.groups:
        return prompts
    categories: dict[str, None] = {}
    if store_exists(out):
        with open_store(out) as store:
            categories = dict.fromkeys(filter(None, store.labels.categories))
    if not categories:
        raise ExtractError(
            f"the texts of prompt set {prompts.name} are composed for the categories of {dataset}'s videos, and {out} has none: "
            f"extract or import features with their labels first"
        )
    return prompts.composed_for(categories)
