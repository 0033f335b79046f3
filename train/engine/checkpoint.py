"""A trained head on disk: safetensors for the numbers, JSON in its header for everything needed to use it again.

Loading runs no code from the file. The features it was trained on are named by their `recipe_id`; features of another
recipe are refused, with the fields that differ.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn

from longtake.errors import there_are
from longtake.features.types import FeatureHeader
from longtake.files import write_whole
from longtake.train.data.clip_table import ClipTable
from longtake.train.data.dataset import FeatureSet, ScoreScale
from longtake.train.data.exemplars import ExemplarPool
from longtake.train.engine.settings import TrainSettings
from longtake.train.errors import CheckpointError
from longtake.train.heads import get_head
from longtake.train.heads.base import Needs, Prototypes
from longtake.train.heads.plugin import PREFIX, plugin_of_state

FORMAT = "longtake-head-1"
EXEMPLARS = "exemplars/"
"""How the names of tensors begin that are no weights but exemplars."""
CHECKPOINTS = "checkpoints"
"""Their folder in that of a run."""
CONTROL = "control"
"""How the name of a model ends that was trained on shuffled labels."""
REPEATED = ("layers", "blocks", "depth")
"""How the settings end that say how many modules of a kind a head has; each has tensors."""
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
    plugin_settings: dict[str, object]
    terms: dict[str, list[int]]
    """Category -> which texts are its own, as `Batch.terms` has them; empty where all texts are everybody's."""
    random_weights: bool
    """Backbone or text encoder had random weights: results say nothing about the method."""
    versions: dict[str, str]
    folds: int = 0
    """Of the training split, where it was cut into such; 0 is the dataset's own split."""
    exemplars: dict[str, object] | None = None
    """Of a head that compares: labels and groups of its exemplars, whose clips are in the file as well."""

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

    def require_readable(self) -> None:
        """Raises whatever reading its parts raises, which a file of another release or of a stranger may hold in any form."""
        _ = self.scale, self.settings
        for dataset in {part["dataset"] for part in self.parts}:
            self.tested_on(dataset)
        for header in filter(None, (self.feature_header, self.audio_header)):
            FeatureHeader.from_json(header)

    @property
    def file_name(self) -> str:
        return model_name(self.category, str(self.score["name"]), self.seed, self.fold)


def unit_name(category: str, score: str) -> str:
    """Of files and folders: categories and scores come from stores of strangers, and lead out of no folder."""
    return "-".join(_plain(part) for part in (category, score) if part)


def model_name(category: str, score: str, seed: int, fold: int | None, control: bool = False) -> str:
    ends = ("" if fold is None else f"-fold{fold}") + (f"-{CONTROL}" if control else "")
    return f"{unit_name(category, score)}-seed{seed}{ends}"


def _plain(text: str) -> str:
    spaced = text.replace(" ", "_")
    plain = re.sub(r"[^\w.+-]", "_", spaced)
    # Two names that lose different characters stay two.
    return plain if plain == spaced else f"{plain}-{zlib.crc32(text.encode()):08x}"


def save_checkpoint(path: Path, head: nn.Module, config: HeadConfig, exemplars: ExemplarPool | None = None) -> None:
    """A checkpoint that exists is whole."""
    tensors, described = _exemplars_to_save(exemplars) if exemplars else ({}, None)
    config = replace(config, exemplars=described)
    path.parent.mkdir(parents=True, exist_ok=True)
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in head.state_dict().items()}
    write_whole(path, save(state | tensors, metadata={"format": FORMAT, "config": json.dumps(asdict(config))}))


def load_checkpoint(path: Path) -> tuple[nn.Module, HeadConfig]:
    """The head, in evaluation mode on the CPU, and its configuration. Raises `CheckpointError`."""
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            state = {name: file.get_tensor(name) for name in file.keys() if not name.startswith(EXEMPLARS)}
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} is not a checkpoint of `train heads`: {error}") from error
    if metadata.get("format") != FORMAT:
        raise CheckpointError(
            f"{path} is of format {metadata.get('format')!r}; {FORMAT} expected. Published checkpoints come in through "
            f"train import-checkpoint"
        )
    try:
        config = HeadConfig(**json.loads(metadata["config"]))
        config.require_readable()
        return build_from_state(config, state), config
    except Exception as error:  # a stranger's file can be wrong in any way
        said = str(error) or type(error).__name__
        raise CheckpointError(f"{path} does not describe a head of this release: {said}") from error


