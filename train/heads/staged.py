"""MVLA whole, for performances with stages and terms for them (Xu et al., MVLA, ECCV 2024, sections 3.2 to 3.4): diving.

With boundaries of stages among the labels this is the paper's scheme for frame-wise annotated data: clips become frames, frames stages, and
texts of stages and of the whole video guide features of all three. Without, it is the other scheme: stages have fixed boundaries, and the
similarity curves of both branches over the clips are drawn together. What the text leaves open is a setting, with the reason.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from longtake.train.errors import DataError, SettingsError
from longtake.train.heads.base import Batch, Head, HeadOutput, Needs
from longtake.train.heads.blocks.layers import ContextEncoder, two_layers
from longtake.train.heads.blocks.segmentation import (
    FIXED,
    PREDICTED,
    TRUE,
    Grid,
    Segmentation,
    Segmented,
    frame_grid,
    require_stages,
    spans,
    times_of,
    to_frames,
)
from longtake.train.heads.mvla import HARD, MVLA, SOFT, Guidance, MVLASettings, divergence, own_texts, similarity_loss

OWN = "own"
GROUPS = ("stages", "videos")
"""Of the prompt set: texts of stages, and of whole videos."""


@dataclass(frozen=True)
class StagedSettings(MVLASettings):
    TEXTS: ClassVar[tuple[str, ...]] = (OWN, SOFT, HARD)

    stages: int = 3
    """Take-off, flight and entry of a dive."""
    boundaries: str = PREDICTED
    """Where stages end: as `predicted`; as the labels say, `true`, which is the oracle of Table 5; or at `fixed` shares of the video, without
    segmentation, for data without labels of boundaries."""
    edges: str = ""
    """The fixed boundaries as shares of a video, such as 0.3,0.8; empty cuts equal parts. The text says "specific to the sports scene"."""
    frames: int = 96
    """On which boundaries are predicted, where no second stream has frames of its own."""
    blocks: int = 2
    """Convolutional blocks from clips to frames; the pictures have one more; the text says "several"."""
    boundary_weight: float = 1.0
    """Of equation 4."""
    frame_level: bool = True
    """Frames, stages and whole videos in equation 6 (Table 4)."""
    stage_level: bool = True
    video_level: bool = True
    texts: str = OWN
    """What attention takes of the texts: the video's `own`, which are known before it is seen, as a dive's number is; all of them, `soft`; or
    the most similar, `hard`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_stages(self.boundaries, self.stages, self.frames)
        try:
            shares = self.shares
        except ValueError:
            shares = []
        if len(shares) != self.stages - 1 or not (0 < shares[0] <= shares[-1] < 1 and shares == sorted(set(shares))):
            raise SettingsError(
                f"edges takes {self.stages - 1} ascending shares between 0 and 1, such as 0.3,0.8, got {self.edges!r}"
            )

    @property
    def shares(self) -> list[float]:
        """Of a video, at which its stages have fixed boundaries."""
        if self.edges:
            return [float(share) for share in self.edges.split(",")]
        return [number / self.stages for number in range(1, self.stages)]


@dataclass(frozen=True)
class Grains:
    """Both branches at their finest level, frames or clips, and how that makes stages."""

    clips: torch.Tensor
    """`(batch, n, width)`, of the video backbone."""
    vision: torch.Tensor
    """`(batch, n, width)`, of CLIP's pictures."""
    mask: torch.Tensor
    """bool, `(batch, n)`."""
    means: torch.Tensor
    """`(batch, stages, n)`: averages over each stage."""
    true_stage: torch.Tensor
    """int64, `(batch, n)`: the stage of each by the true boundaries where they are known, else by those that are used."""
    grid: Grid
    found: Segmented | None

    @property
    def whole(self) -> torch.Tensor:
        """`(batch, 1, n)`: the average over the video."""
        return (self.mask / self.mask.sum(1, keepdim=True))[:, None].float()


