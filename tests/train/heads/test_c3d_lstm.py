"""The head `c3d-lstm`, against the numbers of the published module."""

import numpy as np
import pytest
from torch.nn import functional as F

from longtake.train.heads.c3d_lstm import C3DLSTM, C3DLSTMSettings
from tests.train.heads.goldens import batch_of, check_gradients, evaluated, golden_store, load, numbers_of, tensors


def test_published_numbers(shared):
    numbers = numbers_of(shared, "c3d_lstm")
    head = load(C3DLSTM(64, C3DLSTMSettings(width=16)), tensors(numbers, "weight/"))
    batch = batch_of(numbers["clips"], numbers["target"])
    for mode in ("eval", "train"):
        score01 = head.train(mode == "train")(batch).score01
        np.testing.assert_allclose(score01.detach(), numbers[f"{mode}/output"], atol=1e-5)
        loss = F.mse_loss(score01, batch.target01)
        assert float(loss.detach()) == pytest.approx(float(numbers[f"{mode}/loss"]), abs=1e-5)
    loss.backward()
    check_gradients(head, head.from_published(tensors(numbers, "grad_norm/")))
    np.testing.assert_allclose(head.rnn(batch.clips)[0].detach(), numbers["eval/states"], atol=1e-5)


def test_the_size():
    assert sum(value.numel() for value in C3DLSTM(4096, C3DLSTMSettings()).parameters()) == 4_458_753


@pytest.mark.parametrize("unit", [1, 1449])
def test_import_and_evaluate(shared, tmp_path, unit):
    numbers = numbers_of(shared, "c3d_lstm")
    store = golden_store(tmp_path / "g.h5", {"clips": numbers["clips"]}, {"total": numbers["target"]})
    found = evaluated(tmp_path, tensors(numbers, "weight/"), "c3d-lstm", store, "--set", f"unit={unit}")
    np.testing.assert_allclose(found / unit, numbers["eval/output"], atol=1e-5)