def _exemplars_to_save(pool: ExemplarPool) -> tuple[dict[str, torch.Tensor], dict[str, object]]:
    data = pool.data.take(pool.rows)
    clips, audio, frames = data.clips, data.audio, data.second_stream
    tensors: dict[str, object] = {
        "clips": clips.features, "offsets": clips.offsets, "seconds": clips.seconds, "targets01": pool.targets01,
        "boundaries": data.boundaries, "terms": data.terms, "audio": audio.features if audio else None,
    }  # fmt: skip
    if frames:
        tensors |= {
            "frames/features": frames.features,
            "frames/offsets": frames.offsets,
            "frames/seconds": frames.seconds,
        }
    described = {
        "video_ids": data.video_ids,
        "categories": data.categories.tolist(),
        "scores": {
            name: [None if np.isnan(value) else value for value in values.tolist()]
            for name, values in data.scores.items()
        },
        "groups": {key: places.tolist() for key, places in pool.groups.items()},
        "everyone": pool.everyone.tolist(),
    }
    there = {EXEMPLARS + name: torch.as_tensor(value).cpu() for name, value in tensors.items() if value is not None}
    return {name: tensor.contiguous() for name, tensor in there.items()}, described


def load_exemplars(path: Path, config: HeadConfig, needs: Needs) -> ExemplarPool | None:
    """What a head that compares compares with; None for others. Raises `CheckpointError` for a file that lacks them."""
    if needs.exemplars is None:
        return None
    if config.exemplars is None:
        raise CheckpointError(
            f"{path}: head {config.head} compares videos with exemplars, which this checkpoint does not have; `train heads` "
            f"saves them beside the weights, an imported checkpoint has none"
        )
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {n.removeprefix(EXEMPLARS): file.get_tensor(n) for n in file.keys() if n.startswith(EXEMPLARS)}
        described, count = config.exemplars, len(config.exemplars["video_ids"])
        arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
        header = FeatureHeader.from_json(config.feature_header)
        clips = ClipTable(header, tensors["clips"], arrays["offsets"], arrays["seconds"])
        audio = second_stream = None
        if config.audio_header and "audio" in tensors:
            second_header = FeatureHeader.from_json(config.audio_header)
            audio = ClipTable(second_header, tensors["audio"], clips.offsets, clips.seconds)
        if config.audio_header and "frames/features" in tensors:
            second_header = FeatureHeader.from_json(config.audio_header)
            second_stream = ClipTable(
                second_header, tensors["frames/features"], arrays["frames/offsets"], arrays["frames/seconds"]
            )
        data = FeatureSet(
            clips=clips,
            video_ids=tuple(described["video_ids"]),
            splits=np.full(count, "train", dtype=object),
            categories=np.array(described["categories"], dtype=object),
            scores={name: np.array(values, dtype=float) for name, values in described["scores"].items()},
            audio=audio,
            second_stream=second_stream,
            boundaries=arrays.get("boundaries"),
            terms=arrays.get("terms"),
        )
        groups = {key: np.array(places, int) for key, places in described["groups"].items()}
        everyone = np.array(described["everyone"], int)
        inside = all(len(p) and 0 <= p.min() and p.max() < count for p in (everyone, *groups.values()))
        by_video = data.categories, arrays["targets01"], data.boundaries, data.terms, *data.scores.values()
        same = {len(part) for part in by_video if part is not None} == {count}
        if not (inside and same and all(table.fits(count) for table in data.tables)):
            raise ValueError("its parts are of different lengths")
    except Exception as error:  # as above
        raise CheckpointError(f"{path}: its exemplars are damaged: {error}") from error
    return ExemplarPool(needs, data, np.arange(count), arrays["targets01"], groups, everyone)


def build_from_state(config: HeadConfig, state: dict[str, torch.Tensor]) -> nn.Module:
    """The head with these weights, in evaluation mode. Raises `ValueError` where they are of other sizes than the configuration says, before
    anything of these sizes is made."""
    settings = {**config.head_settings, **config.plugin_settings}
    if any(isinstance(n, int) and n > len(state) for name, n in settings.items() if name.endswith(REPEATED)):
        raise ValueError("more layers than tensors")
    with torch.device("meta"):
        shapes = _shapes(_build(config, state).state_dict())
    wrong = sorted(name for name, _ in shapes.items() ^ _shapes(state).items())
    if wrong:
        raise ValueError(f"weights and settings differ in {', '.join(dict.fromkeys(wrong[:5]))}")
    head = _build(config, state)
    head.load_state_dict(state)
    return head.eval()


def _shapes(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Size]:
    return {name: value.shape for name, value in state.items()}


def _build(config: HeadConfig, state: dict[str, torch.Tensor]) -> nn.Module:
    head_class = get_head(config.head)
    texts = {
        name.removeprefix("host.").removesuffix(TEXTS): value.numpy()
        for name, value in state.items()
        if name.endswith(TEXTS) and not name.startswith(PREFIX)
    }
    audio_dim = FeatureHeader.from_json(config.audio_header).dim if config.audio_header else 0
    prototypes = Prototypes(texts, config.random_weights) if texts else None
    head = head_class(config.dim, head_class.Settings(**config.head_settings), prototypes, audio_dim)
    if config.plugin:
        plugin, plugin_texts = plugin_of_state(config.plugin, state)
        settings = plugin.kind.Settings(**config.plugin_settings)
        head = plugin.build(head, config.dim, plugin_texts, audio_dim, settings)
    return head


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
