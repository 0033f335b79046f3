"""Layers that published modules share, from torch's own."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn


def convolutions(*widths: int, ends: bool = True) -> nn.Sequential:
    """1x1 convolutions with batch norm and ReLU; the last without ReLU if not `ends`."""
    layers: list[nn.Module] = []
    for one, other in zip(widths, widths[1:]):
        layers += [nn.Conv1d(one, other, 1), nn.BatchNorm1d(other), nn.ReLU()]
    return nn.Sequential(*(layers if ends else layers[:-1]))


def window(clips: torch.Tensor, rows: int) -> torch.Tensor:
    """The first clips of a longer video, zeros at the end of a shorter one."""
    return F.pad(clips, (0, 0, 0, max(rows - clips.shape[1], 0)))[:, :rows]


def mlp(*widths: int, activation: type[nn.Module] = nn.ReLU) -> nn.Sequential:
    layers: list[nn.Module] = []
    for one, other in zip(widths, widths[1:]):
        layers += [nn.Linear(one, other), activation()]
    return nn.Sequential(*layers[:-1])
