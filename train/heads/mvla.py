"""MVLA for long programmes: vision-language action knowledge and semantic-aware collaborative attention (Xu et al., MVLA, section 3).

This is the paper's scheme for data without frame-wise annotations, on cached clip features: clips of a video backbone are one
branch, clips of CLIP's pictures the other (the second stream; without one, both branches read the same clips). Grade texts take the
place of sub-action terms, as the paper has it for figure skating and surgery. What its text leaves open is a setting here,
with the reason.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import nn

from longtake.train.errors import SettingsError, require_one_of
from longtake.train.heads.base import GRADES, Batch, Head, HeadOutput, Needs, Source
from longtake.train.heads.blocks.layers import ContextEncoder, Projection, project, two_layers, xavier_
from longtake.train.heads.blocks.segmentation import frame_grid, times_of, to_clips
from longtake.train.heads.blocks.transformer import encoder

SOFT, HARD = "soft", "hard"


@dataclass(frozen=True)
class MVLASettings:
    TEXTS: ClassVar[tuple[str, ...]] = (SOFT, HARD)
    width: int = 512
    """Of both branches and the texts: CLIP's own, so that its pictures and texts keep the space they share."""
    heads: int = 8
    temporal_layers: int = 1
    """Of the temporal Transformer over CLIP's pictures (equation 3); the text says "simple"."""
    encoder_layers: int = 1
    """Of the other branch, which the paper leaves to the method that it is plugged into."""
    stages: int = 4
    """Equal parts of a video; the text says "fixed stage boundaries specific to the sports scene"."""
    temperature: float = 0.07
    """CLIP's initial temperature."""
    similarity_weight: float = 0.1
    """Of the similarity terms of equation 7; 0 leaves vision-language knowledge learning out."""
    divergence_weight: float = 0.1
    """Of the Kullback-Leibler term of equation 7."""
    sca: bool = True
    """False scores the clip branch alone."""
    texts: str = SOFT
    """What attention takes of the texts: all of them, `soft`, or the most similar, `hard`, as the paper words it for data without terms. With a
    single text its weight is always 1, so that two of the matrices of equation 8 would never learn: hence soft."""
    dropout: float = 0.3
    mask: bool = True

    def __post_init__(self) -> None:
        require_one_of("texts", self.texts, self.TEXTS)
        if self.stages < 1 or not self.temperature > 0:
            raise SettingsError(
                f"stages must be 1 or more and temperature above 0, got {self.stages}, {self.temperature}"
            )


