"""Convolutions over time that do not see padding: zeros in the padding, as behind the end of a video that is alone."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from longtake.train.heads.blocks.packing import Places


def conv(layer: nn.Conv1d, values: torch.Tensor) -> torch.Tensor:
    """`(batch, steps, inputs)` -> `(batch, steps, outputs)`."""
    return layer(values.transpose(1, 2)).transpose(1, 2)


def pool(values: torch.Tensor, places: Places) -> tuple[torch.Tensor, Places]:
    """Pairs of steps become their mean; a last step without a partner is dropped. And which of the half exist."""
    half = F.avg_pool1d(values.transpose(1, 2), 2).transpose(1, 2)
    halves = places.mask[:, 1::2]
    if places.index is None:
        return half, Places(halves, None)
    return half * halves[..., None], Places.of(halves)


def mean(values: torch.Tensor, places: Places) -> torch.Tensor:
    """Over the steps of each video: `(batch, steps, width)`, zero where there is none, -> `(batch, 1, width)`."""
    return values.sum(1, keepdim=True) / places.mask.sum(1)[:, None, None]


class ConvPair(nn.Sequential):
    """Twice a convolution over three steps, batch norm, activation; with `groups`, side by side for as many sequences."""

    def __init__(self, inputs: int, width: int, activation: type[nn.Module], groups: int = 1) -> None:
        super().__init__(
            nn.Conv1d(groups * inputs, groups * width, 3, padding=1, groups=groups), nn.BatchNorm1d(groups * width), activation(),
            nn.Conv1d(groups * width, groups * width, 3, padding=1, groups=groups), nn.BatchNorm1d(groups * width), activation(),
        )  # fmt: skip

    def over(self, values: torch.Tensor, places: Places) -> torch.Tensor:
        """`(batch, steps, groups * inputs)`, zero in the padding -> `(batch, steps, groups * width)`, likewise."""
        for index in (0, 3):
            values = places.unpack(self[index + 2](self[index + 1](places.pack(conv(self[index], values)))))
        return values
