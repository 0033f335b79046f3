"""The two paths of SlowFast."""

from __future__ import annotations

import pytest
import torch

from longtake.extract.backbones import resnet3d


@pytest.mark.parametrize("length", [1, 3, 5, 25, 32])
def test_both_paths_of_slowfast_have_lengths_that_can_be_joined(length):
    seen = []

    class Block(torch.nn.Module):
        def forward(self, maps):
            slow, fast = maps
            seen.append((slow.shape[2], torch.nn.functional.conv3d(
                fast, torch.zeros(3, 3, 7, 1, 1), stride=(4, 1, 1), padding=(3, 0, 0)).shape[2]))  # fmt: skip
            return maps

    head = torch.nn.Module()
    head.proj = torch.nn.Linear(resnet3d.SLOWFAST_R50.dim, 1)
    network = torch.nn.Module()
    network.blocks = torch.nn.ModuleList([Block(), torch.nn.Identity(), head])
    resnet3d.features(network, torch.zeros(1, 3, length, 1, 1))
    ((slow, fast),) = seen
    assert slow == fast