class CollaborativeAttention(nn.Module):
    """Equation 8: texts into CLIP's pictures, and these into the features of the video backbone, which may be of another width."""

    def __init__(self, width: int, clip_width: int, dropout: float) -> None:
        super().__init__()
        self.vision_query, self.text_key, self.text_value = (nn.Linear(width, width, bias=False) for _ in range(3))
        self.clip_query = nn.Linear(clip_width, width, bias=False)
        self.vision_key = nn.Linear(width, width, bias=False)
        self.vision_value = nn.Linear(width, clip_width, bias=False)
        self.vision_mlp = two_layers(width, width, width, dropout, nn.GELU)
        self.clip_mlp = two_layers(clip_width, width, clip_width, dropout, nn.GELU)

    def forward(
        self,
        clips: torch.Tensor,
        vision: torch.Tensor,
        texts: torch.Tensor,
        allowed: torch.Tensor | None = None,
        mask: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """`(batch, n, clip_width)`, `(batch, n, width)` and texts `(texts, width)`, or `(batch, texts, width)` where each video has its
        own, -> `(batch, n, clip_width)`. `allowed`, bool `(batch, n, texts)`, says which texts each place may take; `mask`, bool
        `(batch, n)`, which places exist."""
        scale = math.sqrt(texts.shape[-1])
        logits = self.vision_query(vision) @ self.text_key(texts).transpose(-2, -1) / scale
        if allowed is not None:
            logits = logits.masked_fill(~allowed, -float("inf"))
        mixed = logits.softmax(-1) @ self.text_value(texts) + vision
        mixed = self.vision_mlp(mixed) + mixed
        logits = self.clip_query(clips) @ self.vision_key(mixed).transpose(1, 2) / scale
        if mask is not None:
            logits = logits.masked_fill(~mask[:, None], -float("inf"))
        joined = logits.softmax(-1) @ self.vision_value(mixed) + clips
        return self.clip_mlp(joined) + joined


def stage_shares(mask: torch.Tensor, stages: int) -> torch.Tensor:
    """float `(batch, stages, clips)`: averages over equal parts of each video's own clips; a part shorter than a clip takes the one it
    begins in."""
    lengths = mask.sum(1, keepdim=True)
    edges = torch.linspace(0, 1, stages + 1, device=mask.device)[None] * lengths
    first = edges[:, :-1].floor().clamp(max=lengths - 1)
    last = torch.maximum(edges[:, 1:].floor(), first + 1)
    index = torch.arange(mask.shape[1], device=mask.device)[None, None]
    inside = (index >= first[..., None]) & (index < last[..., None]) & mask[:, None]
    return inside / inside.sum(-1, keepdim=True).clamp(min=1)


def similarity(visual: torch.Tensor, texts: torch.Tensor) -> torch.Tensor:
    """Cosines `(..., texts)` of embeddings `(..., width)` with texts `(texts, width)` or `(batch, texts, width)`."""
    return F.normalize(visual, dim=-1, eps=1e-8) @ F.normalize(texts, dim=-1, eps=1e-8).transpose(-2, -1)


def similarity_loss(visual: torch.Tensor, texts: torch.Tensor, which: torch.Tensor, temperature: float) -> torch.Tensor:
    """Equation 5, the mean over embeddings `(batch, n, width)`: which text each belongs to is int64 `(batch, n)`, -1 for none, or
    `(batch,)` where it is one for the whole video."""
    logits = (similarity(visual, texts) / temperature).flatten(0, 1)
    which = (which if which.dim() == 2 else which[:, None].expand(visual.shape[:2])).flatten()
    return F.cross_entropy(logits, which, ignore_index=-1, reduction="sum") / (which >= 0).sum().clamp(min=1)


def divergence(
    clips: torch.Tensor,
    vision: torch.Tensor,
    texts: torch.Tensor,
    which: torch.Tensor,
    mask: torch.Tensor,
    temperature: float,
) -> torch.Tensor:
    """The first term of equation 7: KL of the curves over a video's clips of their similarity with its text, or with each of its texts,
    `which` int64 `(batch,)` or `(batch, n)`, -1 for none. A curve is made a distribution over the clips by a softmax; the mean over curves."""
    which = which if which.dim() == 2 else which[:, None]
    chosen = texts[which.clamp(min=0)]
    curves = []
    for branch in (clips, vision):
        curve = similarity(chosen, branch) / temperature
        curves.append(curve.masked_fill(~mask[:, None], -1e4).log_softmax(-1))
    terms = (curves[0].exp() * (curves[0] - curves[1])).masked_fill(~mask[:, None], 0.0).sum(-1)
    known = which >= 0
    return (terms * known).sum() / known.sum().clamp(min=1)


class Guidance(nn.Module):
    """The branch of pictures and texts, and its ties to the clips: all of MVLA but the assessment."""

    settings: MVLASettings

    def __init__(self, settings: MVLASettings, texts: torch.Tensor, vision_dim: int, clip_width: int) -> None:
        super().__init__()
        s = self.settings = settings
        self.vision_projection = None if vision_dim == s.width else Projection(vision_dim, s.width)
        self.temporal = encoder(s.width, heads=s.heads, layers=s.temporal_layers, dropout=s.dropout)
        xavier_(self.temporal)
        self.text_projection = nn.Identity() if texts.shape[1] == s.width else nn.Linear(texts.shape[1], s.width)
        # Similarities are taken in one space: clips of another width are brought there.
        self.clip_projection: nn.Module = nn.Identity() if clip_width == s.width else nn.Linear(clip_width, s.width)
        self.attention = CollaborativeAttention(s.width, clip_width, s.dropout) if s.sca else None

    def texts(self, raw: torch.Tensor) -> torch.Tensor:
        return self.text_projection(raw)

    def vision_of_clips(self, batch: Batch, mask: torch.Tensor) -> torch.Tensor:
        """Equation 3 at the level of clips, `(batch, clips, width)`: of the second stream, pooled over time where it has a clock of its
        own, or of the clips themselves."""
        if batch.second_stream is not None:
            frames = self.vision(batch.second_stream.features, batch.second_stream.mask)
            return to_clips(frames, frame_grid(batch, 0), batch.mask, times_of(batch))
        return self.vision(batch.clips if batch.audio is None else batch.audio, mask)

    def vision(self, frames: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Equation 3: `(batch, n, vision_dim)` -> `(batch, n, width)`."""
        if self.vision_projection is not None:
            frames = project(self.vision_projection, frames, mask)
        return self.temporal(frames, mask)

    def attend(
        self, clips: torch.Tensor, vision: torch.Tensor, texts: torch.Tensor, mask: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Equation 8, with texts of all videos or of each, as `CollaborativeAttention` takes them."""
        if self.attention is None:
            return clips
        allowed = None
        if self.settings.texts == HARD:
            allowed = F.one_hot(similarity(vision, texts).argmax(-1), texts.shape[-2]).bool()
        return self.attention(clips, vision, texts, allowed, mask)

    def losses(
        self, batch: Batch, clips: torch.Tensor, vision: torch.Tensor, texts: torch.Tensor, mask: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """Equation 7, while training. A video's text is the grade nearest to its score, among its category's where these have their own."""
        s = self.settings
        if not self.training or not (s.similarity_weight or s.divergence_weight):
            return {}
        clips = self.clip_projection(clips)
        num_grades = len(texts) if batch.terms is None else batch.terms.shape[1]
        which = (batch.target01.clamp(0, 1) * (num_grades - 1)).round().long()
        if batch.terms is not None:
            which = batch.terms.gather(1, which[:, None])[:, 0]
        found = {}
        if s.similarity_weight:
            embeddings = [share @ branch for share in levels(mask, s.stages) for branch in (clips, vision)]
            terms = [similarity_loss(embedding, texts, which, s.temperature) for embedding in embeddings]
            found["similarity"] = s.similarity_weight * sum(terms)
        if s.divergence_weight:
            found["divergence"] = s.divergence_weight * divergence(clips, vision, texts, which, mask, s.temperature)
        return found


def own_texts(texts: torch.Tensor, terms: torch.Tensor | None) -> torch.Tensor:
    """Each video's texts, `(batch, n, width)`, of `(texts, width)`; where a category has none, their mean. Without terms, every
    video takes all texts."""
    if terms is None:
        return texts
    return torch.where((terms >= 0)[..., None], texts[terms.clamp(min=0)], texts.mean(0))


def levels(mask: torch.Tensor, stages: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Averages of clips that are stages, `(batch, stages, clips)`, and that is the video, `(batch, 1, clips)`."""
    return stage_shares(mask, stages).float(), (mask / mask.sum(1, keepdim=True))[:, None].float()


class MVLA(Head):
    """MVLA for long programmes: grade texts guide CLIP's pictures, and these the clips of a video backbone."""

    SOURCE = Source("Xu et al., Vision-Language Action Knowledge Learning (MVLA), ECCV 2024", 2024)
    Settings = MVLASettings
    bfloat16 = True

    @classmethod
    def needs(cls, settings: MVLASettings) -> Needs:
        return Needs(texts=(GRADES,), second_stream=True, terms=(GRADES,), sees_padding=not settings.mask)

    def build(self, dim: int, audio_dim: int) -> None:
        s = self.settings
        self.context = ContextEncoder(dim, s.width, heads=s.heads, layers=s.encoder_layers, dropout=s.dropout)
        self.guidance = Guidance(s, self.texts(GRADES), audio_dim or dim, s.width)
        self.assessment = two_layers(2 * s.width, s.width, 1, s.dropout)

    def forward(self, batch: Batch) -> HeadOutput:
        mask = self.mask(batch)
        clips = self.context(batch.clips, mask)
        texts = self.guidance.texts(self.texts(GRADES))
        vision = self.guidance.vision_of_clips(batch, mask)
        means = [
            self.guidance.attend(share @ clips, share @ vision, own_texts(texts, batch.terms)).mean(1)
            for share in levels(mask, self.settings.stages)
        ]
        score = self.assessment(torch.cat(means, -1))[:, 0]
        return HeadOutput(torch.sigmoid(score), losses=self.guidance.losses(batch, clips, vision, texts, mask))
