"""M-BERT: a Transformer over pictures and sound whose layers share their weights, also between the two (Lee et al., Parameter Efficient
Multimodal Transformers for Video Representation Learning, ICLR 2021). The tables of Skating-Mixer and MLAVL have it as "M-BERT (Late)".

Each modality: linear to `width`, norm; a learnt first token, the summary; learnt positions, norm; then one layer, `layers` times (ALBERT): attention and feed-forward
with GELU, post-norm, whose linear layers are those of `blocks/factored.py`. Fusion `late` leaves it at that; `mid` then joins both sequences, adds an embedding of the
modality and goes through the same layer with projections of their own; `early` joins at once.

Nothing is published of how a routine is scored. `read=summary`, the default, is a linear layer on both summaries: with it the head has 4.08 M parameters for features of 768
values and 22 positions, where MLAVL's table prints 4.00 M. `read=clips` is the head of the released code, which reads a joint output there: of each clip [summary, clip] of both
modalities, a linear layer without bias each, summed, norm, linear; the mean over clips is ours. Deviations from the released code:
- Padding is not attended to; its clips are ten of each video, which has none.
- Its 22 positions are too few for a routine: `positions`.
- `mid` and `early` follow its description; numbers of its code prove `late`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from longtake.train.errors import DataError, SettingsError, require_at_least, require_one_of
from longtake.train.heads.base import Batch, Head, HeadOutput, Needs, Source
from longtake.train.heads.blocks.dropout import Dropout
from longtake.train.heads.blocks.factored import FactoredLinear, rotations
from longtake.train.heads.published import size, substitute

LATE, MID, EARLY = "late", "mid", "early"
MODALITIES = {LATE: 2, MID: 3, EARLY: 1}
"""Sets of projections: of pictures, of sound, of both joined."""
SUMMARY, CLIPS = "summary", "clips"
EPSILON = 1e-12
"""Of all norms, as in the published code."""


@dataclass(frozen=True)
class MBERTSettings:
    width: int = 768
    heads: int = 12
    layers: int = 6
    """How often the one layer is applied."""
    feed_forward: int = 3072
    orthogonal: int = 128
    """Width of the rotated space."""
    fusion: str = LATE
    read: str = SUMMARY
    """What gives the score: both summaries, or each clip with its summary."""
    positions: int = 512
    """Longest sequence, with the summary. Those that no training video reached are random: test a centre window, as the preset does."""
    dropout: float = 0.1

    def __post_init__(self) -> None:
        require_one_of("fusion", self.fusion, MODALITIES)
        require_one_of("read", self.read, (SUMMARY, CLIPS))
        require_at_least(self, layers=1, orthogonal=2, positions=2)
        if self.width % self.heads:
            raise SettingsError(f"heads={self.heads} does not divide width={self.width}")


class SharedLayer(nn.Module):
    """A post-norm layer of attention and feed-forward, applied several times."""

    def __init__(self, settings: MBERTSettings, modalities: int) -> None:
        super().__init__()
        s = settings
        self.heads, self.dropout = s.heads, Dropout(s.dropout)
        self.query, self.key, self.value, self.dense = (
            FactoredLinear(s.width, s.width, s.orthogonal, modalities) for _ in range(4)
        )
        self.widen = FactoredLinear(s.width, s.feed_forward, s.orthogonal, modalities)
        self.narrow = FactoredLinear(s.feed_forward, s.width, s.orthogonal, modalities)
        self.norm1, self.norm2 = (nn.LayerNorm(s.width, EPSILON) for _ in range(2))

    def forward(self, tokens: torch.Tensor, mask: torch.Tensor, modalities: slice, times: int) -> torch.Tensor:
        """`(modalities, batch, tokens, width)` and which tokens exist, `(batch, tokens)` -> the same after so many applications."""
        parts = self.query, self.key, self.value, self.dense, self.widen, self.narrow
        turns = rotations([one for part in parts for one in part.rotations[modalities]]).unflatten(0, (len(parts), -1))
        matrices = [(part.own_matrices(modalities), turn) for part, turn in zip(parts, turns)]
        blocked = ~mask[:, None, None]
        for _ in range(times):
            asked = (part(tokens, *found) for part, found in zip(parts[:3], matrices))
            query, key, value = (one.unflatten(-1, (self.heads, -1)).transpose(2, 3) for one in asked)
            logits = query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5
            mixed = self.dropout(logits.masked_fill(blocked, -torch.inf).softmax(-1)) @ value
            mixed = self.dense(mixed.transpose(2, 3).flatten(3), *matrices[3])
            tokens = self.norm1(tokens + self.dropout(mixed))
            wide = F.gelu(self.widen(tokens, *matrices[4]))
            tokens = self.norm2(tokens + self.dropout(self.narrow(wide, *matrices[5])))
        return tokens


class Embedding(nn.Module):
    """Clips of one modality -> the sequence of its summary and its clips, `(batch, clips + 1, width)`."""

    def __init__(self, dim: int, settings: MBERTSettings) -> None:
        super().__init__()
        s = settings
        self.linear, self.norm1 = nn.Linear(dim, s.width), nn.LayerNorm(s.width, EPSILON)
        self.summary = nn.Parameter(0.02 * torch.randn(s.width))
        self.positions = nn.Parameter(0.02 * torch.randn(s.positions, s.width))
        self.norm2, self.dropout = nn.LayerNorm(s.width, EPSILON), Dropout(s.dropout)

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        embedded = self.norm1(self.linear(clips))
        sequence = torch.cat([self.summary.expand(len(clips), 1, -1), embedded], 1)
        if sequence.shape[1] > len(self.positions):
            raise DataError(
                f"this head has {len(self.positions)} positions, and a video of {clips.shape[1]} clips needs {sequence.shape[1]}: "
                f"--set positions={sequence.shape[1]}, or --set test_window=centre"
            )
        return self.dropout(self.norm2(sequence + self.positions[: sequence.shape[1]]))


class MBERT(Head):
    """M-BERT: a Transformer over pictures and sound, with one layer for all depths and most of it for both."""

    SOURCE = Source("Lee et al., M-BERT, ICLR 2021", 2021, "sangho-vision/avbert", ("mbert_late",))
    Settings = MBERTSettings
    bfloat16 = True
    why_no_import = "they have no layers that score a routine"

    @classmethod
    def needs(cls, settings: MBERTSettings) -> Needs:
        return Needs(audio=True)

    @classmethod
    def from_published(cls, state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        made = substitute(state, NAMES)
        summaries = made.pop("summaries", None)
        if summaries is not None and summaries.dim() == 2:
            made |= {f"embeddings.{index}.summary": row for index, row in enumerate(summaries)}
        return made

    @classmethod
    def settings_in(cls, state: Mapping[str, torch.Tensor]) -> dict[str, Any]:
        own = [name for name in state if name.startswith("layer.query.own.")]
        return {
            "width": size(state, "embeddings.0.linear.weight"),
            "positions": size(state, "embeddings.0.positions"),
            "feed_forward": size(state, "layer.widen.shared.weight"),
            "orthogonal": size(state, "layer.query.shared.weight", 1),
            "fusion": next((name for name, count in MODALITIES.items() if count == len(own)), None),
        }

    def build(self, dim: int, audio_dim: int) -> None:
        s = self.settings
        self.embeddings = nn.ModuleList(Embedding(one, s) for one in (dim, audio_dim))
        self.layer = SharedLayer(s, MODALITIES[s.fusion])
        if s.fusion != LATE:
            self.kinds = nn.Parameter(0.02 * torch.randn(2, s.width))
            self.kinds_norm = nn.LayerNorm(s.width, EPSILON)
        if s.read == SUMMARY:
            self.score = nn.Linear(2 * s.width, 1)
        else:
            self.pairs = nn.ModuleList(nn.Linear(2 * s.width, s.width, bias=False) for _ in range(2))
            self.score = nn.Sequential(nn.LayerNorm(s.width), nn.Linear(s.width, 1))

    def encode(self, clips: torch.Tensor, audio: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """`(2, batch, clips + 1, width)`: the sequences of pictures and sound, summaries first."""
        s = self.settings
        there = F.pad(mask, (1, 0), value=True)
        tokens = torch.stack([embed(one) for embed, one in zip(self.embeddings, (clips, audio))])
        if s.fusion != EARLY:
            tokens = self.layer(tokens, there, slice(0, 2), s.layers)
        if s.fusion == LATE:
            return tokens
        joined = self.kinds_norm(tokens + self.kinds[:, None, None])
        joined = torch.cat([*joined], 1)[None]
        joined = self.layer(joined, torch.cat([there, there], 1), slice(-1, None), s.layers)[0]
        return torch.stack(joined.chunk(2, 1))

    def forward(self, batch: Batch) -> HeadOutput:
        assert batch.audio is not None
        encoded = self.encode(batch.clips, batch.audio, batch.mask)
        if self.settings.read == SUMMARY:
            return HeadOutput(self.score(torch.cat([*encoded[:, :, 0]], -1))[:, 0].float())
        summary, clips = encoded[:, :, :1], encoded[:, :, 1:]
        pairs = torch.cat([summary.expand_as(clips), clips], -1)
        joined = self.pairs[0](pairs[0]) + self.pairs[1](pairs[1])
        scores = self.score(joined)[..., 0].float() * batch.mask
        return HeadOutput(scores.sum(1) / batch.mask.sum(1))


NAMES = (
    (r"^transformer\.encoder\.albert_layer_groups\.0\.albert_layers\.0\.", "layer."),
    (r"attention\.LayerNorm", "norm1"),
    ("full_layer_layer_norm", "norm2"),
    (r"attention\.factor_", ""),
    ("factor_ffn_output", "narrow"),
    ("factor_ffn", "widen"),
    (r"orthogonal_ms(\d)_linear\.A", r"rotations.\1.skew"),
    (r"orthogonal_ms(\d)_linear", r"rotations.\1"),
    (r"ms(\d)_linear", r"own.\1"),
    ("s_linear", "shared"),
    (r"^summary_encoding\.bos_embeddings\.weight", "summaries"),
    (r"^(single_)?visual_", "embeddings.0."),
    (r"^(single_)?audio_", "embeddings.1."),
    (r"embeddings\.position_embeddings\.weight", "positions"),
    (r"embeddings\.LayerNorm", "norm2"),
    (r"^(embeddings\.\d\.)fc\.", r"\1linear."),
    (r"^(embeddings\.\d\.)norm\.", r"\1norm1."),
)
"""Patterns of published names, in order -> ours."""
