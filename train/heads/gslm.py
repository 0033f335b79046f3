"""QGVL's head: the Granularity-Adaptive Semantic Learning Module (Xu et al., QGVL, section III).

One decoder, used twice. Its self-attention is the Quality Semantic Adapter (QSA), its cross-attention the Quality-guided
Cross-granularity Integrator (QCI). First the grade texts ask the clips for the evidence of each grade; then the score
texts that belong to a grade ask that grade's pattern. Sharing the weights makes both levels speak one language.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from longtake.train.errors import DataError, require_one_of
from longtake.train.heads.base import GRADES, SCORES, Batch, Head, HeadOutput, Needs, Source
from longtake.train.heads.blocks.layers import SHARED_KEY_MAP, ContextEncoder, DiagonalScore, xavier_
from longtake.train.heads.blocks.transformer import decoder
from longtake.train.heads.published import num_modules

TEXT, LEARNABLE, POSITIONAL = "text", "learnable", "positional"
TYPICAL_GRADES = 4


@dataclass(frozen=True)
class GSLMSettings:
    """The switches are those of QGVL's Tables VI to X."""

    heads: int = 1
    encoder_layers: int = 1
    """0 is without temporal context."""
    decoder_layers: int = 2
    dropout: float = 0.3
    logit_scale: float = 100.0
    """exp(logit scale) of CLIP, which multiplies the cosines of pattern and text."""
    queries: str = TEXT
    """`text`, or, without any language, `learnable` vectors or fixed `positional` embeddings."""
    width: int = 512
    """Without texts; with them, as wide as they are."""
    grades: int = 0
    scores: int = 101
    """Without texts, how many queries: 0 grades are four. With texts they say which texts are taken."""
    score_level: bool = True
    """False ends at the grades."""
    native: bool = False
    """True replaces GSLM by a plain Transformer: one decoder for each level, both attend to the clips, and scores are
    not tied to grades."""
    audio: bool = False
    """True adds sound."""
    one_space: bool = False
    """For clips that a network put into the space of the texts, such as CLIP's pictures: True starts the head there. Clips are not projected, queries find similar
    clips, and a grade is scored by the similarity of its text to what it found. Not in the paper, whose head starts from random weights."""
    mask: bool = True
    """False feeds the zeros of padding to the network, as the published code does."""

    def __post_init__(self) -> None:
        require_one_of("queries", self.queries, (TEXT, LEARNABLE, POSITIONAL))


