"""A trained head on disk: safetensors for the numbers, JSON in its header for everything needed to use it again.

Loading runs no code from the file. The features it was trained on are named by their `recipe_id`; features of another
recipe are refused, with the fields that differ.
"""

from __future__ import annotations

import json
import os
import re
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from features.types import FeatureHeader
from manifests.errors import there_are
from train.dataset import ScoreScale
from train.errors import CheckpointError
from train.heads import get_head
from train.heads.plugin import PLUGINS
from train.prototypes import Prototypes
from train.settings import TrainSettings

FORMAT = "longtake-head-1"
TEXTS = "_texts"
"""How the buffers end in which heads keep their texts, so that a checkpoint is all that a head needs."""


@dataclass(frozen=True)
class HeadConfig:
    """Everything about a trained head but its numbers."""

    head: str
    dim: int
    head_settings: dict[str, object]
    train_settings: dict[str, object]
    dataset: str
    category: str
    """Empty when the dataset has no categories."""
    score: dict[str, object]
    """Fields of `ScoreScale`."""
    parts: list[dict[str, object]]
    """Of a unified model, for each part its `dataset`, `category` and `score`, as above. Empty otherwise."""
    window: int
    seed: int
    fold: int | None
    feature_header: str
    """JSON of the `FeatureHeader` of the training features."""
    recipe_id: str
    audio_header: str | None
    """The same of the second stream: the sound for heads that hear, pictures for MVLA."""
    text_recipe_id: str | None
    plugin: str | None
    random_weights: bool
    """Backbone or text encoder had random weights: results say nothing about the method."""
    versions: dict[str, str]

    @property
    def scale(self) -> ScoreScale:
        return ScoreScale(**self.score)

    def tested_on(self, dataset: str) -> list[tuple[str, ScoreScale]]:
        """Categories and scales of a dataset that the head scores. Raises `CheckpointError` when there is none."""
        if not self.parts:
            return [(self.category, self.scale)]
        mine = [(part["category"], ScoreScale(**part["score"])) for part in self.parts if part["dataset"] == dataset]
        if not mine:
            names = ", ".join(dict.fromkeys(part["dataset"] for part in self.parts))
            raise CheckpointError(f"this unified head knows the scales of {names}, not of {dataset!r}")
        return mine

    @property
    def settings(self) -> TrainSettings:
        return TrainSettings(**self.train_settings)

    @property
    def file_name(self) -> str:
        return model_name(self.category, str(self.score["name"]), self.seed, self.fold)


def unit_name(category: str, score: str) -> str:
    """Of files and folders: categories and scores come from stores of strangers, and lead out of no folder."""
    return "-".join(_plain(part) for part in (category, score) if part)


def model_name(category: str, score: str, seed: int, fold: int | None) -> str:
    return f"{unit_name(category, score)}-seed{seed}" + ("" if fold is None else f"-fold{fold}")


def _plain(text: str) -> str:
    spaced = text.replace(" ", "_")
    plain = re.sub(r"[^\w.+-]", "_", spaced)
    # Two names that lose different characters stay two.
    return plain if plain == spaced else f"{plain}-{zlib.crc32(text.encode()):08x}"


def save_checkpoint(path: Path, head: nn.Module, config: HeadConfig) -> None:
    """Written beside its name and renamed, so that a checkpoint that exists is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in head.state_dict().items()}
    save_file(state, temporary, metadata={"format": FORMAT, "config": json.dumps(asdict(config))})
    os.replace(temporary, path)


def load_checkpoint(path: Path) -> tuple[nn.Module, HeadConfig]:
    """The head, in evaluation mode on the CPU, and its configuration. Raises `CheckpointError`."""
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            state = {name: file.get_tensor(name) for name in file.keys()}
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} is not a checkpoint of `train heads`: {error}") from error
    if metadata.get("format") != FORMAT:
        raise CheckpointError(
            f"{path} is of format {metadata.get('format')!r}; {FORMAT} expected. Published checkpoints come in through "
            f"train import-checkpoint"
        )
    try:
        config = HeadConfig(**json.loads(metadata["config"]))
        return build_from_state(config, state), config
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"{path} does not describe a head of this release: {error}") from error


def build_from_state(config: HeadConfig, state: dict[str, torch.Tensor]) -> nn.Module:
    head_class = get_head(config.head)
    texts = {
        name.removeprefix("host.").removesuffix(TEXTS): value.numpy()
        for name, value in state.items()
        if name.endswith(TEXTS)
    }
    audio_dim = FeatureHeader.from_json(config.audio_header).dim if config.audio_header else 0
    prototypes = Prototypes(texts, config.random_weights) if texts else None
    head = head_class(config.dim, head_class.Settings(**config.head_settings), prototypes, audio_dim)
    if config.plugin:
        head = PLUGINS[config.plugin].kind(head, config.dim, state[f"plugin{TEXTS}"], audio_dim)
    head.load_state_dict(state)
    return head.eval()


def require_same_recipe(trained_on: str, header: FeatureHeader, what: str, accept: Sequence[str] = ()) -> None:
    """A head only knows features made as its own were. Raises `CheckpointError` naming the fields that differ, but for
    those of `accept`."""
    theirs = FeatureHeader.from_json(trained_on)
    known = theirs.to_dict()
    for name in accept:
        if name not in known:
            raise CheckpointError(f"a recipe has no field {name!r}{there_are(name, known)}")
    differences = {name: both for name, both in theirs.differences(header).items() if name not in accept}
    if differences:
        lines = [f"{name}: trained on {a!r}, here {b!r}" for name, (a, b) in differences.items()]
        raise CheckpointError(f"{what} was made by another recipe than the head's features:\n  " + "\n  ".join(lines))
