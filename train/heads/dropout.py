"""Dropout whose random numbers are cheap on a CPU. torch's own draws one number at a time there, which took a sixth of a training step."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

STEPS = 2**16
"""A probability is rounded to a multiple of 1 / STEPS, because each number takes 16 bits of torch's generator."""


class Dropout(nn.Dropout):
    """`nn.Dropout` by `dropout`."""

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return dropout(values, self.p, self.training)


def dropout(values: torch.Tensor, probability: float, training: bool) -> torch.Tensor:
    """Values times 0 with this probability, times `1 / (1 - probability)` otherwise; as they are where nothing is trained.

    The numbers follow from `torch.manual_seed`, but are others than those of `nn.Dropout`. On a GPU, and for models that are stacked, it is torch's own.
    """
    if not training or not probability:
        return values
    if values.device.type != "cpu" or torch._C._functorch.is_batchedtensor(values):
        return F.dropout(values, probability)
    return values * _factors(values.shape, probability, values.dtype)


def _factors(shape: torch.Size, probability: float, dtype: torch.dtype) -> torch.Tensor:
    dropped = max(round(probability * STEPS), 1)
    count = shape.numel()
    words = torch.empty(-(-count // 4), dtype=torch.int64).random_(-(2**63), None)
    factors = torch.empty(count, dtype=dtype)
    torch.gt(words.view(torch.int16)[:count], dropped - 1 - STEPS // 2, out=factors)
    return factors.mul_(STEPS / max(STEPS - dropped, 1)).view(shape)
