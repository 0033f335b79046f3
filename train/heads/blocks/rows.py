"""Layers over the rows of one video or of two, as T2CR puts them together."""

from __future__ import annotations

import torch
from torch import nn

from longtake.train.heads.blocks.layers import two_layers


class SqueezeExcite(nn.Module):
    """Channels weighed by what they are on average over rows (Hu et al., CVPR 2018), through a sixteenth of them but at least `fewest`."""

    def __init__(self, width: int, fewest: int) -> None:
        super().__init__()
        inner = max(width // 16, fewest)
        self.fc = nn.Sequential(nn.Linear(width, inner, bias=False), nn.ReLU(), nn.Linear(inner, width, bias=False))

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """`(batch, rows, width)` -> the same."""
        return rows * torch.sigmoid(self.fc(rows.mean(1, keepdim=True)))


class SeparableAttention(nn.Module):
    """Rows meet through one weighted sum of all (Mehta and Rastegari, MobileViT v2, 2022), around a residual."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc_i, self.fc_k, self.fc_v, self.fc_o = (nn.Linear(width, n) for n in (1, width, width, width))
        for layer in (self.fc_i, self.fc_k, self.fc_v, self.fc_o):
            nn.init.normal_(layer.weight, std=0.001)
            nn.init.zeros_(layer.bias)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        context = (self.fc_i(rows).softmax(1) * self.fc_k(rows)).sum(1, keepdim=True)
        return rows + self.fc_o(self.fc_v(rows) * context)


class Asking(nn.Module):
    """Pre-norm cross-attention without biases of query, key and value, and feed-forward."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_q, self.norm_v, self.norm2 = (nn.LayerNorm(width) for _ in range(3))
        self.q_map, self.k_map, self.v_map = (nn.Linear(width, width, bias=False) for _ in range(3))
        self.proj = nn.Linear(width, width)
        self.mlp = two_layers(width, 4 * width, width, 0.0, nn.GELU)

    def forward(self, mine: torch.Tensor, theirs: torch.Tensor) -> torch.Tensor:
        """`(pairs, rows, width)` twice -> `(pairs, rows, width)`."""
        asked = self.norm_v(theirs)
        query, key, value = (
            layer(rows).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for layer, rows in ((self.q_map, self.norm_q(mine)), (self.k_map, asked), (self.v_map, asked))
        )
        # torch's fused attention takes longer, for heads as narrow as published.
        weights = ((query * query.shape[-1] ** -0.5) @ key.transpose(-2, -1)).softmax(-1)
        mixed = (weights @ value).transpose(1, 2).flatten(2)
        mine = mine + self.proj(mixed)
        return mine + self.mlp(self.norm2(mine))
