"""The head `pcln`, whose pair branch is compared with the published module's numbers."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from longtake.train.heads.pcln import PCLN, PairBranch, PCLNSettings, pairs_of
from tests.train.heads.goldens import batch_of, check_gradients, numbers_of, tensors


def test_published_outputs_losses_and_gradients(shared):
    numbers = numbers_of(shared, "pcln_pair")
    head = PCLN(8, PCLNSettings(hidden=2)).train()
    renamed = PCLN.from_published(tensors(numbers, "weight/"))
    head.pair.load_state_dict({name.removeprefix("pair."): value for name, value in renamed.items()})
    encoded, target = torch.from_numpy(numbers["encoded"]).float(), torch.from_numpy(numbers["target"])
    scores = torch.sigmoid(encoded.flatten(1).mean(1))
    np.testing.assert_allclose(scores, numbers["eval/score"], atol=1e-5)
    rows = encoded.transpose(1, 2)
    apart = head.pair(rows, *pairs_of(4, rows.device))
    np.testing.assert_allclose(apart.detach(), numbers["eval/difference"], atol=1e-5)
    losses = {**head.losses(rows, scores, target), "score": F.mse_loss(scores, target)}
    for ours, published in (("pairs", "difference"), ("consistency", "consistency"), ("score", "score")):
        assert float(losses[ours].detach()) == pytest.approx(float(numbers[f"train/loss_{published}"]), abs=1e-5)
    sum(losses.values()).backward()
    norms = PCLN.from_published(tensors(numbers, "grad_norm/"))
    check_gradients(head.pair, {name.removeprefix("pair."): value for name, value in norms.items()})


def test_the_published_number_of_parameters():
    with torch.device("meta"):
        head = PCLN(2048, PCLNSettings())
    assert sum(parameter.numel() for parameter in head.pair.parameters()) == 150_361
    assert sum(parameter.numel() for parameter in head.score.parameters()) == 92_282_881


def test_every_pair_once():
    one, other = pairs_of(4, torch.device("cpu"))
    assert list(zip(one.tolist(), other.tolist())) == [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]


def test_dropout_drops_whole_rows():
    torch.manual_seed(0)
    head = PCLN(6, PCLNSettings(width=16, hidden=4, rows=8, dropout=0.5)).train()
    dropped = head.dropout(torch.ones(3, 8, 16))
    assert set(dropped.sum(-1).unique().tolist()) == {0.0, 32.0}


def test_a_single_video_has_no_pairs():
    head = PCLN(6, PCLNSettings(width=16, hidden=4, rows=8)).train()
    assert not head(batch_of(np.zeros((1, 3, 6)), [0.5])).losses


def test_pairs_of_small_widths_work():
    assert PairBranch(16)(torch.randn(2, 3, 32), torch.tensor([0]), torch.tensor([1])).shape == (1,)
