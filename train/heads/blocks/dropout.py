"""Dropout whose random numbers are cheap on a CPU. torch's own draws one number at a time there, which took a sixth of a training step."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

STEPS = 2**8
"""A probability is rounded to a multiple of 1 / STEPS, because each number takes 8 bits of torch's generator. What is kept is scaled by the
rounded one, so that means are right but for the rounding of bfloat16."""


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
    if _torchs_own(values):
        return F.dropout(values, probability)
    kept, scale = _draw(values, probability)
    return values * kept.mul_(scale)


def add_dropout(base: torch.Tensor, values: torch.Tensor, probability: float, training: bool) -> torch.Tensor:
    """`base + dropout(values)`, in one pass where both are of one type; of two, one would be copied first."""
    if not training or not probability or base.dtype != values.dtype or _torchs_own(values):
        return base + dropout(values, probability, training)
    kept, scale = _draw(values, probability)
    return torch.addcmul(base, values, kept, value=scale)


def relu_dropout(values: torch.Tensor, probability: float, training: bool) -> tuple[torch.Tensor, float]:
    """Two factors of `dropout` of the ReLU of values, which are written over: what is kept, and by how much it is to be multiplied. These are the
    widest arrays of a Transformer, so each pass over one counts, and the weights that come next are smaller."""
    if not training or not probability or _torchs_own(values):
        return dropout(torch.relu(values), probability, training), 1.0
    kept, scale = _draw(values, probability)
    return _ReluMask.apply(values, kept), scale


class _ReluMask(torch.autograd.Function):
    """The output is above zero exactly where gradients pass, so only it is kept."""

    @staticmethod
    def forward(ctx: Any, values: torch.Tensor, kept: torch.Tensor) -> torch.Tensor:
        ctx.mark_dirty(values)
        values.relu_().mul_(kept)
        ctx.save_for_backward(values)
        return values

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        (found,) = ctx.saved_tensors
        return torch.ops.aten.threshold_backward(gradient, found, 0), None


def _torchs_own(values: torch.Tensor) -> bool:
    return values.device.type != "cpu" or torch._C._functorch.is_batchedtensor(values)


def _draw(values: torch.Tensor, probability: float) -> tuple[torch.Tensor, float]:
    """1 where a value is kept and 0 elsewhere, in its shape and type, and what the kept are multiplied by."""
    dropped = max(round(probability * STEPS), 1)
    count = values.numel()
    words = torch.empty(-(-count // 8), dtype=torch.int64).random_(-(2**63), None)
    kept = torch.empty(count, dtype=values.dtype)
    torch.gt(words.view(torch.uint8)[:count], dropped - 1, out=kept)
    return kept.view(values.shape), STEPS / max(STEPS - dropped, 1)
