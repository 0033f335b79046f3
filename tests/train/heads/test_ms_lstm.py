"""The head `ms-lstm`, against the numbers of the published module."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence

from longtake.train.heads import ms_lstm
from longtake.train.heads.ms_lstm import MSLSTM, MSLSTMSettings, SkipLSTM
from tests.train.heads.goldens import batch_of, check_gradients, evaluated, golden_store, load, numbers_of, tensors

NAMES = ["ms_lstm", "ms_lstm_zero_state"]


def published(shared, name, **settings):
    numbers = numbers_of(shared, name)
    state = tensors(numbers, "weight/")
    found = {**MSLSTM.settings_in(MSLSTM.from_published(state)), "judges_units": False}
    head = load(MSLSTM(96, MSLSTMSettings(**found, **settings)), state)
    return numbers, head, batch_of(numbers["clips"], numbers["target"])


def draws(numbers, name):
    """What stands for the noise at each call, by scale: cells, then states."""
    while True:
        for scale in (1, 2, 3):
            noise = np.stack([numbers[f"noise/scale{scale}_{part}"] for part in "ch"])
            yield torch.from_numpy(noise if name == "ms_lstm" else np.zeros_like(noise))


@pytest.mark.parametrize("name", NAMES)
def test_published_numbers(shared, name, monkeypatch):
    numbers, head, batch = published(shared, name, published_defects=True)
    noise = draws(numbers, name)
    monkeypatch.setattr(ms_lstm.torch, "randn", lambda *shape, **kinds: next(noise))
    before = {key: value.clone() for key, value in head.state_dict().items()}
    for mode in ("eval", "train"):
        head.load_state_dict(before)
        head.train(mode == "train")
        clips = head.clips(batch, batch.mask)
        descriptors, penalty = head.descriptors(clips, batch.mask)
        np.testing.assert_allclose(descriptors.detach(), numbers[f"{mode}/descriptors"], atol=1e-5)
        assert float(penalty.detach()) == pytest.approx(float(numbers[f"{mode}/penalty"]), rel=1e-5)
        for number, scale in enumerate(head.scales, 1):
            last, taken = scale(clips, batch.mask.sum(1), True)
            np.testing.assert_allclose(last.detach(), numbers[f"{mode}/scale{number}_last"], atol=1e-5)
            np.testing.assert_array_equal(taken, numbers[f"{mode}/scale{number}_gates"][..., 0] > 0.5)
        output = head(batch)
        np.testing.assert_allclose(output.score01.detach(), numbers[f"{mode}/output"][:, 0], atol=1e-5)
        loss = F.mse_loss(output.score01, batch.target01)
        assert float(loss.detach()) == pytest.approx(float(numbers[f"{mode}/mse"]), abs=1e-5)
        loss = loss + output.losses.get("penalty", penalty)
        assert float(loss.detach()) == pytest.approx(float(numbers[f"{mode}/loss"]), rel=1e-6)
    loss.backward()
    check_gradients(head, head.from_published(tensors(numbers, "grad_norm/")))
    assert all(not scale.lstm.weight_uh.grad.any() for scale in head.scales)


def test_without_defects_states_begin_at_zero_and_gates_learn(shared):
    numbers, head, batch = published(shared, "ms_lstm_zero_state")
    score01 = head.eval()(batch).score01.detach()
    np.testing.assert_allclose(score01, numbers["eval/output"][:, 0], atol=1e-5)
    head.train()(batch).score01.sum().backward()
    assert all(scale.lstm.weight_uh.grad.any() for scale in head.scales)
    noisy = published(shared, "ms_lstm", published_defects=True)[1].eval()
    assert not torch.equal(noisy(batch).score01, noisy(batch).score01)


@pytest.mark.parametrize("dim, expected", [(4096, 3_054_724), (1024, 2_661_508)])
def test_sizes(dim, expected):
    assert sum(value.numel() for value in MSLSTM(dim, MSLSTMSettings()).parameters()) == expected


def test_the_penalty_is_of_errors_in_judges_units():
    torch.manual_seed(0)
    batch = batch_of(np.random.default_rng(0).normal(size=(3, 9, 5)), np.zeros(3))
    terms = []
    for settings in ({}, {"score_minimum": 5.0, "score_maximum": 25.0}, {"penalty_weight": 0.0}):
        torch.manual_seed(0)
        terms.append(MSLSTM(5, MSLSTMSettings(width=8, **settings)).train()(batch).losses)
    terms = [{name: float(value.detach()) for name, value in one.items()} for one in terms]
    assert terms[0]["penalty"] == pytest.approx(400 * terms[1]["penalty"]) and not terms[2]


def test_a_skip_lstm_takes_videos_of_any_length():
    torch.manual_seed(0)
    lstm = SkipLSTM(3, 4)
    lstm.bias_uh.data.fill_(-0.5)
    lengths, steps = torch.tensor([4, 9, 2, 9]), torch.randn(4, 9, 3)
    packed = pack_padded_sequence(steps, lengths, batch_first=True, enforce_sorted=False)
    last, taken = lstm(packed, defects=False)
    assert 0 < taken.sum() < lengths.sum()
    for row, length in enumerate(lengths.tolist()):
        alone = pack_padded_sequence(steps[row : row + 1, :length], torch.tensor([length]), batch_first=True)
        own_last, own_taken = lstm(alone._replace(unsorted_indices=torch.tensor([0])), defects=True)
        torch.testing.assert_close(last[row : row + 1], own_last)
        assert torch.equal(taken[row, :length], own_taken[0]) and not taken[row, length:].any()


@pytest.mark.parametrize("clips", [8, 9, 10, 11])
def test_windows_of_short_videos(clips):
    """Where 8 clips would have one window there are two, filled with zeros; the published code has what fits, as does `windows=1`."""
    torch.manual_seed(0)
    head = MSLSTM(5, MSLSTMSettings(width=8, filters=6, hidden=4))
    values, lengths = torch.randn(3, clips, 8), torch.full((3,), clips)
    fitting = [clips - 1, (clips - 4) // 2 + 1, 1]
    for defects, expected in ((True, fitting), (False, [*fitting[:2], 2])):
        assert [scale(values, lengths, defects)[1].shape[1] for scale in head.scales] == expected
    assert [scale(values, lengths, False, 1)[1].shape[1] for scale in head.scales] == fitting
    assert head.scales[2](values[:1], lengths[:1], True)[1].shape[1] == 2, "a single video must train"
    assert head.eval().scales[2](values[:1], lengths[:1], True)[1].shape[1] == 1


def test_import_and_evaluate(shared, tmp_path):
    numbers = numbers_of(shared, "ms_lstm_zero_state")
    store = golden_store(tmp_path / "g.h5", {"clips": numbers["clips"]}, {"total": numbers["target"]})
    found = evaluated(tmp_path, tensors(numbers, "weight/"), "ms-lstm", store)
    np.testing.assert_allclose(found, numbers["eval/output"][:, 0], atol=1e-5)