def grade_of_score(num_grades: int, num_scores: int) -> torch.Tensor:
    """Which grade each score text refines, `(num_scores,)`: equal groups, the remainder to the last.

    With 4 grades and 101 scores: 0-24, 25-49, 50-74, 75-100 (QGVL, Fig. 4).
    """
    return (torch.arange(num_scores) // max(num_scores // num_grades, 1)).clamp(max=num_grades - 1)


class GSLM(Head):
    """QGVL: grade texts ask the clips, score texts their grade. 10,831,466 parameters for 1024-wide features, 4 + 101 texts."""

    SOURCE = Source(
        "Xu et al., Quality-Guided Vision-Language Learning (QGVL), IEEE TMM 2025", 2025, "XuHuangbiao/QGVL", ("qgvl",)
    )
    Settings = GSLMSettings
    not_in_weights = ("heads",)
    KEY_MAP = {**SHARED_KEY_MAP, "regressor2.": "score_score.linear.", "w1": "mix", "CLIP.": None}
    bfloat16 = True

    @classmethod
    def needs(cls, settings: GSLMSettings) -> Needs:
        levels = (GRADES, SCORES) if settings.score_level else (GRADES,)
        return Needs(levels if settings.queries == TEXT else (), audio=settings.audio, sees_padding=not settings.mask)

    def build(self, dim: int, audio_dim: int) -> None:
        s = self.settings
        num_grades, num_scores, width = self._make_queries()
        if s.score_level and num_scores < num_grades:
            raise DataError(f"{num_scores} score texts cannot refine {num_grades} grades: give more scores")
        common: dict[str, Any] = {"heads": s.heads, "dropout": s.dropout}
        self.context = ContextEncoder(
            dim, width, layers=s.encoder_layers, audio_dim=audio_dim if s.audio else 0, **common
        )
        self.decoder = decoder(width, layers=s.decoder_layers, **common)
        self.grade_score = DiagonalScore(width, num_grades)
        xavier_(self.decoder)
        if s.one_space:
            self._start_in_one_space(dim, width)
        if not s.score_level:
            return
        if s.native:
            self.score_decoder = decoder(width, layers=s.decoder_layers, **common)
            xavier_(self.score_decoder)
        self.score_score = DiagonalScore(width, num_scores)
        self.mix = nn.Parameter(torch.tensor([0.5]))
        grade = grade_of_score(num_grades, num_scores)
        if s.one_space:
            _score_by_similarity(self.score_score, self._queries(SCORES))
        # Score texts talk to those of their own grade only, and each asks its own grade's pattern only.
        self.register_buffer("_blocked", grade[:, None] != grade[None], persistent=False)
        self.register_buffer("_grade", grade, persistent=False)

    @torch.no_grad()
    def _start_in_one_space(self, dim: int, width: int) -> None:
        """At first, layers only add the clips that are similar to a query. Raises `DataError` where clips and texts are of different widths."""
        s = self.settings
        if dim != width or s.audio or s.native:
            raise DataError(
                f"one_space=true takes clips in the space of the texts, without sound and native=true: got clips of {dim} and queries of {width} values"
            )
        self.context.projection = nn.LayerNorm(dim, elementwise_affine=False)
        for layer in [*(self.context.encoder.layers if self.context.encoder else ()), *self.decoder.layers]:
            nn.init.zeros_(layer.self_attn.out_proj.weight)
            nn.init.zeros_(layer.linear2.weight)
        for layer in self.decoder.layers:
            layer.multihead_attn.in_proj_weight.copy_(torch.eye(width).repeat(3, 1))
            nn.init.eye_(layer.multihead_attn.out_proj.weight)
        _score_by_similarity(self.grade_score, self._queries(GRADES))

    def _make_queries(self) -> tuple[int, int, int]:
        """Queries of both levels, as buffers or parameters, where they are no texts; how many there are, and how wide."""
        s = self.settings
        if s.queries == TEXT:
            num_grades, width = self.texts(GRADES).shape
            return num_grades, len(self.texts(SCORES)) if s.score_level else 0, width
        counts = {GRADES: s.grades or TYPICAL_GRADES, **({SCORES: s.scores} if s.score_level else {})}
        for name, count in counts.items():
            if s.queries == LEARNABLE:
                self.register_parameter(f"{name}_queries", nn.Parameter(torch.randn(count, s.width)))
            else:
                self.register_buffer(f"{name}_queries", positional(count, s.width))
        return counts[GRADES], counts.get(SCORES, 0), s.width

    def _queries(self, name: str) -> torch.Tensor:
        return self.texts(name) if self.settings.queries == TEXT else getattr(self, f"{name}_queries")

    @classmethod
    def settings_in(cls, state: Mapping[str, torch.Tensor]) -> dict[str, object]:
        # Without any layer of an encoder it may be one of the paper's variants; without a decoder's, the file lacks them.
        return {
            "encoder_layers": num_modules(state, "context.encoder.layers."),
            "decoder_layers": num_modules(state, "decoder.layers.") or None,
        }

    def forward(self, batch: Batch) -> HeadOutput:
        s = self.settings
        mask = self.mask(batch)
        encoded = self.context(batch.clips, mask, batch.audio if s.audio else None)
        grade_queries = self._queries(GRADES)
        grades = self.decoder(grade_queries, encoded, mask)
        score01, grade_weights = self.grade_score(grades)
        patterns: tuple[torch.Tensor, ...] = (grades,)
        logits, weights = self._alignment(grades, grade_queries), {"grades": grade_weights}
        if s.score_level:
            score_queries = self._queries(SCORES)
            if s.native:
                scores = self.score_decoder(score_queries, encoded, mask)
            else:
                scores = self.decoder.one_key(score_queries, grades, self._grade, self._blocked)
            score_score01, weights["scores"] = self.score_score(scores)
            score01 = self.mix * score01 + (1 - self.mix) * score_score01
            patterns, logits = (grades, scores), logits + self._alignment(scores, score_queries)
        return HeadOutput(score01, patterns, logits, weights)

    def _alignment(self, patterns: torch.Tensor, texts: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Cosines of patterns and texts, scaled; without texts there is nothing to be aligned with."""
        if self.settings.queries != TEXT:
            return ()
        return (self.settings.logit_scale * F.normalize(patterns, dim=-1) @ F.normalize(texts, dim=-1).T,)


@torch.no_grad()
def _score_by_similarity(score: DiagonalScore, queries: torch.Tensor) -> None:
    score.linear.weight.copy_(F.normalize(queries, dim=-1))
    nn.init.zeros_(score.linear.bias)


def positional(count: int, width: int) -> torch.Tensor:
    """Sine and cosine of the position at falling frequencies, `(count, width)` (Vaswani et al., 2017)."""
    angle = torch.arange(count)[:, None] / 10_000 ** (torch.arange(0, width, 2)[None] / width)
    return torch.stack([angle.sin(), angle.cos()], -1).flatten(1)[:, :width]
