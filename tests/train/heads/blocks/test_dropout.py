"""Dropout with cheap random numbers."""

import math

import pytest
import torch
import torch.nn.functional as F

from longtake.train.heads.blocks.dropout import STEPS, Dropout, add_dropout, dropout, relu_dropout


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("probability", [0.1, 0.3, 0.7])
def test_dropout_drops_so_many_and_scales_the_rest(probability, dtype):
    torch.manual_seed(0)
    ones = torch.ones(403, 1001, dtype=dtype)
    found = dropout(ones, probability, True)
    dropped = found == 0
    rounded = round(probability * STEPS) / STEPS
    assert abs(rounded - probability) <= 0.002
    assert abs(float(dropped.float().mean()) - rounded) < 4 * (rounded * (1 - rounded) / ones.numel()) ** 0.5
    torch.testing.assert_close(
        found[~dropped], (ones / (1 - rounded))[~dropped], rtol=1e-6 if dtype == torch.float32 else 1e-2, atol=0
    )
    # Neighbours in both directions know nothing of each other.
    for one, other in ((dropped[:, :-1], dropped[:, 1:]), (dropped[:-1], dropped[1:])):
        both = float((one & other).float().mean())
        assert abs(both - rounded**2) < 5 * (rounded**2 * (1 - rounded**2) / one.numel()) ** 0.5


def test_dropout_by_seed_and_in_evaluation():
    values = torch.randn(50, 7)
    draws = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        draws.append(dropout(values, 0.5, True))
    assert torch.equal(draws[0], draws[1]) and not torch.equal(draws[0], draws[2])
    assert dropout(values, 0.5, False) is values and Dropout(0.5).eval()(values) is values
    assert not dropout(values, 1.0, True).any()


def test_gradients_pass_where_values_do():
    values = torch.randn(40, requires_grad=True)
    found = dropout(values, 0.4, True)
    found.sum().backward()
    torch.testing.assert_close(values.grad * values.detach(), found.detach())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("training", [True, False])
def test_relu_and_dropout_at_once_are_the_two_in_turn(dtype, training):
    """Behind a linear layer, whose output for three dimensions is a view."""
    values, same = torch.randn(3, 101, 7).to(dtype), torch.eye(7, dtype=dtype)
    found, gradients = [], []
    for call in (
        lambda v: math.prod(relu_dropout(F.linear(v, same), 0.4, training)),
        lambda v: dropout(torch.relu(F.linear(v, same)), 0.4, training),
    ):
        torch.manual_seed(5)
        given = values.clone().requires_grad_()
        found.append(call(given))
        gradients.append(torch.autograd.grad((found[-1] * values).sum(), given)[0])
    close = {"rtol": 1e-5, "atol": 1e-6} if dtype == torch.float32 else {"rtol": 1e-2, "atol": 1e-2}
    torch.testing.assert_close(*found, **close)
    torch.testing.assert_close(*gradients, **close)
    assert bool((found[0] == 0).any()) and bool((found[0] > 0).any())


@pytest.mark.parametrize("base_type", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("training", [True, False])
def test_adding_what_is_dropped_at_once_is_the_two_in_turn(base_type, training):
    base, values, found = torch.randn(5, 7, dtype=base_type), torch.randn(3, 5, 7), []
    for call in (add_dropout, lambda b, v, p, t: b + dropout(v, p, t)):
        torch.manual_seed(5)
        given = [base.clone().requires_grad_(), values.clone().requires_grad_()]
        result = call(*given, 0.4, training)
        found.append((result, *torch.autograd.grad((result * values).sum(), given)))
    for one, other in zip(*found):
        torch.testing.assert_close(one, other)
