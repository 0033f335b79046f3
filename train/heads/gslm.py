"""QGVL's head: the Granularity-Adaptive Semantic Learning Module (Xu et al., QGVL, section III).

One decoder, used twice. Its self-attention is the Quality Semantic Adapter (QSA), its cross-attention the Quality-guided
Cross-granularity Integrator (QCI). First the grade texts ask the clips for the evidence of each grade; then the score
texts that belong to a grade ask that grade's pattern. Sharing the weights makes both levels speak one language.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from train.dataset import Batch
from train.errors import DataError
from train.heads.layers import SHARED_KEY_MAP, ContextEncoder, DiagonalScore, decoder, xavier_
from train.heads.needs import Needs
from train.heads.output import HeadOutput
from train.prototypes import GRADES, SCORES, Prototypes


@dataclass(frozen=True)
class GSLMSettings:
    heads: int = 1
    encoder_layers: int = 1
    decoder_layers: int = 2
    dropout: float = 0.3
    logit_scale: float = 100.0
    """exp(logit scale) of CLIP, which multiplies the cosines of pattern and text."""
    mask: bool = True
    """False feeds the zeros of padding to the network, as the published code does."""


def grade_of_score(num_grades: int, num_scores: int) -> torch.Tensor:
    """Which grade each score text refines, `(num_scores,)`: equal groups, the remainder to the last.

    With 4 grades and 101 scores: 0-24, 25-49, 50-74, 75-100 (QGVL, Fig. 4).
    """
    return torch.div(torch.arange(num_scores), max(num_scores // num_grades, 1), rounding_mode="floor").clamp(
        max=num_grades - 1
    )


class GSLM(nn.Module):
    """10,831,466 parameters for 1024-wide features, 4 grades and 101 scores of 512-wide texts."""

    Settings = GSLMSettings
    KEY_MAP = {**SHARED_KEY_MAP, "regressor2.": "score_score.linear.", "w1": "mix"}

    @staticmethod
    def needs(settings: GSLMSettings) -> Needs:
        return Needs((GRADES, SCORES))

    def __init__(self, dim: int, settings: GSLMSettings, prototypes: Prototypes, audio_dim: int = 0) -> None:
        super().__init__()
        grades, scores = prototypes.texts[GRADES], prototypes.texts[SCORES]
        if len(scores) < len(grades):
            raise DataError(f"{len(scores)} score texts cannot refine {len(grades)} grades: give more scores")
        s = self.settings = settings
        width = grades.shape[1]
        self.context = ContextEncoder(dim, width, heads=s.heads, layers=s.encoder_layers, dropout=s.dropout)
        self.decoder = decoder(width, heads=s.heads, layers=s.decoder_layers, dropout=s.dropout)
        self.grade_score = DiagonalScore(width, len(grades))
        self.score_score = DiagonalScore(width, len(scores))
        self.mix = nn.Parameter(torch.tensor([0.5]))
        self.register_buffer("grades_texts", torch.as_tensor(grades, dtype=torch.float32))
        self.register_buffer("scores_texts", torch.as_tensor(scores, dtype=torch.float32))
        grade = grade_of_score(len(grades), len(scores))
        # Score texts talk to those of their own grade only, and each asks its own grade's pattern only.
        self.register_buffer("_apart", grade[:, None] != grade[None], persistent=False)
        self.register_buffer("_not_mine", grade[:, None] != torch.arange(len(grades))[None], persistent=False)
        xavier_(self.context.encoder)
        xavier_(self.decoder)

    def forward(self, batch: Batch) -> HeadOutput:
        mask = batch.mask if self.settings.mask else torch.ones_like(batch.mask)
        encoded = self.context(batch.clips, mask)
        size = len(encoded)
        padding = None if bool(mask.all()) else ~mask
        grades = self.decoder(self.grades_texts.expand(size, -1, -1), encoded, memory_key_padding_mask=padding)
        scores = self.decoder(
            self.scores_texts.expand(size, -1, -1), grades, tgt_mask=self._apart, memory_mask=self._not_mine
        )
        grade_score01, grade_weights = self.grade_score(grades)
        score_score01, score_weights = self.score_score(scores)
        return HeadOutput(
            self.mix * grade_score01 + (1 - self.mix) * score_score01,
            patterns=(grades, scores),
            logits=(self._similarity(grades, self.grades_texts), self._similarity(scores, self.scores_texts)),
            weights={"grades": grade_weights, "scores": score_weights},
        )

    def _similarity(self, patterns: torch.Tensor, texts: torch.Tensor) -> torch.Tensor:
        return self.settings.logit_scale * F.normalize(patterns, dim=-1) @ F.normalize(texts, dim=-1).T
