"""TSA: a performance is cut into its stages, and each stage is compared with the same stage of an exemplar (Xu et al., FineDiving, Temporal
Segmentation Attention, CVPR 2022, section 4). A host that MVLA is plugged into.

Segmentation is that of `train/heads/blocks/segmentation.py`. The published code lets stages look at the exemplar's feature maps; what is cached has one vector a clip,
so both sides are frames here. It trains the first quarter of its epochs on stages as they are labelled and the rest on those that it
finds; here training takes the labelled ones throughout, where there are any, and tests take those that are found.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from longtake.train.errors import require_at_least
from longtake.train.heads.base import Batch, Comparable, Head, HeadOutput, Needs
from longtake.train.heads.blocks.contrast import ContrastSettings, Pairs, Qualities, exemplars_of
from longtake.train.heads.blocks.layers import two_layers
from longtake.train.heads.blocks.segmentation import (
    FIXED,
    PREDICTED,
    TRUE,
    Grid,
    Segmentation,
    boundary_loss,
    boundary_seconds,
    frame_grid,
    require_stages,
    true_or_predicted,
)
from longtake.train.heads.settings import later


@dataclass(frozen=True, repr=False)
class TSASettings(ContrastSettings):
    width: int = 64
    heads: int = 8
    layers: int = 3
    stages: int = 3
    """Take-off, flight and entry of a dive."""
    boundaries: str = PREDICTED
    """Where stages end: as `predicted`; as the labels say, `true`, which is the oracle of the papers; or in equal parts of the video, `fixed`, without
    segmentation, for data without labels of boundaries."""
    frames: int = 96
    """On which boundaries are predicted, where the second stream has none of its own."""
    points: int = 5
    """Of each stage, at even distances from its first frame to its last."""
    comparison_weight: float = 10.0
    boundary_weight: float = 0.1
    """Both weigh 1 in the published code, where scores are in judges' units, `score_range=1`, and the cross-entropy is a mean,
    `boundary_mean=true`, over both videos of a pair, which are added here: 0.5. The defaults are for scores from 0 to 1, and a sum."""
    boundary_mean: bool = later(False)
    """The cross-entropy is the mean over frames and boundaries, not the sum."""
    dropout: float = 0.0
    bias: bool = later(True)
    """Queries, keys and values have biases; the published ones have none."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_stages(self.boundaries, self.stages, self.frames)
        require_at_least(self, points=1, layers=1)


class CrossAttention(nn.Module):
    """A layer of procedure-aware cross-attention (FineDiving, section 4): points of a stage ask those of the exemplar's, then a perceptron;
    both pre-norm, added to what came in."""

    def __init__(self, width: int, heads: int, dropout: float, bias: bool = True) -> None:
        super().__init__()
        self.query_norm, self.key_norm, self.norm = nn.LayerNorm(width), nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, heads, dropout, batch_first=True)
        if not bias:
            self.attention.register_parameter("in_proj_bias", None)
        self.mlp = nn.Sequential(*two_layers(width, 4 * width, width, dropout, nn.GELU), nn.Dropout(dropout))

    def forward(self, mine: torch.Tensor, theirs: torch.Tensor) -> torch.Tensor:
        """Both `(stages, points, width)` -> the same."""
        asked = self.key_norm(theirs)
        mine = mine + self.attention(self.query_norm(mine), asked, asked, need_weights=False)[0]
        return mine + self.mlp(self.norm(mine))


def stage_points(frames: torch.Tensor, grid: Grid, index: torch.Tensor, points: int) -> torch.Tensor:
    """Frames `(batch, frames, width)` and the first frames of all stages but the first, `(batch, boundaries)` -> `(batch, stages, points,
    width)`: on straight lines between frames, from a stage's first frame to its last."""
    begin = F.pad(index, (1, 0))
    end = torch.cat([index, grid.mask.sum(1, keepdim=True)], 1)
    last = torch.maximum(end - 1, begin)
    share = torch.linspace(0, 1, points, device=frames.device)
    place = begin[..., None] + (last - begin)[..., None] * share
    low = place.floor().long()
    high = torch.minimum(low + 1, last[..., None])
    between = (place - low)[..., None].to(frames.dtype)

    def at(places: torch.Tensor) -> torch.Tensor:
        wide = places.flatten(1)[..., None].expand(-1, -1, frames.shape[-1])
        return frames.gather(1, wide).view(*places.shape, -1)

    return (1 - between) * at(low) + between * at(high)


