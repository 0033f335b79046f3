"""SGN, re-implemented from the description: a student with learnt queries follows a teacher that reads what is said, or heard, of a
programme (Du et al., Learning Semantics-guided Representations for Scoring Figure Skating, IEEE TMM 2024).

No code is published, and this follows notes on the paper, not its text.

    clips -> perceptron to `width` -> self-attention and feed-forward
    teacher  its tokens (per video) attend to each other, then to the clips, then feed-forward -> H_T
    student  `queries` learnt queries in their place, weights of their own -> H_S
    loss     score of the teacher + score of the student + attention maps + contrast + consistency, weights 1

Attention maps: squared distance of both cross-attentions, by clip and head, the teacher's rows max-pooled to as many as there are queries. Contrast: NCE over the batch on cosines of the
means of H_T and H_S. Consistency: squared difference of both scores. A tested video is scored by the student alone.

What the notes leave open is a setting: sizes, depths, `temperature`, and how scores are read. The paper predicts the absolute difference to another video of the same category; how scores follow from that is not known.
`score=direct`, the default, is a linear layer and a sigmoid; `score=difference` compares with exemplars and takes the score whose distances to theirs fit best. The teacher
reads the sound, as on the data of the papers' tables, which have no commentary; of data with commentary, its features can be the stream in the place of the sound.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from longtake.train.errors import SettingsError, require_at_least, require_one_of
from longtake.train.heads.base import CATEGORY, Batch, ExemplarRule, Head, HeadOutput, Needs, Source
from longtake.train.heads.blocks.contrast import Pairs, exemplars_of
from longtake.train.heads.blocks.layers import two_layers
from longtake.train.heads.blocks.packing import Places
from longtake.train.heads.blocks.transformer import encoder

DIRECT, DIFFERENCE = "direct", "difference"
STEPS = 1001
"""Scores from 0 to 1 that `difference` tries."""


@dataclass(frozen=True)
class SGNSettings:
    width: int = 256
    heads: int = 8
    encoder_layers: int = 1
    layers: int = 2
    """Of the teacher, and of the student."""
    queries: int = 8
    temperature: float = 0.07
    score: str = DIRECT
    exemplars: str = CATEGORY
    """For `score=difference`, as for heads that compare."""
    voters: int = 10
    teacher_weight: float = 1.0
    attention_weight: float = 1.0
    contrast_weight: float = 1.0
    consistency_weight: float = 1.0
    dropout: float = 0.1

    def __post_init__(self) -> None:
        require_one_of("score", self.score, (DIRECT, DIFFERENCE))
        require_at_least(self, layers=1, queries=1, voters=1)
        if not self.heads or self.width % self.heads:
            raise SettingsError(f"heads={self.heads} does not divide width={self.width}")


class Layer(nn.Module):
    """Post-norm self-attention of tokens, cross-attention to clips, feed-forward, as in DETR."""

    def __init__(self, settings: SGNSettings) -> None:
        super().__init__()
        s = settings
        self.own, self.cross = (nn.MultiheadAttention(s.width, s.heads, s.dropout, batch_first=True) for _ in range(2))
        self.mlp = two_layers(s.width, 4 * s.width, s.width, s.dropout)
        self.norms = nn.ModuleList(nn.LayerNorm(s.width) for _ in range(3))

    def forward(
        self, tokens: torch.Tensor, there: torch.Tensor | None, clips: torch.Tensor, mask: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """`(batch, tokens, width)` and which exist, and clips -> the same, and the cross-attention `(batch, heads, tokens, clips)`."""
        missing = None if there is None else ~there
        tokens = self.norms[0](tokens + self.own(tokens, tokens, tokens, missing, need_weights=False)[0])
        found, weights = self.cross(tokens, clips, clips, ~mask, average_attn_weights=False)
        tokens = self.norms[1](tokens + found)
        return self.norms[2](tokens + self.mlp(tokens)), weights


class Branch(nn.Module):
    """The teacher or the student."""

    def __init__(self, settings: SGNSettings) -> None:
        super().__init__()
        s = settings
        self.layers = nn.ModuleList(Layer(s) for _ in range(s.layers))
        self.score = two_layers(s.width, s.width, 1, s.dropout)

    def forward(
        self, tokens: torch.Tensor, there: torch.Tensor | None, clips: torch.Tensor, mask: torch.Tensor
    ) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """The mean over tokens, `(batch, width)`, and the attention of each layer."""
        maps = []
        for layer in self.layers:
            tokens, weights = layer(tokens, there, clips, mask)
            maps.append(weights)
        if there is None:
            return tokens.mean(1), maps
        return (tokens * there[..., None]).sum(1) / there.sum(1, keepdim=True), maps


def pooled_rows(maps: torch.Tensor, there: torch.Tensor, rows: int) -> torch.Tensor:
    """`(batch, heads, tokens, clips)` -> `(batch, heads, rows, clips)`: the largest of each of so many even parts of a video's own tokens."""
    count = there.sum(1, keepdim=True)
    place = torch.arange(maps.shape[2], device=maps.device)
    first = torch.arange(rows, device=maps.device) * count // rows
    last = torch.maximum(-(-(torch.arange(rows, device=maps.device) + 1) * count // rows), first + 1)
    inside = (place >= first[..., None]) & (place < last[..., None])
    return torch.where(inside[:, None, :, :, None], maps[:, :, None], -torch.inf).amax(3)


def fitting_scores(known: torch.Tensor, apart: torch.Tensor, votes: torch.Tensor) -> torch.Tensor:
    """Scores `(batch,)` from 0 to 1 whose distances to the exemplars' scores `(pairs,)` are nearest to those predicted, in squares."""
    tried = torch.linspace(0, 1, STEPS, device=known.device)
    errors = ((tried[None] - known[:, None]).abs() - apart[:, None]) ** 2
    return tried[(votes @ errors).argmin(1)]


class SGN(Head):
    """SGN, re-implemented from the description: learnt queries follow a teacher that hears the programme."""

    SOURCE = Source("Du et al., SGN, IEEE TMM 2024", 2024)
    Settings = SGNSettings

    @classmethod
    def needs(cls, settings: SGNSettings) -> Needs:
        rule = ExemplarRule(settings.exemplars, settings.voters) if settings.score == DIFFERENCE else None
        return Needs(audio=True, exemplars=rule)

    def build(self, dim: int, audio_dim: int) -> None:
        s = self.settings
        self.project = two_layers(dim, s.width, s.width, s.dropout)
        self.context = encoder(s.width, heads=s.heads, layers=s.encoder_layers, dropout=s.dropout)
        self.token = nn.Linear(audio_dim, s.width)
        self.queries = nn.Parameter(torch.randn(s.queries, s.width))
        self.teacher, self.student = Branch(s), Branch(s)

    def clips(self, batch: Batch) -> torch.Tensor:
        places = Places.of(batch.mask)
        return places.unpack(self.context.packed(self.project(places.pack(batch.clips)), places))

    def read(self, branch: Branch, batch: Batch, clips: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        if branch is self.student:
            return branch(self.queries.expand(len(clips), -1, -1), None, clips, batch.mask)
        assert batch.audio is not None
        return branch(self.token(batch.audio), batch.mask, clips, batch.mask)

    def forward(self, batch: Batch) -> HeadOutput:
        s = self.settings
        clips = self.clips(batch)
        compared = None
        if s.score == DIFFERENCE:
            others = exemplars_of(batch)
            compared = Pairs.of(batch), others, self.clips(others)
        student, maps = self.read(self.student, batch, clips)
        score01, own, loss = self._score(self.student, student, batch, compared)
        if not self.training:
            return HeadOutput(score01)
        teacher, taught = self.read(self.teacher, batch, clips)
        _, others_own, teacher_loss = self._score(self.teacher, teacher, batch, compared)
        # Where a video has no clips both maps are 0; the mean is over clips that exist.
        squared = [(one - pooled_rows(two, batch.mask, s.queries)).square().sum() for one, two in zip(maps, taught)]
        places = batch.mask.sum() * s.heads * s.queries
        cosines = F.normalize(student, dim=-1) @ F.normalize(teacher, dim=-1).T
        same = torch.arange(len(student), device=student.device)
        losses = {
            "teacher": s.teacher_weight * teacher_loss,
            "attention": s.attention_weight * torch.stack(squared).mean() / places,
            "contrast": s.contrast_weight * F.cross_entropy(cosines / s.temperature, same),
            "consistency": s.consistency_weight * F.mse_loss(own, others_own),
        }
        return HeadOutput(score01, losses=losses if loss is None else {**losses, "comparison": loss})

    def _score(
        self, branch: Branch, mine: torch.Tensor, batch: Batch, compared: tuple[Pairs, Batch, torch.Tensor] | None
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
        """Scores, what the branch says, and its loss; None for the student where the squared error of scores is its loss."""
        if compared is None:
            score01 = torch.sigmoid(branch.score(mine)[:, 0].float())
            return score01, score01, None if branch is self.student else F.mse_loss(score01, batch.target01)
        pairs, others, clips = compared
        theirs, _ = self.read(branch, others, clips)
        apart = torch.sigmoid(branch.score((mine[pairs.query] - theirs[pairs.exemplar]).abs())[:, 0].float())
        known = others.target01[pairs.exemplar]
        true = (batch.target01[pairs.query] - known).abs()
        return fitting_scores(known, apart.detach(), pairs.votes), apart, F.mse_loss(apart, true)
