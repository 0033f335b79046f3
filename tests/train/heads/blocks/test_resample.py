"""Rows at even distances."""

import numpy as np
import torch

from longtake.train.heads.blocks.resample import fit_rows, lerp_rows, resample


def test_rows_on_lines_between_clips():
    values = torch.tensor([[[0.0], [10.0], [20.0], [99.0]], [[0.0], [1.0], [2.0], [3.0]]])
    mask = torch.tensor([[True, True, True, False], [True] * 4])
    assert resample(values, mask, 5)[..., 0].tolist() == [[0, 5, 10, 15, 20], [0, 0.75, 1.5, 2.25, 3]]
    assert torch.equal(resample(values, mask, 4)[1], values[1])
    assert resample(values, mask, 1)[..., 0].tolist() == [[0], [0]]
    np.testing.assert_allclose(lerp_rows(values[:1], torch.tensor([[0.25, 3.0]]))[0, :, 0], [2.5, 99])


def test_padding_is_not_read():
    values = torch.tensor([[[1.0], [2.0], [torch.inf]]])
    assert resample(values, torch.tensor([[True, True, False]]), 3)[0, :2, 0].tolist() == [1, 1.5]


def test_rows_are_cut_or_filled():
    values = torch.arange(10.0).view(2, 5, 1)
    mask = torch.tensor([[True] * 5, [True] * 4 + [False]])
    assert fit_rows(values, mask, 3)[..., 0].tolist() == [[1, 2, 3], [5, 6, 7]]
    assert fit_rows(values, mask, 6)[..., 0].tolist() == [[0, 1, 2, 3, 4, 0], [5, 6, 7, 8, 0, 0]]
