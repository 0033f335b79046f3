"""The head `usdl`, against plain numpy."""

import numpy as np
import pytest
import torch
from scipy.special import rel_entr

from longtake.train.engine.losses import total_loss
from longtake.train.engine.settings import TrainSettings
from longtake.train.heads.usdl import USDL, USDLSettings, gaussian_labels
from tests.train.heads.goldens import batch_of, check_gradients, evaluated, golden_store, load, numbers_of, tensors
from tests.train.heads.kit import make_batch, make_head


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


@pytest.fixture
def numbers(shared):
    return numbers_of(shared, "usdl")


@pytest.mark.parametrize("per_bin, loss", [(True, "train/loss"), (False, "train/loss_batchmean")])
def test_published_outputs_loss_and_gradients(numbers, per_bin, loss):
    head = load(USDL(48, USDLSettings(dropout=0.0, read="mode", per_bin=per_bin)), tensors(numbers, "weight/")).train()
    batch = batch_of(numbers["clips"], numbers["final_score"] / 104.5)
    np.testing.assert_allclose(gaussian_labels(batch.target01, 101, 5.0), numbers["target_distribution"], atol=1e-6)
    output = head(batch)
    np.testing.assert_allclose(output.weights["scores"].detach(), numbers["eval/probabilities"], atol=1e-5)
    np.testing.assert_allclose(output.score01 * 104.5, numbers["train/output"], atol=1e-4)
    total, _ = total_loss(output, batch.target01, TrainSettings(mse_weight=0.0))
    assert float(total.detach()) == pytest.approx(float(numbers[loss]), abs=1e-5)
    total.backward()
    norms = head.from_published(tensors(numbers, "grad_norm/"))
    check_gradients(head, {name: norm * (1 if per_bin else 101) for name, norm in norms.items()})


@pytest.mark.parametrize("words, name", [((), "eval/score"), (("--set", "read=expectation"), "eval/expectation")])
def test_import_and_evaluate(numbers, tmp_path, words, name):
    """The published code reads the mode; the store's scale is that of its labels, 0 to 104.5."""
    store = golden_store(tmp_path / "golden.h5", {"video": numbers["clips"]}, {"total": numbers["final_score"]})
    predicted = evaluated(tmp_path, tensors(numbers, "weight/"), "usdl", store, *words)
    np.testing.assert_allclose(predicted, numbers[name], atol=1e-4)


@pytest.mark.parametrize("bins, published", [(101, 308_325), (25, 298_521)])
def test_the_published_number_of_parameters(bins, published):
    assert sum(one.numel() for one in USDL(1024, USDLSettings(bins=bins)).parameters()) == published
