"""Our Transformer against torch's, with the same parameters: outputs, gradients, and how often it drops."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from longtake.train.heads.blocks.dropout import STEPS, Dropout, add_dropout, dropout, relu_dropout
from longtake.train.heads.blocks.packing import Places
from longtake.train.heads.blocks.transformer import decoder, encoder

WIDTH, HEADS, CLIPS = 16, 4, 9
LENGTHS = [9, 4, 1]


def mask_of(lengths):
    return torch.arange(CLIPS)[None] < torch.tensor(lengths)[:, None]


@pytest.fixture(params=[LENGTHS, [9, 9, 9]], ids=["padded", "full"])
def clips_and_mask(request):
    torch.manual_seed(0)
    mask = mask_of(request.param)
    return (torch.randn(3, CLIPS, WIDTH) * mask[..., None]).requires_grad_(), mask


def torchs_own(ours, kind):
    theirs = kind(copy.deepcopy(ours.layers[0]), ours.num_layers, nn.LayerNorm(WIDTH))
    theirs.load_state_dict(ours.state_dict())
    return theirs


def shake(module):
    """Biases start at zero, where a forgotten one would not show."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn_like(parameter) / 3)
    return module


def same(found, expected, ours, theirs, *inputs):
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    probe = torch.randn_like(expected)
    grads = [
        torch.autograd.grad((output * probe).sum(), [*inputs, *module.parameters()])
        for output, module in ((found, ours), (expected, theirs))
    ]
    for one, other in zip(*grads):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("training", [True, False])
def test_encoder(clips_and_mask, training):
    clips, mask = clips_and_mask
    ours = shake(encoder(WIDTH, heads=HEADS, layers=2, dropout=0.0)).train(training)
    theirs = torchs_own(ours, nn.TransformerEncoder).train(training)
    expected = theirs(clips, src_key_padding_mask=~mask) * mask[..., None]
    same(ours(clips, mask), expected, ours, theirs, clips)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("num_queries", [2, 40], ids=["queries go to clips", "clips go to queries"])
def test_decoder_with_the_same_queries_for_every_video(clips_and_mask, num_queries, training):
    clips, mask = clips_and_mask
    ours = shake(decoder(WIDTH, heads=HEADS, layers=2, dropout=0.0)).train(training)
    theirs = torchs_own(ours, nn.TransformerDecoder).train(training)
    queries = torch.randn(num_queries, WIDTH, requires_grad=True)
    apart = torch.arange(num_queries)[:, None] % 2 != torch.arange(num_queries)[None] % 2
    expected = theirs(queries.expand(3, -1, -1), clips, tgt_mask=apart, memory_key_padding_mask=~mask)
    same(ours(queries, clips, mask, apart), expected, ours, theirs, clips, queries)


def test_decoder_with_one_key_for_each_query(clips_and_mask):
    keys = clips_and_mask[0]
    ours = shake(decoder(WIDTH, heads=HEADS, layers=2, dropout=0.0))
    theirs = torchs_own(ours, nn.TransformerDecoder)
    queries, which = torch.randn(5, WIDTH, requires_grad=True), torch.tensor([0, 0, 2, 8, 8])
    expected = theirs(queries.expand(3, -1, -1), keys, memory_mask=which[:, None] != torch.arange(CLIPS)[None])
    same(ours.one_key(queries, keys, which), expected, ours, theirs, keys, queries)


def test_decoder_of_clips_that_ask_clips(clips_and_mask):
    clips, mask = clips_and_mask
    others = torch.randn_like(clips, requires_grad=True)
    ours = shake(decoder(WIDTH, heads=HEADS, layers=2, dropout=0.0))
    theirs = torchs_own(ours, nn.TransformerDecoder)
    places = Places.of(mask)
    expected = theirs(clips, others, tgt_key_padding_mask=~mask, memory_key_padding_mask=~mask) * mask[..., None]
    found = places.unpack(ours.packed(places.pack(clips), places.pack(others), places))
    same(found, expected, ours, theirs, clips, others)


def test_the_mean_over_dropouts_is_that_of_torchs_own():
    """With dropout in all places, averages over many draws agree, which a place left out or scaled twice would not."""
    torch.manual_seed(1)
    mask = mask_of(LENGTHS)
    clips, queries = torch.randn(3, CLIPS, WIDTH), torch.randn(4, WIDTH)
    which = torch.tensor([0, 0, 3, 0])
    ours = shake(decoder(WIDTH, heads=HEADS, layers=2, dropout=0.3))
    theirs = torchs_own(ours, nn.TransformerDecoder)
    apart = which[:, None] != torch.arange(CLIPS)[None]

    def statistics(call):
        drawn = torch.stack([call() for _ in range(1500)])
        return drawn.mean(0), drawn.std(0)

    with torch.no_grad():
        for found, expected in (
            (
                lambda: ours(queries, clips, mask),
                lambda: theirs(queries.expand(3, -1, -1), clips, memory_key_padding_mask=~mask),
            ),
            (
                lambda: ours.one_key(queries, clips, which),
                lambda: theirs(queries.expand(3, -1, -1), clips, memory_mask=apart),
            ),
        ):
            (mean, deviation), (their_mean, their_deviation) = statistics(found), statistics(expected)
            # Standard errors of a mean are 0.026 deviations: the largest of 192 differences of two stays below 0.16.
            assert ((mean - their_mean).abs() / their_deviation).max() < 0.16
            assert (deviation / their_deviation - 1).abs().max() < 0.15


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
