"""TSA: a performance is cut into its stages, and each stage is compared with the same stage of an exemplar (Xu et al., FineDiving, Temporal
Segmentation Attention, CVPR 2022, section 4). A host that MVLA is plugged into.

Segmentation is that of `train/heads/blocks/segmentation.py`, by the times of clips, or the published one, whose channels are the clips of a video:
`segmentation=channels`. The published code lets stages look at the exemplar's feature maps; what is cached has one vector a clip, so both sides are
frames here. It trains the first quarter of its epochs on stages as they are labelled and the rest on those that it finds; here training takes the
labelled ones throughout, where there are any, or those that are found, `stages_in_training=predicted`; tests take those that are found.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import nn

from longtake.train.errors import SettingsError, require_at_least, require_one_of
from longtake.train.heads.base import Batch, Comparable, Head, HeadOutput, Needs, Source
from longtake.train.heads.blocks.contrast import ContrastSettings, Pairs, Qualities, exemplars_of
from longtake.train.heads.blocks.layers import two_layers
from longtake.train.heads.blocks.procedure import POOLED, ProcedureSegmentation
from longtake.train.heads.blocks.segmentation import (
    FIXED,
    PREDICTED,
    TRUE,
    Grid,
    Segmentation,
    Segmented,
    frame_grid,
    require_stages,
)
from longtake.train.heads.published import num_modules, size
from longtake.train.heads.settings import later

TIMES, CHANNELS = "times", "channels"
LABELLED = "labelled"
IN_PERCEPTRON = {"layer1": "0", "layer2": "2", "layer3": "4"}
IN_LAYER = {"norm_q": "query_norm", "norm_v": "key_norm", "norm2": "norm", "attn.q_map": "attention.in_proj",
            "attn.proj": "attention.out_proj", "mlp.fc1": "mlp.0", "mlp.fc2": "mlp.3"}  # fmt: skip
"""Published names -> ours; `k_map` and `v_map` join `q_map`."""


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
    segmentation: str = later(TIMES)
    """By the `times` of clips, or, as published, with clips as `channels`: then every video has `clips` clips, frames are a sixteenth as wide as
    clips, and each boundary is the most confident frame of its own equal part of the video."""
    clips: int = later(9)
    stages_in_training: str = later(LABELLED)
    """Stages that comparisons are trained on: as `labelled`, where they are, or as `predicted`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_one_of("segmentation", self.segmentation, (TIMES, CHANNELS))
        require_one_of("stages_in_training", self.stages_in_training, (LABELLED, PREDICTED))
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


@dataclass(frozen=True)
class Stages:
    """Of the videos of a batch."""

    points: torch.Tensor
    """`(batch, stages, points, width)`."""
    boundaries: torch.Tensor | None
    """Predicted, `(batch, stages - 1)` seconds; None where they are fixed."""
    loss: torch.Tensor | None
    """Of equation 4 of MVLA; None as above."""


