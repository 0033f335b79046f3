"""Layers over rows, against plain formulas."""

import torch

from longtake.train.heads.blocks.rows import Asking, SeparableAttention, SqueezeExcite


def test_channels_are_weighed_by_their_mean():
    torch.manual_seed(0)
    layer, rows = SqueezeExcite(8, 4), torch.randn(2, 5, 8)
    first, _, second = layer.fc
    weights = torch.sigmoid(torch.relu(rows.mean(1) @ first.weight.T) @ second.weight.T)
    torch.testing.assert_close(layer(rows), rows * weights[:, None])


def test_separable_attention_begins_near_nothing_and_meets_through_one_sum():
    torch.manual_seed(0)
    layer, rows = SeparableAttention(8), torch.randn(2, 5, 8)
    torch.testing.assert_close(layer(rows), rows, atol=1e-3, rtol=0)
    shares = (rows @ layer.fc_i.weight.T).softmax(1)
    context = (shares * (rows @ layer.fc_k.weight.T)).sum(1, keepdim=True)
    mixed = ((rows @ layer.fc_v.weight.T) * context) @ layer.fc_o.weight.T
    torch.testing.assert_close(layer(rows), rows + mixed)


def test_rows_ask_in_heads():
    torch.manual_seed(0)
    layer, mine, theirs = Asking(8, 2), torch.randn(3, 4, 8), torch.randn(3, 6, 8)
    query, asked = layer.norm_q(mine), layer.norm_v(theirs)
    heads = []
    for part in (slice(0, 4), slice(4, 8)):
        q, k, v = (
            rows @ map_.weight[part].T
            for rows, map_ in ((query, layer.q_map), (asked, layer.k_map), (asked, layer.v_map))
        )
        heads.append((q @ k.transpose(1, 2) / 2).softmax(-1) @ v)
    out = mine + layer.proj(torch.cat(heads, -1))
    torch.testing.assert_close(layer(mine, theirs), out + layer.mlp(layer.norm2(out)))
