"""VATP-Net, re-implemented from the description: learnt queries parse the clips into parts, which are aligned with texts (Gedamu et al.,
Visual-semantic Alignment Temporal Parsing for Action Quality Assessment, IEEE TCSVT 2024).

No code is published and the text was not at hand: its title and what later papers say of it (pictures and texts; a parsing of time; an alignment of both) are all that is followed. What is here:

    clips -> projection, encoder (as in GDLT)
    parts  `queries` learnt queries look at the clips in `layers` layers of TPT's parsing, with its ranking and sparsity terms
    texts  those of grades, projected; each part takes what it asks of them (`semantic`)
    score  sigmoid of a perceptron on the mean of the parts
    loss   squared error + `align_weight` x cross-entropy of the cosines of the mean part with the grades' texts, divided by `temperature`; a video's text is the grade nearest to its score

All of it is open, and every choice is a setting.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from longtake.train.errors import SettingsError, require_at_least
from longtake.train.heads.base import GRADES, Batch, Head, HeadOutput, Needs, Source
from longtake.train.heads.blocks.layers import ContextEncoder, two_layers, xavier_
from longtake.train.heads.tpt import ParsingLayer, TPTSettings, ranking_loss, sparsity_loss


@dataclass(frozen=True)
class VATPSettings:
    width: int = 256
    heads: int = 8
    encoder_layers: int = 1
    queries: int = 5
    layers: int = 2
    feed_forward: int = 512
    semantic: bool = True
    """Parts take of the texts; False leaves these to the alignment."""
    align_weight: float = 0.1
    temperature: float = 0.07
    ranking_weight: float = 1.0
    sparsity_weight: float = 0.05
    spacing: float = 1.0
    """Of the ranking term, as in TPT: 1 asks for queries at even distances."""
    dropout: float = 0.3
    mask: bool = True

    def __post_init__(self) -> None:
        require_at_least(self, layers=1, queries=1)
        if not self.heads or self.width % self.heads or not self.temperature > 0:
            raise SettingsError(
                f"heads must divide width and temperature be above 0, got {self.heads}, {self.width} and {self.temperature}"
            )


class VATPNet(Head):
    """VATP-Net, re-implemented from the description: queries parse the clips into parts, which are aligned with grade texts."""

    SOURCE = Source("Gedamu et al., VATP-Net, IEEE TCSVT 2024", 2024)
    Settings = VATPSettings

    @classmethod
    def needs(cls, settings: VATPSettings) -> Needs:
        return Needs(texts=(GRADES,), sees_padding=not settings.mask)

    def build(self, dim: int, audio_dim: int) -> None:
        s = self.settings
        self.context = ContextEncoder(dim, s.width, heads=s.heads, layers=s.encoder_layers, dropout=s.dropout)
        parsing = TPTSettings(
            width=s.width, heads=s.heads, queries=s.queries, feed_forward=s.feed_forward, dropout=s.dropout
        )
        self.places = nn.Parameter(torch.empty(s.queries, s.width))
        self.parse = nn.ModuleList(ParsingLayer(s.width, parsing, attends=index == 0) for index in range(s.layers))
        nn.init.xavier_uniform_(self.places)
        xavier_(self.parse)
        self.text = nn.Linear(self.texts(GRADES).shape[1], s.width)
        if s.semantic:
            self.ask = nn.MultiheadAttention(s.width, s.heads, s.dropout, batch_first=True)
            self.norm = nn.LayerNorm(s.width)
        self.score = two_layers(s.width, s.width, 1, s.dropout)

    def forward(self, batch: Batch) -> HeadOutput:
        s, mask = self.settings, self.mask(batch)
        clips = self.context(batch.clips, mask)
        parts, looks = self.places.new_zeros(len(mask), *self.places.shape), []
        for layer in self.parse:
            parts, seen = layer(parts, self.places, clips, mask)
            looks.append(seen)
        texts = self.text(self.texts(GRADES))
        mean = parts.mean(1)
        if s.semantic:
            of_all = texts.expand(len(mask), -1, -1)
            parts = self.norm(parts + self.ask(parts, of_all, of_all, need_weights=False)[0])
        score01 = torch.sigmoid(self.score(parts.mean(1))[:, 0].float())
        losses = {}
        if self.training:
            grade = (batch.target01.clamp(0, 1) * (len(texts) - 1)).round().long()
            cosines = F.normalize(mean.float(), dim=-1) @ F.normalize(texts.float(), dim=-1).T
            lengths = mask.sum(1)
            losses = {
                "alignment": s.align_weight * F.cross_entropy(cosines / s.temperature, grade),
                "ranking": s.ranking_weight * sum(ranking_loss(seen, lengths, 0.0, s.spacing) for seen in looks),
                "sparsity": s.sparsity_weight * sum(sparsity_loss(seen) for seen in looks),
            }
        return HeadOutput(score01, losses=losses)
