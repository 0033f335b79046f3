"""TPT: a video is parsed into parts by queries, and compared part by part with an exemplar (Bai et al., Action Quality Assessment with
Temporal Parsing Transformer, ECCV 2022, section 3). A host that MVLA is plugged into.

Where its text and its published code differ or the text is silent, the code decides: clips are projected by each layer, only the first
layer lets the queries attend to each other, the temperature begins at 0.07 and divides products that are divided by the width.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from longtake.train.heads.base import Batch, HeadOutput, Source
from longtake.train.heads.blocks.contrast import Differences, GroupHead, GroupSettings, exemplars_of, judge
from longtake.train.heads.blocks.layers import two_layers, xavier_
from longtake.train.heads.published import num_modules, rename, size
from longtake.train.heads.settings import later


@dataclass(frozen=True, repr=False)
class TPTSettings(GroupSettings):
    width: int = 512
    heads: int = 8
    """Of the queries' attention to each other."""
    queries: int = 5
    layers: int = 2
    feed_forward: int = 512
    groups: int = 16
    dropout: float = 0.1
    temperature: float = 0.07
    """Learnt; it begins here."""
    margin: float = 1.0
    """Clips that the centres of neighbouring queries should be apart, where `spacing` is 0. Published for 20 clips and 5 queries: 3.2."""
    spacing: float = later(0.0)
    """The margin as a share of the distance at which a video's clips space the queries evenly, `(clips - 1) / (queries + 1)`."""
    ranking_weight: float = 1.0
    sparsity_weight: float = 0.05
    """Both as published."""
    mask: bool = True


