"""GDLT, the common baseline: grade-decoupled Likert Transformer (Xu et al., CVPR 2022).

Learnable grade prototypes ask the encoded clips for the evidence of each grade; the score is the expectation over grades.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn

from longtake.train.errors import SettingsError
from longtake.train.heads.base import Batch, Head, HeadOutput, Source
from longtake.train.heads.blocks.layers import SHARED_KEY_MAP, ContextEncoder, DiagonalScore, xavier_
from longtake.train.heads.blocks.transformer import decoder
from longtake.train.heads.published import num_modules, size


@dataclass(frozen=True)
class GDLTSettings:
    width: int = 256
    heads: int = 1
    encoder_layers: int = 1
    decoder_layers: int = 2
    grades: int = 4
    dropout: float = 0.3
    mask: bool = True
    """False feeds the zeros of padding to the network, as the published code does."""

    def __post_init__(self) -> None:
        if self.grades < 1:
            raise SettingsError(f"grades must be above 0, got {self.grades}")


class GDLT(Head):
    """GDLT, the common baseline: learnable grades ask the clips. 3,163,396 parameters for 1024-wide features."""

    SOURCE = Source("Xu et al., GDLT, CVPR 2022", 2022, "xuangch/CVPR22_GDLT", ("gdlt",))
    Settings = GDLTSettings
    not_in_weights = ("heads",)
    KEY_MAP = {**SHARED_KEY_MAP, "prototype.weight": "prototypes"}
    stacks = True
    bfloat16 = True

    def build(self, dim: int, audio_dim: int) -> None:
        s = self.settings
        self.context = ContextEncoder(dim, s.width, heads=s.heads, layers=s.encoder_layers, dropout=s.dropout)
        self.decoder = decoder(s.width, heads=s.heads, layers=s.decoder_layers, dropout=s.dropout)
        self.prototypes = nn.Parameter(torch.randn(s.grades, s.width))
        self.grade_score = DiagonalScore(s.width, s.grades)
        xavier_(self.decoder)

    @classmethod
    def settings_in(cls, state: Mapping[str, torch.Tensor]) -> dict[str, object]:
        return {
            "encoder_layers": num_modules(state, "context.encoder.layers."),
            "decoder_layers": num_modules(state, "decoder.layers.") or None,
            "grades": size(state, "prototypes"),
            "width": size(state, "prototypes", 1),
        }

    def forward(self, batch: Batch) -> HeadOutput:
        mask = self.mask(batch)
        encoded = self.context(batch.clips, mask)
        patterns = self.decoder(self.prototypes, encoded, mask)
        score01, weights = self.grade_score(patterns)
        return HeadOutput(score01, patterns=(patterns,), weights={"grades": weights})
