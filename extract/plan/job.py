"""The unit of work of a plan: one video, and the backbones that its features are still missing for."""

from __future__ import annotations

from dataclasses import dataclass

from longtake.extract.backbones.spec import Backbone, BackboneSpec
from longtake.extract.preprocessing import ClipRule
from longtake.features.types import FeatureHeader
from longtake.manifests.table import ManifestRow


@dataclass(frozen=True)
class Extractor:
    """A backbone with its weights loaded, and the recipe that its features carry."""

    spec: BackboneSpec
    rule: ClipRule
    header: FeatureHeader
    backbone: Backbone
    batch_size: int
    """Clips per step."""


@dataclass(frozen=True)
class Job:
    """One video and the backbones that have no features of it yet."""

    row: ManifestRow
    extractors: tuple[Extractor, ...]
