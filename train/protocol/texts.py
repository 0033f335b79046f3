"""Which text features an experiment's heads read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from longtake.features.store import Store
from longtake.features.types import TextFeatures
from longtake.manifests.prompts import STAGES
from longtake.train.data.dataset import FeatureSet
from longtake.train.data.prompts import build_prototypes, terms_of
from longtake.train.errors import DataError, SettingsError
from longtake.train.heads.base import Needs, Prototypes
from longtake.train.heads.plugin import Plugin
from longtake.train.protocol.settings import RunSettings


@dataclass(frozen=True)
class Texts:
    """Text features of a store; everything is None or empty where no head reads any."""

    of_head: TextFeatures | None = None
    prototypes: Prototypes | None = None
    """The groups of `of_head` that the head takes."""
    of_plugin: TextFeatures | None = None
    terms: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """Category -> indices of its own texts; empty where all categories share all texts."""

    @property
    def sets(self) -> list[TextFeatures]:
        return [one for one in (self.of_head, self.of_plugin) if one is not None]


def attach_texts(
    store: Store, data: FeatureSet, settings: RunSettings, head: tuple[str, Needs], plugin: tuple[str, Plugin, Needs] | None
) -> Texts:  # fmt: skip
    """Read what the head and the plug-in, each with its name and needs, ask for. Raises `DataError` where the store lacks it, and
    `SettingsError` where both have texts of categories and these differ."""
    of_head = prototypes = of_plugin = None
    terms: dict[str, tuple[int, ...]] = {}
    name, needs = head
    if needs.texts:
        of_head = store.text(settings.prototypes.text)
        prototypes = build_prototypes(of_head, settings.prototypes, needs.texts)
        terms = _terms(store, of_head, needs, data, name)
    if plugin is not None:
        plugin_name, kind, plugin_needs = plugin
        of_plugin = store.text(kind.prompt_set)
        own = _terms(store, of_plugin, plugin_needs, data, f"with plug-in {plugin_name}")
        if terms and own and terms != own:
            raise SettingsError(
                f"head {name} and plug-in {plugin_name} each have texts of their own for a category; take one"
            )
        terms = terms or own
    return Texts(of_head, prototypes, of_plugin, terms)


def _terms(
    store: Store, text: TextFeatures, needs: Needs, data: FeatureSet, what: str
) -> dict[str, tuple[int, ...]]:  # fmt: skip
    """Texts of the categories that have any. Texts of stages are required."""
    if not needs.terms:
        return {}
    terms = terms_of(store.card, text, needs.terms, data.categories)
    if not terms and STAGES in needs.terms:
        raise DataError(
            f"head {what} reads texts of the stages of each category, and the card in {store.path} has none in its prompt set {text.name}: "
            f"a card names the terminology of its categories, or lists them (docs/extend.md)"
        )
    return terms
