"""The Transformer, against torch's own layers."""

import copy

import pytest
import torch
from torch import nn

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


DRAWS = 1500


def test_the_mean_over_dropouts_is_that_of_torchs_own():
    """With dropout in all places, averages over many copies of the videos agree, which a place left out or scaled twice would not."""
    torch.manual_seed(1)
    mask = mask_of(LENGTHS)
    clips, queries = torch.randn(3, CLIPS, WIDTH), torch.randn(4, WIDTH)
    which = torch.tensor([0, 0, 3, 0])
    ours = shake(decoder(WIDTH, heads=HEADS, layers=2, dropout=0.3))
    theirs = torchs_own(ours, nn.TransformerDecoder)
    apart = which[:, None] != torch.arange(CLIPS)[None]

    many, many_masks = clips.repeat(DRAWS, 1, 1), mask.repeat(DRAWS, 1)

    def statistics(drawn):
        drawn = drawn.unflatten(0, (DRAWS, 3))
        return drawn.mean(0), drawn.std(0)

    with torch.no_grad():
        for found, expected in (
            (
                ours(queries, many, many_masks),
                theirs(queries.expand(3 * DRAWS, -1, -1), many, memory_key_padding_mask=~many_masks),
            ),
            (
                ours.one_key(queries, many, which),
                theirs(queries.expand(3 * DRAWS, -1, -1), many, memory_mask=apart),
            ),
        ):
            (mean, deviation), (their_mean, their_deviation) = statistics(found), statistics(expected)
            # Standard errors of a mean are 0.026 deviations: the largest of 192 differences of two stays below 0.16.
            assert ((mean - their_mean).abs() / their_deviation).max() < 0.16
            assert (deviation / their_deviation - 1).abs().max() < 0.15
