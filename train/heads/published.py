"""What published implementations share: how their weights come under our names and shapes, and the setting for their defects."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class WithDefects:
    """Base of the settings of heads whose published code has defects, which are off unless they are asked for."""

    mask: bool = True
    """False feeds the zeros of padding to the network, as the published code does."""
    published_defects: bool = False
    """Do what the published code does and did not mean to do: unmasked padding, and what the head's docstring names."""

    @property
    def sees_padding(self) -> bool:
        return self.published_defects or not self.mask


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


def substitute(state: Mapping[str, torch.Tensor], patterns: Sequence[tuple[str, str]]) -> dict[str, torch.Tensor]:
    """Published names to ours by regular expressions, one after the other on each name."""
    made = {}
    for name, value in state.items():
        for pattern, ours in patterns:
            name = re.sub(pattern, ours, name)
        made[name] = value
    return made


def num_modules(state: Mapping[str, torch.Tensor], prefix: str) -> int:
    """How many modules a list of modules has, by the names of its weights: `decoder.layers.` of `decoder.layers.1.norm.bias` and others."""
    return len({name[len(prefix) :].split(".")[0] for name in state if name.startswith(prefix)})


def size(state: Mapping[str, torch.Tensor], name: str, axis: int = 0) -> int | None:
    """Length of an axis of a weight; None where the weight or the axis is missing."""
    shape = state[name].shape if name in state else ()
    return shape[axis] if len(shape) > axis else None
