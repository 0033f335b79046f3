"""The head `mscadc`: its network over time and space against the numbers of the published module."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from longtake.train.heads.mscadc import MSCADC, ContextNet, MSCADCSettings
from tests.train.heads.goldens import batch_of, check_gradients, numbers_of, tensors


def test_published_numbers_on_maps(shared):
    numbers = numbers_of(shared, "mscadc_head")
    network = ContextNet(256, 12, axes=3)
    network.load_state_dict(tensors(numbers, "weight/"))
    maps, target = torch.from_numpy(numbers["features"].astype(np.float32)), torch.from_numpy(numbers["target"])
    for mode in ("eval", "train"):
        found = network.train(mode == "train")(maps)
        np.testing.assert_allclose(found.detach(), numbers[f"{mode}/output"], atol=1e-5)
        loss = F.mse_loss(found, target) + F.l1_loss(found, target)
        assert float(loss.detach()) == pytest.approx(float(numbers[f"{mode}/loss"]), rel=1e-5)
    loss.backward()
    expected = tensors(numbers, "grad_norm/")
    # Biases before a batch norm have rounding noise alone, the first one a little more of its border.
    noise = {name for name in expected if name.endswith("bias") and "conv" in name and name != "head_conv3.bias"}
    for name in noise:
        assert float(dict(network.named_parameters())[name].grad.norm()) < 2e-3
        dict(network.named_parameters())[name].grad = None
        expected[name] = torch.zeros(())
    check_gradients(network, expected)


def test_the_size():
    assert sum(value.numel() for value in ContextNet(256, 12, axes=3).parameters()) == 437_065


def test_statistics_are_of_clips_that_exist():
    torch.manual_seed(0)
    clips, lengths = np.random.default_rng(0).normal(size=(3, 9, 5)), (9, 4, 6)
    mask = np.arange(9)[None] < np.array(lengths)[:, None]
    batch = batch_of(clips * mask[..., None], np.zeros(3), lengths)
    wider = batch_of(np.pad(clips * mask[..., None], ((0, 0), (0, 7), (0, 0))), np.zeros(3), lengths)
    head = MSCADC(5, MSCADCSettings(width=4)).train()
    torch.testing.assert_close(head(batch).score01, head(wider).score01)
    alone = ContextNet(5, 4, axes=1)
    alone.load_state_dict(head.network.state_dict())
    whole = torch.from_numpy(clips[:1]).float().transpose(1, 2)
    torch.testing.assert_close(alone.eval()(whole), head.eval()(batch).score01[:1])


def test_the_absolute_error_is_in_the_units_of_the_layers():
    batch = batch_of(np.random.default_rng(0).normal(size=(3, 9, 5)), np.full(3, 0.5))
    for settings, span in (({}, 1.0), ({"judges_units": True, "unit": 17.0, "score_maximum": 102.0}, 6.0)):
        torch.manual_seed(0)
        output = MSCADC(5, MSCADCSettings(width=4, **settings)).train()(batch)
        scores = output.score01.detach() * span
        expected = (scores - 0.5 * span).abs().mean() / span**2
        assert float(output.losses["absolute"].detach()) == pytest.approx(float(expected), rel=1e-4)
