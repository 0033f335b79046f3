"""QTD: as many queries as clips ask the clips, and each gives a score and a weight (Dong et al., Interpretable Long-term Action Quality
Assessment, BMVC 2024, section 3).

Clips `(batch, clips, dim)` as they are, without a projection. Pre-norm layers of width dim; with q the queries `(queries, dim)` and p their places,
the queries themselves plus a sinusoidal table:

    a = norm(q), s = self-attention of a + p on a, q <- s + dropout(s); the incoming q is not added
    q <- q + cross-attention of norm(q) + p on the clips, q <- q + feed-forward of norm(q)
    score   sum over queries of softmax(weight) * score, two perceptrons on each query
    loss    squared error + KL of the queries' similarities after self-attention and after cross-attention, layer by layer

The KL is a sum over the batch and both axes of `S S' / dim` (section 3.3: against skipping parts of a video). dx199771/Interpretability-AQA; 22,388,738
parameters for 68 queries of 1024 values.

Deviations: the published code draws the queries again from `N(0, query_std^2)` at every forward, in tests too, so that what they learn does not
matter. Here that is how they begin, as the text has it; `published_defects` draws them, and takes places and keys from the first video of a batch.
Padding is not attended to.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from longtake.train.errors import SettingsError, require_at_least, require_one_of
from longtake.train.heads.base import Batch, Head, HeadOutput, Needs, Source
from longtake.train.heads.blocks.dropout import add_dropout, dropout
from longtake.train.heads.blocks.units import UnitSettings
from longtake.train.heads.published import WithDefects, num_modules, size

PLACES = ("query", "memory", "query_memory", "no")


@dataclass(frozen=True)
class QTDSettings(UnitSettings, WithDefects):
    queries: int = 68
    heads: int = 4
    layers: int = 2
    feed_forward: int = 1024
    hidden: int = 512
    """Width of the first layer of the perceptrons; the second has half of it."""
    dropout: float = 0.7
    query_std: float = 1.0
    """Deviation of the queries, as they begin; 1 is never drawn again."""
    places: str = "query"
    """What gets places in time: the `query`, the `memory` of clips as keys, both, `query_memory`, or `no`."""
    attention_weight: float = 1.0
    """Of the KL; of squared errors in the units of the layers."""
    score_noise: float = 0.0
    """Deviation of noise on scores while training, on the scale of the layers."""

    def __post_init__(self) -> None:
        require_at_least(self, queries=1, heads=1, layers=1, hidden=2)
        require_one_of("places", self.places, PLACES)


def sinusoids(rows: int, width: int) -> torch.Tensor:
    """`(rows, width)`: sines at even places, cosines at odd ones (Vaswani et al., 2017)."""
    rate = torch.exp(torch.arange(0, width, 2, dtype=torch.float64) * (-torch.log(torch.tensor(1e4).double()) / width))
    angle = torch.arange(rows, dtype=torch.float64)[:, None] * rate
    return torch.stack([angle.sin(), angle.cos()], -1).flatten(1)[:, :width].float()


class Attention(nn.MultiheadAttention):
    """Its parameters, for queries that may be the same for all videos: they are projected once, though videos differ in what is dropped."""

    def attend(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, batch: int, mask: torch.Tensor | None = None
    ) -> torch.Tensor:
        """`(n, width)` or `(batch, n, width)` each -> the same; of `batch` videos where something is dropped. `mask`, bool `(batch, keys)`: which
        keys there are."""
        weights, biases = self.in_proj_weight.chunk(3), self.in_proj_bias.chunk(3)
        query, key, value = (
            F.linear(values, weight, bias).unflatten(-1, (self.num_heads, -1)).transpose(-3, -2)
            for values, weight, bias in zip((query, key, value), weights, biases)
        )
        logits = (query * query.shape[-1] ** -0.5) @ key.transpose(-2, -1)
        if mask is not None:
            logits = logits.masked_fill(~mask[:, None, None], -torch.inf)
        weights = logits.softmax(-1)
        if weights.dim() == 3 and self.training and self.dropout:
            weights = weights.expand(batch, *weights.shape)
        mixed = dropout(weights, self.dropout, self.training) @ value
        return self.out_proj(mixed.transpose(-3, -2).flatten(-2))


class QueryLayer(nn.Module):
    """One layer of the decoder. Names of its parts are the published ones."""

    def __init__(self, width: int, settings: QTDSettings) -> None:
        super().__init__()
        self.self_attn = Attention(width, settings.heads, settings.dropout)
        self.multihead_attn = Attention(width, settings.heads, settings.dropout)
        self.linear1, self.linear2 = nn.Linear(width, settings.feed_forward), nn.Linear(settings.feed_forward, width)
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(width) for _ in range(3))
        self.dropout = settings.dropout

    def forward(
        self,
        queries: torch.Tensor,
        places: torch.Tensor,
        keys: torch.Tensor,
        clips: torch.Tensor,
        mask: torch.Tensor | None,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Queries, and what both attentions give."""
        normed = self.norm1(queries)
        among = self.self_attn.attend(normed + places, normed + places, normed, len(clips))
        queries = add_dropout(among, among, self.dropout, self.training)
        found = self.multihead_attn.attend(self.norm2(queries) + places, keys, clips, len(clips), mask)
        queries = add_dropout(queries, found, self.dropout, self.training)
        inner = dropout(torch.relu(self.linear1(self.norm3(queries))), self.dropout, self.training)
        return add_dropout(queries, self.linear2(inner), self.dropout, self.training), among, found


