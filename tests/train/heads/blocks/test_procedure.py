"""The published segmentation of TSA; its numbers are in tests/train/heads/test_tsa.py."""

import torch

from longtake.train.heads.blocks.procedure import by_parts


def test_each_boundary_is_in_its_own_part():
    logits = torch.zeros(2, 8, 2)
    logits[0, 6, 0] = logits[0, 2, 0] = 1.0
    logits[0, 1, 1] = logits[0, 7, 1] = 1.0
    assert by_parts(logits).tolist() == [[2, 7], [1, 4]], "frame 0 begins no stage"
