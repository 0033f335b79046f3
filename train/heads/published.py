"""Weights of published checkpoints: from their names and shapes to ours."""

from __future__ import annotations

from collections.abc import Mapping

import torch


def rename(state: Mapping[str, torch.Tensor], key_map: Mapping[str, str | None]) -> dict[str, torch.Tensor]:
    """Published names to ours; 1x1 convolutions become linear layers. Names that the map lacks stay as they are, and those
    that it maps to None are left out: weights that no path from clips to score meets."""
    renamed = {}
    for name, value in state.items():
        new: str | None = name
        for published, ours in key_map.items():
            if name == published or (published.endswith(".") and name.startswith(published)):
                new = None if ours is None else ours + name[len(published) :]
                break
        if new is None:
            continue
        renamed[new] = value.squeeze(-1) if value.dim() == 3 and value.shape[-1] == 1 else value
    return renamed


def num_modules(state: Mapping[str, torch.Tensor], prefix: str) -> int:
    """How many modules a list of modules has, by the names of its weights: `decoder.layers.` of `decoder.layers.1.norm.bias` and others."""
    return len({name[len(prefix) :].split(".")[0] for name in state if name.startswith(prefix)})


def size(state: Mapping[str, torch.Tensor], name: str, axis: int = 0) -> int | None:
    """Length of an axis of a weight; None where there is no such weight or axis."""
    shape = state[name].shape if name in state else ()
    return shape[axis] if len(shape) > axis else None
