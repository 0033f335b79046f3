"""The configuration of a trained head: everything about it except its numbers, as JSON in its checkpoint."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial

from longtake.checks import read_fields, read_json, read_value, refuse
from longtake.features.types import FeatureHeader
from longtake.train.data.dataset import ScoreScale
from longtake.train.engine.names import model_name
from longtake.train.engine.settings import TrainSettings
from longtake.train.errors import CheckpointError
from longtake.train.heads import get_head


@dataclass(frozen=True)
class ScoredPart:
    """A category and score of one of the datasets of a unified model."""

    dataset: str
    category: str
    score: ScoreScale


@dataclass(frozen=True)
class ExemplarLabels:
    """The exemplars of a head that compares, without their clips, which are tensors of the checkpoint."""

    video_ids: tuple[str, ...]
    categories: tuple[str, ...]
    scores: dict[str, tuple[float | None, ...]]
    groups: dict[str, tuple[int, ...]]
    """Value in which videos agree -> their places among the exemplars."""
    everyone: tuple[int, ...]
    """Places of the exemplars for videos that no group fits."""


@dataclass(frozen=True)
class HeadConfig:
    head: str
    dim: int
    head_settings: dict[str, object]
    train_settings: TrainSettings
    dataset: str
    category: str
    """Empty when the dataset has no categories."""
    score: ScoreScale
    parts: tuple[ScoredPart, ...]
    """Of a unified model. Empty otherwise."""
    window: int
    """Clips per training video."""
    seed: int
    fold: int | None
    feature_header: str
    """JSON of the `FeatureHeader` of the training features."""
    recipe_id: str
    audio_header: str | None
    """The same of the second stream: the sound for heads that hear, pictures for MVLA."""
    text_recipe_id: str | None
    plugin: str | None
    plugin_settings: dict[str, object]
    terms: dict[str, list[int]]
    """Category -> its own texts, as in `Batch.terms`; empty where texts do not depend on the category."""
    random_weights: bool
    """Backbone or text encoder had random weights: results say nothing about the method."""
    versions: dict[str, str]
    folds: int = 0
    """Number of folds of the training split; 0 is the dataset's own split."""
    exemplars: ExemplarLabels | None = None
    stream_headers: dict[str, str] = field(default_factory=dict)
    """The same as `feature_header` of further streams, by name."""

    @property
    def audio_dim(self) -> int:
        return FeatureHeader.from_json(self.audio_header).dim if self.audio_header else 0

    @property
    def stream_dims(self) -> dict[str, int]:
        return {name: FeatureHeader.from_json(text).dim for name, text in self.stream_headers.items()}

    @classmethod
    def from_json(cls, text: str, where: str) -> HeadConfig:
        """Raises `CheckpointError` with every fault; `where` names the text in the message."""
        faults: list[str] = []
        made = read_fields(cls, read_json(text, where, CheckpointError), "", faults)
        headers = {name: made.get(name) for name in ("feature_header", "audio_header")} | made.get("stream_headers", {})
        for name, header in headers.items():
            if header:
                _check(partial(FeatureHeader.from_json, header, name), faults)
        if "head" in made and "head_settings" in made:
            _check(partial(_check_settings, made["head"], made["head_settings"], faults), faults)
        refuse(faults, where, CheckpointError)
        return cls(**made)

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    def tested_on(self, dataset: str) -> list[tuple[str, ScoreScale]]:
        """Categories and scales of a dataset that the head scores. Raises `CheckpointError` when there is none."""
        if not self.parts:
            return [(self.category, self.score)]
        mine = [(part.category, part.score) for part in self.parts if part.dataset == dataset]
        if not mine:
            names = ", ".join(dict.fromkeys(part.dataset for part in self.parts))
            raise CheckpointError(f"this unified head knows the scales of {names}, not of {dataset!r}")
        return mine

    @property
    def file_name(self) -> str:
        return model_name(self.category, self.score.name, self.seed, self.fold)


def _check_settings(head: str, values: object, faults: list[str]) -> None:
    read_value(get_head(head).Settings, values, "head_settings", faults)


def _check(read: Callable[[], object], faults: list[str]) -> None:
    try:
        read()
    except ValueError as error:
        faults.append(str(error))
