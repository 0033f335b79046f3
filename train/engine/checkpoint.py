"""A trained head on disk: safetensors for the numbers, JSON in its header for everything needed to use it again.

Loading runs no code from the file. The features it was trained on are named by their `recipe_id`; features of another recipe are
refused, with the fields that differ.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from safetensors import SafetensorError

from longtake.errors import there_are
from longtake.features.types import FeatureHeader
from longtake.train.data.exemplars import ExemplarPool
from longtake.train.engine.head_config import HeadConfig
from longtake.train.engine.saved_exemplars import EXEMPLARS, describe
from longtake.train.engine.sealed import read_sealed, write_sealed
from longtake.train.errors import CheckpointError
from longtake.train.heads import get_head
from longtake.train.heads.base import Head, Prototypes
from longtake.train.heads.plugin import PREFIX, plugin_of_state

KIND = "longtake-head"
"""Format 2 has a checksum; 1 had none."""
REPEATED = ("layers", "blocks", "depth")
"""Ends of the names of settings that count modules of a head; each module has tensors."""
TEXTS = "_texts"
"""End of the names of buffers in which heads keep their texts, so that a head needs nothing but its checkpoint."""


def save_checkpoint(path: Path, head: Head, config: HeadConfig, exemplars: ExemplarPool | None = None) -> None:
    """A checkpoint that exists is complete."""
    tensors, described = describe(exemplars) if exemplars else ({}, None)
    config = replace(config, exemplars=described)
    path.parent.mkdir(parents=True, exist_ok=True)
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in head.state_dict().items()}
    write_sealed(path, state | tensors, {"format": f"{KIND}-2", "config": config.to_json()})


def load_checkpoint(path: Path) -> tuple[Head, HeadConfig]:
    """The head, in evaluation mode on the CPU, and its configuration. Raises `CheckpointError`."""
    try:
        tensors, metadata = read_sealed(path, KIND)
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(
            f"{path} is not a checkpoint of `train heads`, or is damaged: {error}. Published checkpoints are read by train import-checkpoint"
        ) from error
    state = {name: tensor for name, tensor in tensors.items() if not name.startswith(EXEMPLARS)}
    config = HeadConfig.from_json(metadata.get("config", ""), f"the configuration in {path}")
    try:
        return build_from_state(config, state), config
    except Exception as error:  # an untrusted file can be wrong in any way
        said = str(error) or type(error).__name__
        raise CheckpointError(f"{path} does not describe a head of this release: {said}") from error


def build_from_state(config: HeadConfig, state: dict[str, torch.Tensor]) -> Head:
    """The head with these weights, in evaluation mode. Raises `ValueError` where their sizes differ from those in the configuration, before
    memory of these sizes is allocated."""
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


def with_first_weights(head: Head, config: HeadConfig) -> Head:
    """The head before training, in evaluation mode on the CPU: with the weights that the seed of its training gives it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        return _build(config, head.state_dict()).eval()


def _shapes(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Size]:
    return {name: value.shape for name, value in state.items()}


def _build(config: HeadConfig, state: dict[str, torch.Tensor]) -> Head:
    head_class = get_head(config.head)
    texts = {
        name.removeprefix("host.").removesuffix(TEXTS): value.numpy()
        for name, value in state.items()
        if name.endswith(TEXTS) and not name.startswith(PREFIX)
    }
    prototypes = Prototypes(texts, config.random_weights) if texts else None
    settings = head_class.Settings(**config.head_settings)
    head = head_class(config.dim, settings, prototypes, config.audio_dim, config.stream_dims)
    if config.plugin:
        plugin, plugin_texts = plugin_of_state(config.plugin, state)
        plugin_settings = plugin.kind.Settings(**config.plugin_settings)
        head = plugin.kind(head, config.dim, plugin_texts, config.audio_dim, plugin_settings)
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
