"""The head `action-net`, against the numbers of the published module."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from longtake.train.heads.action_net import ActionNet, ActionNetSettings, near_in_time
from longtake.train.heads.base import SecondStream
from tests.train.heads.goldens import (
    batch_of,
    by_rule,
    check_gradients,
    evaluated,
    features_by_rule,
    golden_store,
    load,
    numbers_of,
    tensors,
)
from tests.train.heads.kit import make_batch, make_head, ready


def with_pictures(batch, pictures, lengths=()):
    features = torch.from_numpy(pictures)
    ends = torch.tensor(list(lengths) or [features.shape[1]] * len(features))
    there = torch.arange(features.shape[1])[None] < ends[:, None]
    return replace(batch, second_stream=SecondStream(features, there, torch.zeros(*there.shape, 2)))


@pytest.mark.parametrize("name", ["action_net", "action_net_full_rule"])
@pytest.mark.parametrize("defects", [False, True])
def test_published_numbers(shared, name, defects):
    numbers = numbers_of(shared, name)
    if "clips" in numbers:
        state, clips, pictures = tensors(numbers, "weight/"), numbers["clips"], numbers["images"]
    else:
        state = by_rule(numbers)
        clips, pictures = features_by_rule(0, 5, 26, 1024), features_by_rule(1, 5, 80, 2048)
    settings = ActionNetSettings(dropout=0.0, published_defects=defects, pictures=pictures.shape[1])
    head = load(ActionNet(clips.shape[2], settings, audio_dim=pictures.shape[2]), state)
    batch = with_pictures(batch_of(clips, numbers["target"]), pictures)
    for mode in ("eval", "train"):
        head.train(mode == "train")
        score01 = head(batch).score01
        np.testing.assert_allclose(score01.detach(), numbers[f"{mode}/output"], atol=1e-5)
        for stream, found in zip(("dynamic", "static"), head.streams(batch)):
            if f"{mode}/{stream}" in numbers:
                np.testing.assert_allclose(found.detach(), numbers[f"{mode}/{stream}"], atol=1e-5)
        loss = F.mse_loss(score01, batch.target01)
        assert float(loss.detach()) == pytest.approx(float(numbers[f"{mode}/loss"]), abs=1e-5)
    loss.backward()
    check_gradients(head, head.from_published(tensors(numbers, "grad_norm/")))


def test_sizes():
    def count(dim, static):
        return sum(value.numel() for value in ActionNet(dim, ActionNetSettings(), audio_dim=static).parameters())

    assert count(1024, 2048) == 3_542_787
    assert count(1024, 0) == 1_838_339


def test_import_and_evaluate(shared, tmp_path):
    numbers = numbers_of(shared, "action_net")
    times = np.linspace(0, 17, 24)
    store = golden_store(
        tmp_path / "g.h5", {"clips": numbers["clips"], "pictures": numbers["images"]}, {"total": numbers["target"]},
        {"pictures": np.stack([times[:-1], times[1:]], 1)},
    )  # fmt: skip
    state = tensors(numbers, "weight/")
    found = evaluated(tmp_path, state, "action-net", store, "--backbone", "clips", "--audio", "pictures")
    np.testing.assert_allclose(found / numbers["target"].max(), numbers["eval/output"], atol=1e-5)


def test_neighbours_are_those_that_exist():
    rng = np.random.default_rng(0)
    values, lengths = rng.normal(size=(2, 6, 3)), (6, 4)
    mask = torch.arange(6)[None] < torch.tensor(lengths)[:, None]
    found = near_in_time(torch.tensor(values, dtype=torch.float32), mask)
    for row, length in enumerate(lengths):
        near = np.exp(-np.abs(np.subtract.outer(np.arange(length), np.arange(length))))
        root = np.sqrt(near.sum(1))
        expected = near / np.outer(root, root) @ values[row, :length]
        np.testing.assert_allclose(found[row, :length], expected, atol=1e-6)
    assert not found[1, 4:].any()


def test_pictures_that_do_not_exist_change_nothing():
    head = ready(make_head("action-net"))
    batch, lengths = make_batch([6, 9, 4]), (5, 11, 8)
    pictures = np.random.default_rng(0).normal(size=(3, 11, 10)).astype(np.float32)
    whole = head(with_pictures(batch, pictures, lengths)).score01
    assert not torch.allclose(whole, head(batch).score01)
    for row, length in enumerate(lengths):
        one = slice(row, row + 1)
        alone = replace(batch, clips=batch.clips[one], mask=batch.mask[one], audio=None)
        alone = with_pictures(alone, pictures[one, :length])
        torch.testing.assert_close(head(alone).score01, whole[one])


def test_with_the_defect_zeros_fill_up_the_pictures():
    """As if each video had so many pictures, the last of which are zeros; more pictures stay what they are."""
    head, masked = (ready(make_head("action-net", pictures=10, published_defects=one)) for one in (True, False))
    masked.load_state_dict(head.state_dict())
    batch, lengths = make_batch([9, 9, 9]), (5, 12, 8)
    there = np.arange(12)[None, :, None] < np.array(lengths)[:, None, None]
    pictures = (np.random.default_rng(0).normal(size=(3, 12, 10)) * there).astype(np.float32)
    found = head(with_pictures(batch, pictures, lengths)).score01
    torch.testing.assert_close(found, masked(with_pictures(batch, pictures, (10, 12, 10))).score01)
    assert not torch.allclose(found, masked(with_pictures(batch, pictures, lengths)).score01)
    first = replace(batch, clips=batch.clips[:1], mask=batch.mask[:1], audio=None)
    alone = head(with_pictures(first, pictures[:1, :5])).score01
    torch.testing.assert_close(alone, found[:1])
