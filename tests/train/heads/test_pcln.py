"""The head `pcln`, whose pair branch is compared with the published module's numbers."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from longtake.train.heads.pcln import PCLN, PairBranch, PCLNSettings, pairs_of
from tests.train.heads.goldens import batch_of, check_gradients, evaluated, golden_store, numbers_of, tensors


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


def test_the_encoded_map_is_not_below_zero(shared):
    assert numbers_of(shared, "pcln_pair")["encoded"].min() == 0
    torch.manual_seed(0)
    head = PCLN(6, PCLNSettings(width=16, hidden=4, rows=8)).eval()
    encoded = head.encode(batch_of(np.random.default_rng(0).normal(size=(3, 9, 6)), np.zeros(3)))
    assert encoded.min() == 0 and encoded.max() > 0
    head.train().dropout.p = 1.0
    assert not head.encode(batch_of(np.ones((1, 9, 6)), np.zeros(1))).any(), "dropout comes after the second layer, too"


def test_import_and_evaluate(tmp_path):
    """The published layers of 1x1 convolutions over 16 rows, under the published names. No numbers of the whole network are published."""
    torch.manual_seed(0)
    conv1, conv2 = torch.nn.Conv1d(6, 16, 1), torch.nn.Conv1d(16, 32, 1)
    fc1, fc2, fc3 = torch.nn.Linear(32 * 4, 10), torch.nn.Linear(10, 5), torch.nn.Linear(5, 1)
    pair = PairBranch(16)
    layers = {"encoder_backbone.conv1": conv1, "encoder_backbone.conv2": conv2}
    layers |= {f"mlp.fc{number}": layer for number, layer in enumerate((fc1, fc2, fc3), 1)}
    layers |= {f"encoder_backbone.fc{number}": layer for number, layer in enumerate((fc1, fc2, fc3), 1)}
    state = {f"{name}.{key}": value for name, layer in layers.items() for key, value in layer.state_dict().items()}
    state |= {name: value[..., None] if name == "conv1d.weight" else value for name, value in pair.state_dict().items()}
    clips = np.random.default_rng(0).normal(size=(3, 16, 6)).astype(np.float32)
    store = golden_store(tmp_path / "g.h5", {"clips": clips}, {"total": np.array([0.0, 0.4, 1.0])})
    with torch.no_grad():
        found = torch.from_numpy(clips).transpose(1, 2)
        for layer in (conv1, conv2):
            found = F.max_pool1d(torch.relu(layer(found)), 2)
        expected = torch.sigmoid(fc3(torch.relu(fc2(torch.relu(fc1(found.flatten(1)))))))[:, 0]
    np.testing.assert_allclose(evaluated(tmp_path, state, "pcln", store), expected, atol=1e-5)
    assert PCLN.settings_in(PCLN.from_published(state)) == {"width": 16, "hidden": 10, "rows": 16}


def test_a_single_video_has_no_pairs():
    head = PCLN(6, PCLNSettings(width=16, hidden=4, rows=8)).train()
    assert not head(batch_of(np.zeros((1, 3, 6)), [0.5])).losses


def test_pairs_of_small_widths_work():
    assert PairBranch(16)(torch.randn(2, 3, 32), torch.tensor([0]), torch.tensor([1])).shape == (1,)
