"""The Transformer of the GDLT family with torch's parameters and none of its waste.

Post-norm layers (Vaswani et al., 2017), as `nn.TransformerEncoder` and `nn.TransformerDecoder` have them, with equal results. What
differs is what is computed: padding is packed away wherever clips do not meet; queries that are the same for every video are
projected once; a few queries of many clips are brought to the clips instead of the clips to them; a query with a single key has
nothing to compare; attention weights are dropped by `longtake.train.heads.blocks.dropout`.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from longtake.train.heads.blocks.dropout import add_dropout, dropout, relu_dropout
from longtake.train.heads.blocks.packing import Places


class Encoder(nn.TransformerEncoder):
    """Layers of self-attention over the clips of each video, and feed-forward."""

    def forward(self, clips: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """`(batch, clips, width)` and its mask -> the same, zero in the padding."""
        places = Places.of(mask)
        return places.unpack(self.packed(places.pack(clips), places))

    def packed(self, clips: torch.Tensor, places: Places) -> torch.Tensor:
        """`(n, width)` -> `(n, width)`."""
        for layer in self.layers:
            mixed = _attend_to_each_other(layer.self_attn, clips, places)
            clips = layer.norm1(add_dropout(clips, mixed, layer.dropout1.p, self.training))
            clips = layer.norm2(add_dropout(clips, _feed_forward(layer, clips), layer.dropout2.p, self.training))
        return self.norm(clips)


class Decoder(nn.TransformerDecoder):
    """Layers of self-attention of the queries, cross-attention to what they ask, and feed-forward."""

    seen: list[torch.Tensor] | None = None
    """Where it is a list, every call adds the attention of the last layer, `(batch, queries, clips)`, the mean over heads."""

    def forward(
        self, queries: torch.Tensor, clips: torch.Tensor, mask: torch.Tensor, blocked: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Queries `(queries, width)`, the same for every video, or `(batch, queries, width)`; clips `(batch, clips, width)` and their mask ->
        `(batch, queries, width)`. `blocked`, bool `(queries, queries)`, says which queries do not attend to each other."""
        places = Places.of(mask)
        for layer in self.layers:
            queries = self._ask_each_other(layer, queries, len(clips), blocked)
            found, weights = _ask_clips(layer.multihead_attn, queries, clips, places)
            queries = self._add(layer, queries, found)
        if self.seen is not None:
            self.seen.append(weights.detach().float().mean(2))
        return self.norm(queries)

    def one_key(
        self, queries: torch.Tensor, keys: torch.Tensor, which: torch.Tensor, blocked: torch.Tensor | None = None
    ) -> torch.Tensor:
        """As `forward`, where query i asks key `which[i]` of `(batch, keys, width)` and no other: a softmax over one key is
        always 1."""
        for layer in self.layers:
            queries = self._ask_each_other(layer, queries, len(keys), blocked)
            queries = self._add(layer, queries, _take(layer.multihead_attn, keys, which))
        return self.norm(queries)

    def packed(self, clips: torch.Tensor, others: torch.Tensor, places: Places) -> torch.Tensor:
        """Clips that ask other clips of the same places: `(n, width)` twice -> `(n, width)`."""
        for layer in self.layers:
            mixed = _attend_to_each_other(layer.self_attn, clips, places)
            clips = layer.norm1(add_dropout(clips, mixed, layer.dropout1.p, self.training))
            attention = layer.multihead_attn
            query = places.unpack(_project(attention, clips, 0, 1))
            key, value = places.unpack(_project(attention, others, 1, 3)).chunk(2, -1)
            mixed = _mix(attention, query, key, value, places)
            clips = self._add(layer, clips, attention.out_proj(places.pack(mixed)))
        return self.norm(clips)

    def _ask_each_other(
        self, layer: nn.Module, queries: torch.Tensor, batch: int, blocked: torch.Tensor | None
    ) -> torch.Tensor:
        attention = layer.self_attn
        query, key, value = (_heads(part, attention) for part in _project(attention, queries, 0, 3).chunk(3, -1))
        weights = _weights(query, key, blocked)
        if queries.dim() == 2 and self.training and attention.dropout:
            # Videos differ in what is dropped and in nothing else: values pass the output's layer before they are mixed.
            dropped = dropout(weights.expand(batch, *weights.shape), attention.dropout, True)
            by_query = value @ _output_by_head(attention)
            mixed = dropped.transpose(1, 2).flatten(2) @ by_query.flatten(0, 1) + attention.out_proj.bias
        else:
            mixed = _joined(dropout(weights, attention.dropout, self.training) @ value)
            mixed = attention.out_proj(mixed)
        return layer.norm1(add_dropout(queries, mixed, layer.dropout1.p, self.training))

    def _add(self, layer: nn.Module, queries: torch.Tensor, found: torch.Tensor) -> torch.Tensor:
        queries = layer.norm2(add_dropout(queries, found, layer.dropout2.p, self.training))
        return layer.norm3(add_dropout(queries, _feed_forward(layer, queries), layer.dropout3.p, self.training))


def _feed_forward(layer: nn.Module, tokens: torch.Tensor) -> torch.Tensor:
    kept, scale = relu_dropout(layer.linear1(tokens), layer.dropout.p, layer.training)
    return layer.linear2(kept) if scale == 1 else F.linear(kept, layer.linear2.weight * scale, layer.linear2.bias)


def _project(attention: nn.MultiheadAttention, tokens: torch.Tensor, first: int, last: int) -> torch.Tensor:
    """Of query, key and value those from `first` to before `last`, side by side."""
    width = attention.embed_dim
    rows = slice(first * width, last * width)
    return F.linear(tokens, attention.in_proj_weight[rows], attention.in_proj_bias[rows])


