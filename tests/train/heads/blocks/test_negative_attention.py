"""Attention to what is unlike the query, against a formula."""

import torch

from longtake.train.heads.blocks.negative_attention import NegativeAttention


def test_two_heads_and_a_mask():
    torch.manual_seed(0)
    layer, query, choices = NegativeAttention(8, 2, 0.0), torch.randn(2, 3, 8), torch.randn(2, 3, 5, 8)
    allowed = torch.where(torch.rand(2, 3, 5) < 0.7, 0.0, -1e9)
    q, k, v = layer.query(query), layer.key(choices), layer.value(choices)
    parts = []
    for part in (slice(0, 4), slice(4, 8)):
        logits = -(k[..., part] * q[:, :, None, part]).sum(-1) / 2 + allowed
        parts.append((logits.softmax(-1)[..., None] * v[..., part]).sum(2))
    torch.testing.assert_close(layer(query, choices, allowed), torch.cat(parts, -1))