class StageGuidance(Guidance):
    """Pictures, texts and segmentation, and their ties to clips `clip_width` wide: all of MVLA but the assessment."""

    settings: StagedSettings

    def __init__(self, settings: StagedSettings, stages: torch.Tensor, vision_dim: int, clip_width: int) -> None:
        super().__init__(settings, stages, vision_dim, clip_width)
        self.segmentation = None
        if settings.boundaries != FIXED:
            # Clips reach the width of the texts through the segmentation.
            self.clip_projection = nn.Identity()
            self.segmentation = Segmentation(
                clip_width, settings.width, settings.stages - 1, settings.dropout, settings.blocks, settings.width
            )

    def grains(self, batch: Batch, clips: torch.Tensor, mask: torch.Tensor) -> Grains:
        """Of clips `(batch, clips, clip_width)` and the pictures of the batch."""
        s = self.settings
        if self.segmentation is None:
            clips, vision = self.clip_projection(clips) * mask[..., None], self.vision_of_clips(batch, mask)
            grid = Grid(batch.mask, times_of(batch))
            index = self._fixed(batch, grid)
            means, true_stage = grid.stage_means(index), grid.stage_of_frames(index)
            return Grains(clips, vision, batch.mask, means, true_stage, grid, None)
        grid = frame_grid(batch, s.frames)
        if batch.second_stream is not None:
            vision = self.vision(batch.second_stream.features, batch.second_stream.mask)
        else:
            vision = to_frames(self.vision_of_clips(batch, mask), batch.mask, times_of(batch), grid)
        found = self.segmentation(batch, grid, clips, vision)
        true = grid.true_or_predicted(found, batch.boundaries)
        used = true if s.boundaries == TRUE else found.index
        means, true_stage = grid.stage_means(used), grid.stage_of_frames(true)
        return Grains(found.frames, vision, grid.mask, means, true_stage, grid, found)

    def _fixed(self, batch: Batch, grid: Grid) -> torch.Tensor:
        """The first clip of each stage but the first, by the clips' middles; every stage has a clip, as far as there are so many."""
        begin, end = spans(batch)
        at = begin[:, None] + (end - begin)[:, None] * torch.tensor(self.settings.shares, device=begin.device)
        middles = grid.middles.masked_fill(~grid.mask, float("inf"))
        index = (middles[:, None] < at[..., None]).sum(-1)
        number = torch.arange(1, at.shape[1] + 1, device=begin.device)
        room = grid.mask.sum(1, keepdim=True) - number.flip(0)
        return torch.maximum((index - number).cummax(1).values + number, number).minimum(room).clamp(min=0)

    def losses_of(
        self, batch: Batch, grains: Grains, stage_texts: torch.Tensor, video_texts: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """Equations 4 and 6, or 7 where boundaries are fixed; while training."""
        s = self.settings
        if not self.training:
            return {}
        found = {}
        if grains.found is not None and s.boundary_weight:
            found["boundaries"] = s.boundary_weight * grains.grid.boundary_loss(grains.found.logits, batch.boundaries)
        stage_terms, video_terms = terms_of(batch)
        terms = []
        for branch in (grains.clips, grains.vision):
            if s.frame_level and grains.found is not None:
                which = stage_terms.gather(1, grains.true_stage.clamp(max=s.stages - 1)).masked_fill(~grains.mask, -1)
                terms.append(similarity_loss(branch, stage_texts, which, s.temperature))
            if s.stage_level:
                terms.append(similarity_loss(grains.means @ branch, stage_texts, stage_terms, s.temperature))
            if s.video_level:
                terms.append(similarity_loss(grains.whole @ branch, video_texts, video_terms, s.temperature))
        if terms and s.similarity_weight:
            found["similarity"] = s.similarity_weight * sum(terms)
        if grains.found is None and s.divergence_weight:
            found["divergence"] = s.divergence_weight * divergence(
                grains.clips, grains.vision, stage_texts, stage_terms, grains.mask, s.temperature
            )
        return found

    def own(self, batch: Batch, stage_texts: torch.Tensor, video_texts: torch.Tensor) -> torch.Tensor:
        """What attention may take: the texts of each video's stages and of the whole, or all of them."""
        if self.settings.texts != OWN:
            return torch.cat([stage_texts, video_texts])
        stage_terms, video_terms = terms_of(batch)
        return torch.cat([own_texts(stage_texts, stage_terms), own_texts(video_texts, video_terms)], 1)


def terms_of(batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """int64, `(batch, stages)` and `(batch, 1)`: the texts of a video's stages and of the whole. Raises `DataError` without such."""
    if batch.terms is None:
        raise DataError("this head reads texts of the stages of each category, and the batch has none")
    return batch.terms[:, :-1], batch.terms[:, -1:]


class StagedMVLA(Head):
    """MVLA whole: stages of a dive by segmentation, and texts of its terms at the levels of frame, stage and video."""

    SOURCE = MVLA.SOURCE
    Settings = StagedSettings
    bfloat16 = True

    @classmethod
    def needs(cls, settings: StagedSettings) -> Needs:
        boundaries = 0 if settings.boundaries == FIXED else settings.stages - 1
        return Needs(
            texts=GROUPS, second_stream=True, boundaries=boundaries, terms=GROUPS, sees_padding=not settings.mask
        )

    def build(self, dim: int, audio_dim: int) -> None:
        s = self.settings
        self.context = ContextEncoder(dim, s.width, heads=s.heads, layers=s.encoder_layers, dropout=s.dropout)
        self.guidance = StageGuidance(s, self.texts("stages"), audio_dim or dim, s.width)
        self.assessment = two_layers((s.stages + 1) * s.width, s.width, 1, s.dropout)

    def forward(self, batch: Batch) -> HeadOutput:
        guidance = self.guidance
        mask = self.mask(batch)
        stage_texts, video_texts = (guidance.texts(self.texts(group)) for group in GROUPS)
        grains = guidance.grains(batch, self.context(batch.clips, mask), mask)
        own = guidance.own(batch, stage_texts, video_texts)
        levels = [
            guidance.attend(means @ grains.clips, means @ grains.vision, own) for means in (grains.means, grains.whole)
        ]
        score = self.assessment(torch.cat(levels, 1).flatten(1))[:, 0]
        return HeadOutput(
            torch.sigmoid(score),
            boundaries=boundaries_of(grains),
            losses=guidance.losses_of(batch, grains, stage_texts, video_texts),
        )


def boundaries_of(grains: Grains) -> torch.Tensor | None:
    """Predicted ones, whichever were used."""
    return None if grains.found is None else grains.grid.boundary_seconds(grains.found.index)
