"""The precision of matrix products."""

import pytest
import torch

from longtake.train.engine.precision import PRECISIONS, autocast


@pytest.mark.parametrize("precision", PRECISIONS)
def test_products_have_the_precision_and_other_values_stay(precision):
    ones = torch.ones(2, 2)
    with autocast(ones.device, precision):
        assert (ones @ ones).dtype == getattr(torch, precision)
        assert (ones + ones).dtype == torch.float32
    assert (ones @ ones).dtype == torch.float32