def _heads(tokens: torch.Tensor, attention: nn.MultiheadAttention) -> torch.Tensor:
    """`(..., tokens, width)` -> `(..., heads, tokens, width / heads)`."""
    return tokens.unflatten(-1, (attention.num_heads, -1)).transpose(-3, -2)


def _joined(by_head: torch.Tensor) -> torch.Tensor:
    return by_head.transpose(-3, -2).flatten(-2)


def _weights(query: torch.Tensor, key: torch.Tensor, blocked: torch.Tensor | None = None) -> torch.Tensor:
    logits = (query * query.shape[-1] ** -0.5) @ key.transpose(-2, -1)
    if blocked is not None:
        logits = logits.masked_fill(blocked, -torch.inf)
    return logits.softmax(-1)


def _mix(
    attention: nn.MultiheadAttention, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, places: Places
) -> torch.Tensor:
    query, key, value = (_heads(part, attention) for part in (query, key, value))
    if not attention.training:
        return _joined(F.scaled_dot_product_attention(query, key, value, places.bias(query.dtype)))
    blocked = None if places.index is None else ~places.mask[:, None, None]
    return _joined(dropout(_weights(query, key, blocked), attention.dropout, True) @ value)


def _attend_to_each_other(attention: nn.MultiheadAttention, clips: torch.Tensor, places: Places) -> torch.Tensor:
    query, key, value = places.unpack(_project(attention, clips, 0, 3)).chunk(3, -1)
    return attention.out_proj(places.pack(_mix(attention, query, key, value, places)))


def _ask_clips(
    attention: nn.MultiheadAttention, queries: torch.Tensor, clips: torch.Tensor, places: Places
) -> tuple[torch.Tensor, torch.Tensor]:
    """`(batch, queries, width)` and the weights `(batch, queries, heads, clips)`.

    The product of query and key is associative: `(q K)^T c` costs less than `q^T (K c)` where queries are few. So do values. A key's bias
    adds the same to all clips, which a softmax does not see.
    """
    heads, width = attention.num_heads, attention.embed_dim
    by_query = queries.shape[-2] * (width + heads * clips.shape[1])
    by_clip = clips.shape[1] * (width + queries.shape[-2])
    query = _project(attention, queries, 0, 1)
    blocked = None if places.index is None else ~places.mask[:, None]
    if by_query >= by_clip:
        key, value = (_heads(part, attention) for part in _project(attention, clips, 1, 3).chunk(2, -1))
        weights = _weights(_heads(query, attention), key, None if blocked is None else blocked[:, None])
        mixed = _joined(dropout(weights, attention.dropout, attention.training) @ value)
        return attention.out_proj(mixed), weights.transpose(1, 2)
    key, value = (part.unflatten(0, (heads, -1)) for part in attention.in_proj_weight.chunk(3)[1:])
    by_head = (query * (width // heads) ** -0.5).reshape(-1, heads, width // heads).transpose(0, 1)
    asked = (by_head @ key).transpose(0, 1).reshape(-1, queries.shape[-2] * heads, width)
    logits = asked @ clips.transpose(1, 2)
    weights = (logits if blocked is None else logits.masked_fill(blocked, -torch.inf)).softmax(-1)
    dropped = dropout(weights, attention.dropout, attention.training)
    by_head = (dropped @ clips).view(-1, heads, width).transpose(0, 1)
    mixed = (by_head @ value.transpose(1, 2)).transpose(0, 1).reshape(len(clips), -1, width)
    shares = dropped.sum(-1).view(len(clips), -1, heads, 1)
    mixed = mixed + (shares * attention.in_proj_bias.chunk(3)[2].view(heads, -1)).flatten(2)
    return attention.out_proj(mixed), weights.unflatten(1, (-1, heads))


def _take(attention: nn.MultiheadAttention, keys: torch.Tensor, which: torch.Tensor) -> torch.Tensor:
    """`(batch, keys, width)` -> `(batch, queries, width)`."""
    value = _project(attention, keys, 2, 3)
    if not (attention.training and attention.dropout):
        return attention.out_proj(value).index_select(1, which)
    by_key = torch.einsum("bkhd,hdw->bkhw", value.unflatten(-1, (attention.num_heads, -1)), _output_by_head(attention))
    ones = by_key.new_ones(len(keys), len(which), attention.num_heads, 1)
    taken = by_key.index_select(1, which) * dropout(ones, attention.dropout, True)
    return taken.sum(2) + attention.out_proj.bias


def _output_by_head(attention: nn.MultiheadAttention) -> torch.Tensor:
    """The output's layer as `(heads, width / heads, width)`."""
    return attention.out_proj.weight.T.unflatten(0, (attention.num_heads, -1))


def encoder(width: int, *, heads: int, layers: int, dropout: float) -> Encoder:
    """Post-norm layers: self-attention, feed-forward of 3 x width."""
    layer = nn.TransformerEncoderLayer(width, heads, 3 * width, dropout, batch_first=True)
    return Encoder(layer, layers, nn.LayerNorm(width), enable_nested_tensor=False)


def decoder(width: int, *, heads: int, layers: int, dropout: float) -> Decoder:
    """Post-norm layers: self-attention of the queries, cross-attention to memory, feed-forward of 3 x width."""
    layer = nn.TransformerDecoderLayer(width, heads, 3 * width, dropout, batch_first=True)
    return Decoder(layer, layers, nn.LayerNorm(width))