def equal_parts(grid: Grid, stages: int) -> torch.Tensor:
    """The first frames of the stages after the first, when all are as long: int64, `(batch, stages - 1)`."""
    shares = torch.arange(1, stages, device=grid.mask.device) / stages
    return (grid.mask.sum(1, keepdim=True) * shares).long()


class TSA(Head):
    """TSA: stages are found, and each is compared with the same stage of an exemplar."""

    Settings = TSASettings

    @classmethod
    def needs(cls, settings: TSASettings) -> Needs:
        shared = settings.needs
        labelled = 0 if settings.boundaries == FIXED else settings.stages - 1
        return Needs(second_stream=True, boundaries=labelled, scores=shared.scores, exemplars=shared.exemplars)

    def build(self, dim: int, audio_dim: int) -> None:
        s = self.settings
        self.segmentation = Segmentation(dim, s.width, s.stages - 1, dropout=s.dropout)
        self.layers = nn.ModuleList(CrossAttention(s.width, s.heads, s.dropout, s.bias) for _ in range(s.layers))
        self.difference = nn.Sequential(
            nn.Linear(s.width, 256), nn.ReLU(), nn.Linear(256, 64), nn.ReLU(), nn.Linear(64, 1)
        )
        self.qualities = Qualities(s)

    def learn_groups(self, training: Comparable) -> None:
        self.qualities.learn_groups(training)

    def segment(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]:
        """Points of stages, `(batch, stages, points, width)`; predicted boundaries, `(batch, stages - 1)` seconds; and the loss of equation 4 of MVLA.
        No boundaries and no loss where they are fixed."""
        s = self.settings
        grid = frame_grid(batch, s.frames)
        found = self.segmentation(batch, grid)
        if s.boundaries == FIXED:
            return stage_points(found.frames, grid, equal_parts(grid, s.stages), s.points), None, None
        labelled = self.training or s.boundaries == TRUE
        index = true_or_predicted(found, grid, batch.boundaries) if labelled else found.index
        loss = boundary_loss(found.logits, grid, batch.boundaries, mean=s.boundary_mean)
        return stage_points(found.frames, grid, index, s.points), boundary_seconds(grid, found.index), loss

    def compare(self, mine: torch.Tensor, theirs: torch.Tensor) -> torch.Tensor:
        """How much better the one is, `(pairs,)`: the mean over stages and points, of features `(pairs, stages, points, width)`."""
        pairs = len(mine)
        mine, theirs = mine.flatten(0, 1), theirs.flatten(0, 1)
        for layer in self.layers:
            mine = layer(mine, theirs)
        return self.difference(mine).float().view(pairs, -1).mean(1)

    def forward(self, batch: Batch) -> HeadOutput:
        s, pairs = self.settings, Pairs.of(batch)
        query, boundaries, loss = self.segment(batch)
        others = exemplars_of(batch)
        exemplar, _, their_loss = self.segment(others)
        known = self.qualities.of(others.target01, others.scores)[pairs.exemplar]
        mine, theirs = query[pairs.query], exemplar[pairs.exemplar]
        better = self.compare(mine, theirs)
        score01 = self.qualities.back(pairs.votes @ (known + better), batch.scores)
        losses = {}
        if self.training:
            true = self.qualities.of(batch.target01, batch.scores)[pairs.query] - known
            back = self.compare(theirs, mine)
            losses["comparison"] = s.comparison_weight * (F.mse_loss(better, true) + F.mse_loss(back, -true))
            if loss is not None:
                losses["boundaries"] = s.boundary_weight * (loss + their_loss)
        return HeadOutput(score01, boundaries=boundaries, losses=losses)