class TSA(Head):
    """TSA: stages are found, and each is compared with the same stage of an exemplar. 311,759 parameters as published, for 1024-wide features."""

    SOURCE = Source(
        "Xu et al., FineDiving: A Fine-grained Dataset for Procedure-aware Action Quality Assessment, CVPR 2022",
        2022, "xujinglin/FineDiving", ("tsa",),
    )  # fmt: skip
    Settings = TSASettings
    not_in_weights = ("heads", "points")

    @classmethod
    def from_published(cls, state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        found = {}
        for name, value in state.items():
            part, *rest = name.split(".")
            if part == "psnet_model" and rest[0] == "tas":
                name = f"segmentation.confidence.{IN_PERCEPTRON[rest[1]]}.{rest[2]}"
            elif part == "psnet_model":
                name = f"segmentation.blocks.{rest[0].removeprefix('down').replace('inc', '0')}.{'.'.join(rest[-2:])}"
            elif part == "regressor_delta":
                name = f"difference.{IN_PERCEPTRON[rest[0]]}.{rest[1]}"
            elif part == "decoder" and rest[-2] in ("k_map", "v_map"):
                continue
            elif part == "decoder":
                name = f"layers.{rest[1]}.{IN_LAYER['.'.join(rest[2:-1])]}.{rest[-1]}"
                if rest[-2] == "q_map":
                    name = name.replace(".weight", "_weight")
                    both = [state.get(".".join([part, *rest[:-2], other, "weight"])) for other in ("k_map", "v_map")]
                    value = torch.cat([value, *(one for one in both if one is not None)])
            found[name] = value
        return found

    @classmethod
    def settings_in(cls, state: Mapping[str, torch.Tensor]) -> dict[str, object]:
        boundaries = size(state, "segmentation.confidence.4.weight")
        return {
            "segmentation": CHANNELS,
            "clips": size(state, "segmentation.blocks.0.0.weight", 1),
            "frames": size(state, "segmentation.blocks.4.3.weight"),
            "stages": boundaries and boundaries + 1,
            "width": size(state, "difference.0.weight", 1),
            "layers": num_modules(state, "layers.") or None,
            "bias": any(name.endswith("in_proj_bias") for name in state),
            "score_range": 1.0,
        }

    @classmethod
    def needs(cls, settings: TSASettings) -> Needs:
        shared = settings.needs
        labelled = 0 if settings.boundaries == FIXED else settings.stages - 1
        return Needs(second_stream=True, boundaries=labelled, scores=shared.scores, exemplars=shared.exemplars)

    def build(self, dim: int, audio_dim: int) -> None:
        s = self.settings
        if s.segmentation == CHANNELS:
            if dim != POOLED * s.width:
                raise SettingsError(
                    f"segmentation=channels takes width={dim // POOLED} for clips of {dim} values, got {s.width}"
                )
            self.segmentation: nn.Module = ProcedureSegmentation(dim, s.clips, s.frames, s.stages - 1)
        else:
            self.segmentation = Segmentation(dim, s.width, s.stages - 1, dropout=s.dropout)
        self.layers = nn.ModuleList(CrossAttention(s.width, s.heads, s.dropout, s.bias) for _ in range(s.layers))
        self.difference = nn.Sequential(
            nn.Linear(s.width, 256), nn.ReLU(), nn.Linear(256, 64), nn.ReLU(), nn.Linear(64, 1)
        )
        self.qualities = Qualities(s)

    def learn_groups(self, training: Comparable) -> None:
        self.qualities.learn_groups(training)

    def segment(self, batches: Sequence[Batch]) -> list[Stages]:
        s = self.settings
        if s.segmentation == CHANNELS:
            grids = [frame_grid(replace(batch, second_stream=None), s.frames) for batch in batches]
            found = self.segmentation(batches)
        else:
            grids = [frame_grid(batch, s.frames) for batch in batches]
            found = [self.segmentation(batch, grid) for batch, grid in zip(batches, grids)]
        return [self._stages(*one) for one in zip(batches, grids, found)]

    def _stages(self, batch: Batch, grid: Grid, found: Segmented) -> Stages:
        s = self.settings
        if s.boundaries == FIXED:
            return Stages(stage_points(found.frames, grid, equal_parts(grid, s.stages), s.points), None, None)
        labelled = self.training and s.stages_in_training == LABELLED or s.boundaries == TRUE
        index = grid.true_or_predicted(found, batch.boundaries) if labelled else found.index
        loss = grid.boundary_loss(found.logits, batch.boundaries, mean=s.boundary_mean)
        points = stage_points(found.frames, grid, index, s.points)
        return Stages(points, grid.boundary_seconds(found.index), loss)

    def compare(self, mine: torch.Tensor, theirs: torch.Tensor) -> torch.Tensor:
        """How much better the one is, `(pairs,)`: the mean over stages and points, of features `(pairs, stages, points, width)`."""
        pairs = len(mine)
        mine, theirs = mine.flatten(0, 1), theirs.flatten(0, 1)
        for layer in self.layers:
            mine = layer(mine, theirs)
        return self.difference(mine).float().view(pairs, -1).mean(1)

    def forward(self, batch: Batch) -> HeadOutput:
        s, pairs = self.settings, Pairs.of(batch)
        others = exemplars_of(batch)
        query, exemplar = self.segment((batch, others))
        known = self.qualities.of(others.target01, others.scores)[pairs.exemplar]
        mine, theirs = query.points[pairs.query], exemplar.points[pairs.exemplar]
        better = self.compare(mine, theirs)
        score01 = self.qualities.back(pairs.votes @ (known + better), batch.scores)
        losses = {}
        if self.training:
            true = self.qualities.of(batch.target01, batch.scores)[pairs.query] - known
            back = self.compare(theirs, mine)
            losses["comparison"] = s.comparison_weight * (F.mse_loss(better, true) + F.mse_loss(back, -true))
            if query.loss is not None and exemplar.loss is not None:
                losses["boundaries"] = s.boundary_weight * (query.loss + exemplar.loss)
        return HeadOutput(score01, boundaries=query.boundaries, losses=losses)