def attention_loss(among: torch.Tensor, found: torch.Tensor) -> torch.Tensor:
    """Section 3.3: KL of the similarities of queries after cross-attention, `(batch, queries, width)`, from those after self-attention, which may
    lack the batch where they are the same for all videos; the sum over videos, queries and their similarities."""
    logs, target = (
        (values @ values.transpose(-2, -1) / values.shape[-1]).float().log_softmax(-1) for values in (among, found)
    )
    return (target.exp() * (target - logs)).sum()


class QTD(Head):
    """QTD: queries ask the clips, and each gives a score and its weight."""

    SOURCE = Source(
        "Dong et al., Interpretable Long-term Action Quality Assessment, BMVC 2024", 2024, "dx199771/Interpretability-AQA",
        ("qtd", "qtd_nq9", "qtd_query_noise", "qtd_full_rule"),
    )  # fmt: skip
    Settings = QTDSettings
    not_in_weights = ("heads", "places", "query_std", "judges_units", "unit")
    KEY_MAP = {
        "neck.decoder.layers.": "layers.",
        "neck.decoder.norm.": "norm.",
        "neck.query_embed.weight": "queries",
        "neck.pos_encoder.": None,
        **{
            f"head.layer{number}_{theirs}.": f"{ours}.{2 * number - 2}."
            for theirs, ours in (("mean", "score"), ("weight", "weight"))
            for number in (1, 2, 3)
        },
    }
    stacks = True
    bfloat16 = True

    @classmethod
    def needs(cls, settings: QTDSettings) -> Needs:
        return Needs(sees_padding=settings.sees_padding, alone=settings.published_defects)

    @classmethod
    def settings_in(cls, state: Mapping[str, torch.Tensor]) -> dict[str, object]:
        return {
            "queries": size(state, "queries"),
            "layers": num_modules(state, "layers.") or None,
            "feed_forward": size(state, "layers.0.linear1.weight"),
            "hidden": size(state, "score.0.weight"),
        }

    def build(self, dim: int, audio_dim: int) -> None:
        s = self.settings
        if dim % s.heads or dim % 2:
            raise SettingsError(
                f"clips of {dim} values cannot have heads={s.heads}, whose number must divide them, and must be even"
            )
        self.queries = nn.Parameter(torch.randn(s.queries, dim) * s.query_std)
        self.layers = nn.ModuleList(QueryLayer(dim, s) for _ in range(s.layers))
        self.norm = nn.LayerNorm(dim)
        self.score, self.weight = (
            nn.Sequential(
                nn.Linear(dim, s.hidden),
                nn.ReLU(),
                nn.Linear(s.hidden, s.hidden // 2),
                nn.ReLU(),
                nn.Linear(s.hidden // 2, 1),
            )
            for _ in range(2)
        )
        self.register_buffer("table", sinusoids(s.queries, dim), persistent=False)

    def first_queries(self, batch: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Queries, the same for all videos or `(batch, queries, width)`, and their places `(queries, width)`."""
        s, queries = self.settings, self.queries
        if s.published_defects and s.query_std != 1:
            noise = torch.randn(s.queries, batch, queries.shape[1], device=queries.device).transpose(0, 1)
            # The embedding is written over and has a gradient all the same.
            queries = queries + (noise * s.query_std - queries).detach()
        own = queries if queries.dim() == 2 else queries[0]
        return queries, own + self.table if s.places.startswith("query") else torch.zeros_like(self.table)

    def decode(self, batch: Batch) -> tuple[torch.Tensor, list[tuple[torch.Tensor, torch.Tensor]]]:
        """Queries `(batch, queries, dim)`, and what both attentions of each layer gave."""
        s, mask, clips = self.settings, self.mask(batch), batch.clips
        queries, places = self.first_queries(len(clips))
        when = None
        if s.places.endswith("memory"):
            table = sinusoids(clips.shape[1], clips.shape[2]).to(clips)
            when = table + (clips[:1] if s.published_defects else clips)
        seen = []
        for layer in self.layers:
            keys = clips if when is None else clips + when
            queries, among, found = layer(queries, places, keys, clips, mask)
            seen.append((among, found))
            if s.published_defects:
                # Which hands keys on as what the next layer reads.
                clips = keys
        return self.norm(queries), seen

    def read(self, queries: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Scores and weights of queries, `(batch, queries)` each."""
        return self.score(queries)[..., 0].float(), self.weight(queries)[..., 0].float().softmax(-1)

    def forward(self, batch: Batch) -> HeadOutput:
        s = self.settings
        queries, seen = self.decode(batch)
        scores, weights = self.read(queries)
        score = (scores * weights).sum(-1)
        if not self.training:
            return HeadOutput(s.to01(score), weights={"queries": weights})
        losses = {}
        if s.attention_weight:
            # The KL is weighed against squared errors in the units of the layers; those of the loop are on the scale 0 to 1.
            losses["attention"] = s.attention_weight * sum(attention_loss(*pair) for pair in seen) / s.span**2
        if s.score_noise:
            score = score + s.score_noise * torch.randn_like(score)
        return HeadOutput(s.to01(score), weights={"queries": weights}, losses=losses)
