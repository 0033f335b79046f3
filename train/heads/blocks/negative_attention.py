"""Attention to what is unlike the query (Zeng and Zheng, Multimodal Action Quality Assessment, IEEE TIP 2024)."""

from __future__ import annotations

import torch
from torch import nn

from longtake.train.heads.blocks.dropout import Dropout


class NegativeAttention(nn.Module):
    """A step asks for what resembles it least: softmax(-q k / sqrt(d)) over n choices of the same step."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, Dropout(dropout)
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))

    def forward(self, query: torch.Tensor, choices: torch.Tensor, allowed: torch.Tensor | None = None) -> torch.Tensor:
        """`(batch, steps, width)`, `(batch, steps, n, width)` and what is added to the logits, `(batch, steps, n)` -> `(batch, steps, width)`."""
        asked = self.query(query).unflatten(-1, (self.heads, -1))
        keys, values = (layer(choices).unflatten(-1, (self.heads, -1)) for layer in (self.key, self.value))
        logits = -torch.einsum("bthd,btnhd->bthn", asked, keys) / asked.shape[-1] ** 0.5
        if allowed is not None:
            logits = logits + allowed[:, :, None]
        return torch.einsum("bthn,btnhd->bthd", self.dropout(logits.softmax(-1)), values).flatten(2)
