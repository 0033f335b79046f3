"""MLAVL (Xu et al., language-guided audio-visual learning): modules under the paper's names, and the two heads made of them.

`avcf` is the full model; `pgt` is its visual branch, for data without sound. What the published code does was read off its own
numbers: the shared encoder is `transformer.encoder`, PGT is `transformer.decoder`, and the fusion's decoder is `T_decoder`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from longtake.train.errors import require_one_of
from longtake.train.heads.base import Batch, Head, HeadOutput, Needs, Source
from longtake.train.heads.blocks.action_graph import GCN, MAG2, NONE, SAGE
from longtake.train.heads.blocks.layers import DiagonalScore, Projection, project, xavier_
from longtake.train.heads.blocks.packing import Places
from longtake.train.heads.blocks.transformer import decoder, encoder
from longtake.train.heads.published import num_modules, size

VISUAL_GRADES, AUDIO_VISUAL_GRADES = 6, 12
"""Number of learnable grades that replace the texts where language is switched off: as many as there are texts."""


@dataclass(frozen=True)
class MLAVLSettings:
    width: int = 256
    heads: int = 8
    encoder_layers: int = 1
    fusion_layers: int = 2
    grading_layers: int = 3
    dropout: float = 0.3
    s2ce: bool = True
    """False leaves the projected features without context (Table 5, w/o S2CE)."""
    mag2: str = SAGE
    """`sage` as published, `gcn` as equations 8-9 have it, `none` (Table 5, w/o MAG2)."""
    avcf: bool = True
    """False is plain cross-attention of clips to sound (Table 5, w/o AVCF)."""
    dpg: bool = True
    """False is an MLP of two layers on the mean clip (Table 5, w/o DPG)."""
    language: bool = True
    """False is V or V+A of Figure 4: no action texts, and learnable vectors instead of grade texts."""
    mask: bool = True
    """False feeds the zeros of padding to the network, as the published code does."""

    def __post_init__(self) -> None:
        require_one_of("mag2", self.mag2, (SAGE, GCN, NONE))

    @property
    def has_mag2(self) -> bool:
        return self.language and self.mag2 != NONE


class S2CE(nn.Module):
    """Shared-Specific Context Encoder (equations 3-7): each modality's projection, plus one encoder that all share."""

    def __init__(self, width: int, *, heads: int, layers: int, dropout: float) -> None:
        super().__init__()
        self.encoder = encoder(width, heads=heads, layers=layers, dropout=dropout)
        xavier_(self.encoder)

    def forward(self, specific: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """`(batch, clips, width)` -> the same, zero in the padding."""
        return specific + self.encoder(specific, mask)


class AVCF(nn.Module):
    """Audio-Visual Cross-modal Fusion (equations 10-12): what fits over the whole routine, plus what fits clip by clip."""

    def __init__(self, width: int, *, heads: int, layers: int, dropout: float) -> None:
        super().__init__()
        self.decoder = decoder(width, heads=heads, layers=layers, dropout=dropout)
        self.clip_wise = Projection(2 * width, width)
        xavier_(self.decoder)

    def forward(self, visual: torch.Tensor, audio: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        places = Places.of(mask)
        visual, audio = places.pack(visual), places.pack(audio)
        aligned = self.decoder.packed(visual, audio, places)
        return places.unpack(aligned + self.clip_wise(torch.cat([visual, audio], -1)))


class CrossAttention(nn.Module):
    """What AVCF is compared with: clips ask the sound, and what they get is added."""

    def __init__(self, width: int, *, heads: int, dropout: float) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(width, heads, dropout, batch_first=True)
        self.norm = nn.LayerNorm(width)

    def forward(self, visual: torch.Tensor, audio: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        padding = None if bool(mask.all()) else ~mask
        heard, _ = self.attention(visual, audio, audio, key_padding_mask=padding, need_weights=False)
        return self.norm(visual + heard) * mask[..., None]


class PGT(nn.Module):
    """Performance Grading Transformer (equation 13): grades ask the clips for their evidence. One for both branches."""

    def __init__(self, width: int, *, heads: int, layers: int, dropout: float) -> None:
        super().__init__()
        self.decoder = decoder(width, heads=heads, layers=layers, dropout=dropout)
        xavier_(self.decoder)

    def forward(self, grades: torch.Tensor, clips: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """`(grades, width)` and `(batch, clips, width)` -> patterns `(batch, grades, width)`."""
        return self.decoder(grades, clips, mask)


class MeanScore(nn.Module):
    """What DPG is compared with: an MLP of two layers on the mean clip."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 1))

    def forward(self, clips: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        mean = clips.sum(1) / mask.sum(1, keepdim=True).clamp_min(1)
        return torch.sigmoid(self.layers(mean)).squeeze(-1)


class MLAVL(Head):
    """MLAVL whole: S2CE, MAG2, AVCF, DPG with PGT. 6,987,155 parameters for 1024-wide clips and 768-wide sound."""

    SOURCE = Source(
        "Xu et al., Language-Guided Audio-Visual Learning (MLAVL), CVPR 2025", 2025, "XuHuangbiao/MLAVL", ("mlavl",)
    )
    Settings = MLAVLSettings
    not_in_weights = ("heads",)
    bfloat16 = True
    has_audio = True
    KEY_MAP = {
        **{
            f"{theirs}.{number}.": f"{ours}.{layer}."
            for theirs, ours in {
                "proj_visual": "visual", "proj_audio": "audio", "proj_text": "text", "clip_fusion": "avcf.clip_wise",
            }.items()
            for number, layer in ((0, "linear1"), (1, "norm1"), (3, "linear2"), (4, "norm2"))
        },
        **{
            f"gcn_{letter}.conv{number + 1}.{theirs}.": f"mag2_{modality}.layers.{number}.{ours}."
            for letter, modality in (("V", "visual"), ("A", "audio"))
            for number in range(2)
            for theirs, ours in (("lin_l", "neighbours"), ("lin_r", "own"))
        },
        "transformer.encoder.": "s2ce.encoder.",
        "transformer.decoder.": "pgt.decoder.",
        "T_decoder.": "avcf.decoder.",
        "regressor_AV.": "audio_visual_score.linear.",
        "regressor_V.": "visual_score.linear.",
        "w1": "mix",
        # In the published checkpoints, but not in the path from clips to score.
        "SSCEncoder.": None,
        "GradeDecoder.": None,
        "pos_encoder.": None,
        "CLIP.": None,
    }  # fmt: skip

    @classmethod
    def needs(cls, settings: MLAVLSettings) -> Needs:
        modalities = ("visual", "audio") if cls.has_audio else ("visual",)
        actions = tuple(f"{modality}_actions" for modality in modalities) if settings.has_mag2 else ()
        grades = ("audio_visual_grades", "visual_grades") if cls.has_audio else ("visual_grades",)
        texts = actions + (grades if settings.language and settings.dpg else ())
        return Needs(texts, audio=cls.has_audio, sees_padding=not settings.mask)

    @classmethod
    def settings_in(cls, state: Mapping[str, torch.Tensor]) -> dict[str, object]:
        return {
            "encoder_layers": num_modules(state, "s2ce.encoder.layers."),
            "fusion_layers": num_modules(state, "avcf.decoder.layers.") or None,
            "grading_layers": num_modules(state, "pgt.decoder.layers.") or None,
            "width": size(state, "visual_score.linear.weight", 1),
        }

    def build(self, dim: int, audio_dim: int) -> None:
        s = self.settings
        common: dict[str, Any] = {"heads": s.heads, "dropout": s.dropout}
        self.visual = Projection(dim, s.width)
        if self.has_audio:
            self.audio = Projection(audio_dim, s.width)
            self.avcf = AVCF(s.width, layers=s.fusion_layers, **common) if s.avcf else CrossAttention(s.width, **common)
        if texts := self.needs(s).texts:
            self.text = Projection(self.texts(texts[0]).shape[1], s.width)
        if s.s2ce:
            self.s2ce = S2CE(s.width, layers=s.encoder_layers, **common)
        if s.has_mag2:
            self.mag2_visual = MAG2(s.width, s.mag2, s.dropout)
            if self.has_audio:
                self.mag2_audio = MAG2(s.width, s.mag2, s.dropout)
        if not s.dpg:
            self.mean_score = MeanScore(s.width)
            return
        self.pgt = PGT(s.width, layers=s.grading_layers, **common)
        counts = {"visual": VISUAL_GRADES} | ({"audio_visual": AUDIO_VISUAL_GRADES} if self.has_audio else {})
        for branch, count in counts.items():
            if s.language:
                count = len(self.texts(f"{branch}_grades"))
            else:
                self.register_parameter(f"{branch}_queries", nn.Parameter(torch.randn(count, s.width)))
            setattr(self, f"{branch}_score", DiagonalScore(s.width, count))
        if self.has_audio:
            self.mix = nn.Parameter(torch.tensor([0.5]))

    def forward(self, batch: Batch) -> HeadOutput:
        s = self.settings
        mask = self.mask(batch)
        texts = self._project_texts()
        visual = self._context("visual", batch.clips, mask, texts)
        fused = None
        if self.has_audio:
            fused = self.avcf(visual, self._context("audio", batch.audio, mask, texts), mask)
        if not s.dpg:
            return HeadOutput(self.mean_score(visual if fused is None else fused, mask))
        branches = {"audio_visual": fused, "visual": visual} if fused is not None else {"visual": visual}
        scores, patterns, logits, weights = {}, [], [], {}
        for branch, clips in branches.items():
            grades = texts[f"{branch}_grades"] if s.language else getattr(self, f"{branch}_queries")
            found = self.pgt(grades, clips, mask)
            scores[branch], weights[branch] = getattr(self, f"{branch}_score")(found)
            patterns.append(found)
            if s.language:
                # A plain cosine: the published code has no temperature here.
                logits.append(F.normalize(found, dim=-1) @ F.normalize(grades, dim=-1).T)
        # The triplet loss also keeps the projected texts of each set apart; they are the same for every video.
        patterns += [projected[None] for projected in texts.values()]
        score01 = scores["visual"]
        if fused is not None:
            score01 = self.mix * scores["audio_visual"] + (1 - self.mix) * score01
        return HeadOutput(score01, tuple(patterns), tuple(logits), weights)

    def _project_texts(self) -> dict[str, torch.Tensor]:
        """All texts in one go, because the projection normalises over them."""
        names = self.needs(self.settings).texts
        if not names:
            return {}
        raw = [self.texts(name) for name in names]
        return dict(zip(names, self.text(torch.cat(raw)).split([len(texts) for texts in raw])))

    def _context(
        self, modality: str, clips: torch.Tensor, mask: torch.Tensor, texts: dict[str, torch.Tensor]
    ) -> torch.Tensor:
        found = project(getattr(self, modality), clips, mask)
        if self.settings.s2ce:
            found = self.s2ce(found, mask)
        if self.settings.has_mag2:
            found = getattr(self, f"mag2_{modality}")(found, mask, texts[f"{modality}_actions"])
        return found


class VisualMLAVL(MLAVL):
    """MLAVL's visual branch, for silent data: S2CE, MAG2 with the visual actions, PGT over the visual grades."""

    has_audio = False
    KEY_MAP = {
        key: None if ours and ours.startswith(("audio", "avcf.", "mag2_audio.", "mix")) else ours
        for key, ours in MLAVL.KEY_MAP.items()
    }
