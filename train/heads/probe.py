"""An attentive probe: attention over the tokens, layers and clips of frozen features (as Bardes et al., V-JEPA, TMLR 2024, probe networks).

It reads rows of several tokens and layers, as `extract run --pool map:1x3x3 --layers -4,-1` stores them, in the order layers, tokens, values.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from longtake.train.errors import DataError, require_at_least
from longtake.train.heads.base import Batch, Head, HeadOutput


@dataclass(frozen=True)
class ProbeSettings:
    tokens: int = 1
    """Of a row, as the recipe of the features says."""
    layers: int = 1
    width: int = 64
    dropout: float = 0.3
    mask: bool = True
    """False feeds the zeros of padding to the network."""

    def __post_init__(self) -> None:
        require_at_least(self, tokens=1, layers=1, width=1)


class Probe(Head):
    """Weighs layers, attends to the tokens of each clip and then to the clips; plain clips are rows of one token."""

    Settings = ProbeSettings

    def build(self, dim: int, audio_dim: int) -> None:
        s = self.settings
        num_parts = s.tokens * s.layers
        if dim % num_parts:
            raise DataError(
                f"clips of {dim} values are not {s.layers} layers of {s.tokens} tokens: --set tokens=N and layers=N as the recipe of the features says"
            )
        self.norm = nn.LayerNorm(dim // num_parts)
        # The softmax over one layer or token is 1, and teaches nothing.
        self.layer_weights = nn.Parameter(torch.zeros(s.layers)) if s.layers > 1 else None
        self.project = nn.Sequential(nn.Linear(dim // num_parts, s.width), nn.GELU(), nn.Dropout(s.dropout))
        # Tokens keep their place in a row, so each has an embedding.
        self.places = nn.Parameter(torch.zeros(s.tokens, s.width))
        self.token_query = nn.Linear(s.width, 1, bias=False) if s.tokens > 1 else None
        self.clip_query = nn.Linear(s.width, 1, bias=False)
        self.score = nn.Sequential(nn.LayerNorm(s.width), nn.Linear(s.width, 1))

    def forward(self, batch: Batch) -> HeadOutput:
        s = self.settings
        rows = self.norm(batch.clips.unflatten(-1, (s.layers, s.tokens, -1)))
        if self.layer_weights is None:
            mixed = rows[:, :, 0]
        else:
            mixed = torch.einsum("bclnd,l->bcnd", rows, self.layer_weights.softmax(0))
        tokens = self.project(mixed) + self.places
        if self.token_query is None:
            clips = tokens[:, :, 0]
        else:
            clips = (self.token_query(tokens).softmax(2) * tokens).sum(2)
        attention = self.clip_query(clips)[..., 0].masked_fill(~self.mask(batch), float("-inf")).softmax(1)
        pooled = (attention[..., None] * clips).sum(1)
        return HeadOutput(self.score(pooled)[:, 0].sigmoid())
