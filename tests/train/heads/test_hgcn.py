"""The head `hgcn`, against the numbers of the published module."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from longtake.train.errors import SettingsError
from longtake.train.heads import hgcn
from longtake.train.heads.hgcn import HGCN, HGCNSettings, at_most
from tests.train.heads.goldens import (
    batch_of,
    check_gradients,
    evaluated,
    golden_store,
    load,
    numbers_of,
    tensors,
    weights_and_clips,
)
from tests.train.heads.kit import check_that_padding_changes_nothing, make_batch, make_head, ready

NAMES = ["hgcn", "hgcn_motion", "hgcn_full_rule"]


def published(shared, name, **settings):
    """(numbers, head with their weights, batch of their inputs)."""
    numbers = numbers_of(shared, name)
    state, clips, whole = weights_and_clips(numbers, 3, 68, 1024, scale=0.1)
    found = {**HGCN.settings_in(HGCN.from_published(state)), "judges_units": False}
    assert found["groups"] == (1 if whole else 4) and found["motion"] == (name != "hgcn")
    head = load(HGCN(clips.shape[2], HGCNSettings(**found, **settings)), state)
    return numbers, head, batch_of(clips, numbers["target"])


@pytest.mark.parametrize("name", NAMES)
def test_published_numbers(shared, name, monkeypatch):
    numbers, head, batch = published(shared, name, published_defects=True)
    monkeypatch.setattr(hgcn.torch, "randn_like", lambda mean: torch.from_numpy(numbers["noise"][:, 0]))
    for mode in ("eval", "train"):
        head.train(mode == "train")
        mean, deviation = (found.detach() for found in head.scores(batch)[:2])
        np.testing.assert_allclose(mean, numbers[f"{mode}/mu"][:, 0], atol=1e-5, rtol=1e-5)
        np.testing.assert_allclose(deviation, numbers[f"{mode}/std"][:, 0], atol=1e-5, rtol=1e-5)
        if f"{mode}/shots" in numbers:
            shots = head.shots(batch.clips, batch.mask)
            scenes = head.scenes(shots, batch.mask)
            found = {"shots": shots, "scenes": scenes, "video": head.action(scenes)}
            for part, values in found.items():
                expected = numbers[f"{mode}/{part}"].transpose(0, 2, 1)
                np.testing.assert_allclose(values.detach(), expected, atol=1e-5, rtol=1e-5)
        score01 = head(batch).score01
        np.testing.assert_allclose(score01.detach(), numbers[f"{mode}/output"][:, 0], atol=1e-5, rtol=1e-5)
        loss = F.mse_loss(score01, batch.target01, reduction="mean" if name == "hgcn_full_rule" else "sum")
        assert float(loss.detach()) == pytest.approx(float(numbers[f"{mode}/loss"]), rel=1e-5)
    loss.backward()
    check_gradients(head, head.from_published(tensors(numbers, "grad_norm/")))


@pytest.mark.parametrize("name", NAMES)
def test_scores_are_means_where_no_noise_is_asked_for(shared, name):
    numbers, head, batch = published(shared, name)
    score01 = head.eval()(batch).score01.detach()
    np.testing.assert_allclose(score01, numbers["eval/mu"][:, 0].sum(-1), atol=1e-5, rtol=1e-5)
    assert not torch.equal(head.train()(batch).score01, head(batch).score01)
    noisy = published(shared, name, published_defects=True)[1].eval()
    assert not torch.equal(noisy(batch).score01, noisy(batch).score01)


@pytest.mark.parametrize(
    "clips, groups, motion, expected",
    [
        *((10, groups, False, n) for groups, n in ((1, 1_217_690), (2, 677_018), (4, 406_682), (8, 271_514))),
        *((10, groups, True, n) for groups, n in ((1, 1_250_508), (2, 693_452), (4, 414_924), (8, 275_660))),
        (68, 1, True, 1_259_962),
    ],
)
def test_sizes(clips, groups, motion, expected):
    head = HGCN(1024, HGCNSettings(clips=clips, groups=groups, motion=motion))
    assert sum(value.numel() for value in head.parameters()) == expected


def test_import_and_evaluate(shared, tmp_path):
    numbers = numbers_of(shared, "hgcn_motion")
    store = golden_store(tmp_path / "g.h5", {"clips": numbers["clips"]}, {"total": numbers["target"]})
    found = evaluated(tmp_path, tensors(numbers, "weight/"), "hgcn", store)
    mean = numbers["eval/mu"][:, 0].sum(-1)
    np.testing.assert_allclose(found, mean, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("motion", [False, True])
def test_padding_changes_nothing_where_graphs_are_left_out(motion):
    for settings in ({"refine": False}, {"construct": False}, {"refine": False, "construct": False}):
        check_that_padding_changes_nothing(ready(make_head("hgcn", motion=motion, **settings)))


def test_what_the_layers_give_times_a_known_score(shared, tmp_path):
    numbers = numbers_of(shared, "hgcn")
    difficulty = np.linspace(1.5, 3.5, 5)
    scores = {"total": numbers["target"], "difficulty": difficulty}
    store = golden_store(tmp_path / "g.h5", {"clips": numbers["clips"]}, scores)
    found = evaluated(tmp_path, tensors(numbers, "weight/"), "hgcn", store, "--set", "times=difficulty")
    mean = numbers["eval/mu"][:, 0].sum(-1)
    np.testing.assert_allclose(found, mean * difficulty, atol=1e-5, rtol=1e-5)


def test_a_video_that_is_too_long_is_averaged():
    rng = np.random.default_rng(0)
    lengths = (9, 6, 5, 12)
    batch = make_batch(list(lengths))
    clips, mask = at_most(batch.clips, batch.mask, 6)
    assert mask.sum(1).tolist() == [6, 6, 5, 6] and not clips[2, 5].any()
    torch.testing.assert_close(clips[1], batch.clips[1, :6])
    torch.testing.assert_close(clips[3], batch.clips[3].view(6, 2, -1).mean(1))
    own = batch.clips[0, :9].repeat_interleave(2, 0).view(6, 3, -1).mean(1)
    torch.testing.assert_close(clips[0], own)
    same, _ = at_most(batch.clips, batch.mask, 12)
    assert same is batch.clips
    head = ready(make_head("hgcn", clips=6))
    noise = torch.tensor(rng.normal(size=batch.clips.shape), dtype=torch.float32) * ~batch.mask[..., None]
    torch.testing.assert_close(head(replace(batch, clips=batch.clips + noise)).score01, head(batch).score01)


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"width": 24, "groups": 4}, "multiple of 4"),
        ({"width": 64, "groups": 8}, "groups=8"),
        ({"factor": 13}, "factor=13"),
        ({"width": 32, "factor": 24}, "clips of 12 values"),
    ],
)
def test_settings_that_fit_no_layer_are_refused(settings, message):
    with pytest.raises(SettingsError, match=message):
        HGCN(12, HGCNSettings(**settings))
