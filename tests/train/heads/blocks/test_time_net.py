"""Convolutions over time: a padded video is as it is alone."""

import torch
from torch import nn

from longtake.train.heads.blocks.packing import Places
from longtake.train.heads.blocks.time_net import ConvPair, mean, pool

MASK = torch.arange(7)[None] < torch.tensor([7, 4, 5])[:, None]


def test_padding_is_not_seen():
    torch.manual_seed(0)
    pair, values = ConvPair(3, 4, nn.GELU, groups=2).eval(), torch.randn(3, 7, 6) * MASK[..., None]
    places = Places.of(MASK)
    found = pair.over(values, places)
    assert found.shape == (3, 7, 8) and not found[~MASK].any()
    for row, length in enumerate((7, 4, 5)):
        whole = Places.of(torch.ones(1, length, dtype=torch.bool))
        alone = pair.over(values[row : row + 1, :length], whole)
        torch.testing.assert_close(alone[0], found[row, :length])
        torch.testing.assert_close(pool(alone, whole)[0][0], pool(found, places)[0][row, : length // 2])
        torch.testing.assert_close(mean(alone, whole)[0, 0], alone[0].mean(0))
        torch.testing.assert_close(mean(found, places)[row, 0], alone[0].mean(0))
    assert pool(found, places)[1].mask.sum(1).tolist() == [3, 2, 2]


def test_statistics_are_of_clips_that_exist():
    pair, values = ConvPair(2, 2, nn.ReLU).train(), torch.zeros(3, 7, 2)
    pair.over(values, Places.of(MASK))
    torch.testing.assert_close(pair[1].running_mean, 0.1 * pair[0].bias.detach())
