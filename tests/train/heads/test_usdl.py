"""The head `usdl`, against plain numpy."""

import numpy as np
import pytest
import torch
from scipy.special import rel_entr

from longtake.train.heads.usdl import gaussian_labels
from tests.train.heads.kit import (
    make_batch,
    make_head,
)


def test_usdls_labels():
    """Equations 1 and 2 of USDL, written out."""
    target = np.array([0.0, 0.37, 1.0])
    found = gaussian_labels(torch.tensor(target), 21, 2.0).numpy()
    for row, score in enumerate(target):
        heights = np.exp(-((np.arange(21) - 20 * score) ** 2) / (2 * 2.0**2)) / (2.0 * np.sqrt(2 * np.pi))
        np.testing.assert_allclose(found[row], heights / heights.sum(), atol=1e-6)
    head = make_head("usdl").train()
    batch = make_batch([9, 7, 5, 8])
    output = head(batch)
    label, p = gaussian_labels(batch.target01, 101, 5.0).numpy(), output.weights["scores"].detach().numpy()
    assert float(output.losses["distribution"].detach()) == pytest.approx(rel_entr(label, p).sum(1).mean(), rel=1e-4)
    np.testing.assert_allclose(output.score01.detach(), p @ np.linspace(0, 1, 101), atol=1e-6)
