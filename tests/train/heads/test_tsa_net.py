"""The head `tsa-net`, whose attention is compared with the published module's numbers."""

from copy import deepcopy

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from longtake.train.heads.tsa_net import TSANet, TSANetSettings, TubeSelfAttention
from tests.train.heads.goldens import batch_of, check_gradients, numbers_of, tensors


@pytest.fixture
def published(shared):
    numbers = numbers_of(shared, "tsa_net_attention")
    layer = TubeSelfAttention(24, by_video=True)
    state = TSANet.from_published({f"model.{name}": one for name, one in tensors(numbers, "weight/").items()})
    layer.load_state_dict({name.removeprefix("attention."): value for name, value in state.items()})
    return numbers, layer


def over_maps(layer, numbers):
    """Places of all clips as one sequence, and back to maps."""
    features = torch.from_numpy(numbers["features"])
    mask = torch.from_numpy(numbers["tube"]).bool().flatten(1)
    found = layer(features.flatten(2).transpose(1, 2), mask)
    return found.transpose(1, 2).view_as(features)


def test_published_outputs_losses_and_gradients(published):
    numbers, layer = published
    target = torch.from_numpy(numbers["target"])
    for mode in ("eval", "train"):
        found = over_maps(layer.train(mode == "train"), numbers)
        np.testing.assert_allclose(found.detach(), numbers[f"{mode}/output"], atol=1e-5)
        loss = F.mse_loss(found, target)
        assert float(loss.detach()) == pytest.approx(float(numbers[f"{mode}/loss"]), abs=1e-5)
    loss.backward()
    norms = TSANet.from_published(tensors(numbers, "grad_norm/"))
    check_gradients(layer, {name.removeprefix("attention."): value for name, value in norms.items()})


def test_videos_one_after_the_other_give_the_running_statistics(published):
    numbers, layer = published
    other = deepcopy(layer)
    other.by_video = False
    over_maps(layer.train(), numbers)
    for row in range(2):
        over_maps(other.train(), {name: numbers[name][row : row + 1] for name in ("features", "tube")})
    torch.testing.assert_close(layer.norm.running_mean, other.norm.running_mean)
    torch.testing.assert_close(layer.norm.running_var, other.norm.running_var)


def test_the_published_number_of_parameters():
    assert sum(parameter.numel() for parameter in TubeSelfAttention(480, False).parameters()) == 462_720


def test_it_begins_as_a_perceptron_on_the_mean():
    head = TSANet(12, TSANetSettings(width=8)).eval()
    batch = batch_of(np.random.default_rng(0).normal(size=(2, 5, 12)), [0.1, 0.9])
    torch.testing.assert_close(head(batch).score01, torch.sigmoid(head.layers(batch.clips.mean(1))[:, 0]))