class ParsingLayer(nn.Module):
    """Queries look at the clips, each at its own (TPT, section 3)."""

    def __init__(self, dim: int, settings: TPTSettings, attends: bool) -> None:
        super().__init__()
        s = settings
        self.temperature = nn.Parameter(torch.tensor(s.temperature))
        self.query, self.key, self.value = nn.Linear(s.width, s.width), nn.Linear(dim, s.width), nn.Linear(dim, s.width)
        self.norm1, self.norm2 = nn.LayerNorm(s.width), nn.LayerNorm(s.width)
        self.mlp = two_layers(s.width, s.feed_forward, s.width, s.dropout)
        self.dropout = nn.Dropout(s.dropout)
        self.attention = nn.MultiheadAttention(s.width, s.heads, s.dropout, batch_first=True) if attends else None
        self.norm3 = nn.LayerNorm(s.width) if attends else None

    def forward(
        self, parts: torch.Tensor, places: torch.Tensor, clips: torch.Tensor, mask: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Parts `(batch, queries, width)`, the embedding of each query `(queries, width)`, and clips -> parts, and what each query looks at,
        `(batch, queries, clips)`."""
        # q (K c) = (q K) c, and weights that add up to 1 of V c are V of their mean: few queries go through the layers, not all clips.
        asked = self.query(parts + places)
        logits = asked @ self.key.weight @ clips.transpose(1, 2) + (asked @ self.key.bias)[..., None]
        logits = logits / parts.shape[-1] / self.temperature
        looks = logits.float().masked_fill(~mask[:, None], -float("inf")).softmax(-1)
        parts = self.norm1(parts + self.dropout(self.value(looks @ clips)))
        parts = self.norm2(parts + self.dropout(self.mlp(parts)))
        if self.attention is not None and self.norm3 is not None:
            asked = parts + places
            parts = self.norm3(parts + self.dropout(self.attention(asked, asked, parts, need_weights=False)[0]))
        return parts, looks


def centres_of(looks: torch.Tensor) -> torch.Tensor:
    """Where each query looks in the mean, `(batch, queries)`; clips count from 1 (TPT, section 3)."""
    return looks @ torch.arange(1, looks.shape[-1] + 1, device=looks.device, dtype=looks.dtype)


def ranking_loss(looks: torch.Tensor, lengths: torch.Tensor, margin: float, spacing: float = 0.0) -> torch.Tensor:
    """Queries look one after the other, at least a margin apart, the first after the first clip and the last before the last (TPT, section
    3): what neighbours lack of it, summed over queries, the mean over videos. `looks` as above, `lengths` `(batch,)`."""
    apart = spacing * (lengths[:, None] - 1) / (looks.shape[1] + 1) if spacing else margin
    centres = centres_of(looks)
    ends = torch.stack([torch.ones_like(lengths), lengths], -1).to(centres)
    line = torch.cat([ends[:, :1], centres, ends[:, 1:]], -1)
    return F.relu(apart - line.diff(dim=-1)).sum(-1).mean()


def sparsity_loss(looks: torch.Tensor) -> torch.Tensor:
    """How far from its centre a query looks, in clips, the mean over queries and videos (TPT, section 3)."""
    clips = torch.arange(1, looks.shape[-1] + 1, device=looks.device, dtype=looks.dtype)
    return ((clips - centres_of(looks)[..., None]).abs() * looks).sum(-1).mean()


class TPT(GroupHead):
    """TPT: five queries parse the clips into parts, compared with those of an exemplar. 5,656,354 parameters for 1024-wide features."""

    SOURCE = Source(
        "Bai et al., Action Quality Assessment with Temporal Parsing Transformer, ECCV 2022",
        2022, "baiyang4/aqa_tpt", ("tpt", "tpt_full_rule"),
    )  # fmt: skip
    Settings = TPTSettings
    not_in_weights = ("heads",)
    KEY_MAP = {"action_decoder.query_embed.weight": "places", "action_decoder.layers.": "layers.", "pair_encoder.mlp.": "pair.",
               "cls.": "group.", "reg.": "place."}  # fmt: skip
    IN_LAYER = {"temp": "temperature", "key_embed": "key", "value_embed": "value", "query_embed": "query", "linear1": "mlp.0",
                "linear2": "mlp.3", "self_attn": "attention"}  # fmt: skip

    @classmethod
    def from_published(cls, state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """The published code compares [exemplar, query]."""
        found = {}
        for name, value in rename(state, cls.KEY_MAP).items():
            parts = name.split(".")
            if parts[0] == "layers":
                parts[2] = cls.IN_LAYER.get(parts[2], parts[2])
            found[".".join(parts)] = value.roll(value.shape[1] // 2, 1) if name == "pair.0.weight" else value
        return found

    @classmethod
    def settings_in(cls, state: Mapping[str, torch.Tensor]) -> dict[str, object]:
        return {
            "queries": size(state, "places"),
            "width": size(state, "places", 1),
            "layers": num_modules(state, "layers.") or None,
            "feed_forward": size(state, "layers.0.mlp.0.weight"),
            "groups": size(state, "group.2.weight"),
        }

    def build(self, dim: int, audio_dim: int) -> None:
        s = self.settings
        self.places = nn.Parameter(torch.empty(s.queries, s.width))
        self.layers = nn.ModuleList(ParsingLayer(dim, s, attends=index == 0) for index in range(s.layers))
        nn.init.xavier_uniform_(self.places)
        xavier_(self.layers)
        self.pair = two_layers(2 * s.width, s.width, s.width, s.dropout)
        self.group, self.place = (
            nn.Sequential(nn.Linear(s.width, 128), nn.ReLU(), nn.Linear(128, s.groups)) for _ in range(2)
        )
        self.differences = Differences(s, s.groups)

    def parse(self, batch: Batch) -> tuple[torch.Tensor, list[torch.Tensor], torch.Tensor]:
        """Parts `(batch, queries, width)`, what the queries of each layer look at, and the lengths of videos."""
        mask = self.mask(batch)
        parts, looks = self.places.new_zeros(len(mask), *self.places.shape), []
        for layer in self.layers:
            parts, seen = layer(parts, self.places, batch.clips, mask)
            looks.append(seen)
        return parts, looks, mask.sum(1)

    def forward(self, batch: Batch) -> HeadOutput:
        s = self.settings
        parsed = [self.parse(one) for one in (batch, exemplars_of(batch))]
        score01, losses = judge(batch, parsed[0][0], parsed[1][0], self._compare, self.differences)
        if self.training:
            # Layer by layer over both sides, whose videos weigh the same.
            shares = [len(lengths) for _, _, lengths in parsed]
            terms = [(len(lengths) / sum(shares), seen, lengths) for _, looks, lengths in parsed for seen in looks]
            ranked = [w * ranking_loss(seen, n, s.margin, s.spacing) for w, seen, n in terms]
            losses["ranking"] = s.ranking_weight * sum(ranked)
            losses["sparsity"] = s.sparsity_weight * sum(w * sparsity_loss(seen) for w, seen, _ in terms)
        return HeadOutput(score01, losses=losses)

    def _compare(
        self, mine: torch.Tensor, theirs: torch.Tensor, known: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Parts in pairs, their mean, a group and a place in each (TPT, section 3). The exemplar's score is not read."""
        relative = self.pair(torch.cat([mine, theirs], -1)).mean(1)
        return self.group(relative).float().log_softmax(-1), torch.sigmoid(self.place(relative).float())
