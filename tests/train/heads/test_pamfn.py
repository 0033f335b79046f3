"""The head `pamfn`, against the published modules' numbers."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from longtake.train.heads.blocks.packing import Places
from longtake.train.heads.pamfn import PAMFN, BaseNet, PAMFNSettings
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

BEFORE_A_NORM = (
    "conv.0.bias",
    "conv.3.bias",
    "pair.0.bias",
    "pair.3.bias",
    "refine.0.bias",
    "refine.3.bias",
    "embedding.0.bias",
)
BEFORE_A_NORM += (
    "embedding.3.bias",
    "short_cut.0.bias",
    "fc.1.bias",
    *(f"shares.{index}.0.bias" for index in range(3)),
)
NO_DROPOUT = {f"{name}dropout": 0.0 for name in ("", "base_", "feature_", "head_", "attention_")}


def golden_head(state, dims, **settings):
    clips, flow, sound = dims
    found = {**PAMFN.settings_in(PAMFN.from_published(state)), **NO_DROPOUT, "base_weight": 0.0, **settings}
    return load(PAMFN(clips, PAMFNSettings(**found), None, sound, {"flow": flow}), state)


def with_noise(head, numbers):
    """The published draws in the place of random ones."""
    for index, block in enumerate(head.blocks):
        noise = torch.from_numpy(numbers[f"gumbel{index + 1}"]).transpose(1, 2)
        block.noise = lambda like, noise=noise: noise.to(like)
    return head


def golden_batch(clips, flow, audio, target):
    return batch_of(clips, target, audio=torch.from_numpy(audio), streams={"flow": torch.from_numpy(flow)})


@pytest.fixture
def published(shared):
    """In float64: the last norms are over five videos, which makes much of rounding."""
    numbers = numbers_of(shared, "pamfn")
    head = golden_head(tensors(numbers, "weight/"), (48, 40, 24), published_defects=True).double()
    batch = golden_batch(*(numbers[name] for name in ("clips", "flow", "audio", "target")))
    streams = {"flow": batch.streams["flow"].double()}
    batch = replace(batch, clips=batch.clips.double(), audio=batch.audio.double(), streams=streams)
    return numbers, with_noise(head, numbers), batch


@pytest.mark.parametrize("mode", ["eval", "train"])
def test_published_outputs_stages_and_choices(published, mode):
    numbers, head, batch = published
    head.train(mode == "train")
    seen = []
    original = head.fuse
    head.fuse = lambda *arguments: seen.append(original(*arguments)) or seen[-1]
    scores = head(batch).score01
    np.testing.assert_allclose(scores.detach(), numbers[f"{mode}/output"][:, 0], atol=1e-5)
    # While training, norms over the zeros of the first c divide the rounding of float32, which the file has, by almost nothing.
    rounding = 1e-4 if mode == "train" else 1e-5
    for index, (joined, chosen) in enumerate(zip(*seen[0]), 1):
        np.testing.assert_allclose(joined.detach().transpose(1, 2), numbers[f"{mode}/stage{index}"], atol=rounding)
        np.testing.assert_array_equal(chosen.transpose(1, 2), numbers[f"{mode}/action{index}"])
    loss = F.mse_loss(scores, batch.target01)
    assert float(loss.detach()) == pytest.approx(float(numbers[f"{mode}/loss"]), abs=1e-5)


def test_published_gradients(published):
    numbers, head, batch = published
    F.mse_loss(head.train()(batch).score01, batch.target01).backward()
    norms = tensors(numbers, "grad_norm/")
    expected = {name: torch.zeros(()) for name, _ in head.named_parameters()}
    for name, value in norms.items():
        for ours in head.from_published({name: value}):
            expected[ours] = (expected[ours] ** 2 + value**2).sqrt()
    # A bias before a norm has no gradient but rounding, which is that of float32 in the file.
    for name in expected:
        if name.endswith(BEFORE_A_NORM) and expected[name] < 1e-4:
            expected[name] = torch.zeros(())
    check_gradients(head, expected)
    silent = {name.split(".")[1] for name, value in expected.items() if name.startswith("bases.") and not value}
    assert silent == {"pictures", "flow", "sound"}, "sound but for its own score"


def test_a_base_net(shared):
    numbers = numbers_of(shared, "pamfn_base")
    state = {f"model_r.{name}": value for name, value in tensors(numbers, "weight/").items()}
    base = BaseNet(96, PAMFNSettings(width=32, **NO_DROPOUT))
    base.load_state_dict(
        {name.removeprefix("bases.pictures."): one for name, one in PAMFN.from_published(state).items()}
    )
    clips = torch.from_numpy(numbers["clips"])
    steps = [Places(torch.ones(5, count, dtype=torch.bool), None) for count in (17, 8, 4, 1)]
    for mode in ("eval", "train"):
        features = base.train(mode == "train")(clips, steps)
        for index, one in enumerate(features):
            np.testing.assert_allclose(one.detach().transpose(1, 2), numbers[f"{mode}/stage{index}"], atol=1e-5)
        np.testing.assert_allclose(base.score(features[-1]).detach(), numbers[f"{mode}/output"][:, 0], atol=1e-5)


def test_at_the_published_size(shared):
    numbers = numbers_of(shared, "pamfn_full_rule")
    state = by_rule(numbers)
    head = golden_head({**state, "tau": torch.tensor(10.0)}, (1024, 1024, 768), published_defects=True)
    unused = 6 * 2 * 256
    assert sum(parameter.numel() for parameter in head.parameters()) == 17_958_989 - unused
    batch = golden_batch(
        *(features_by_rule(j, 3, 20, d) for j, d in enumerate((1024, 1024, 768))), numbers["eval/output"][:, 0]
    )
    with torch.no_grad():
        scores = with_noise(head, numbers).eval()(batch).score01
    np.testing.assert_allclose(scores, numbers["eval/output"][:, 0], atol=1e-5)


@pytest.mark.parametrize(
    "fusions, reduction, dims, parameters",
    [
        (10, 2, (1024, 1024, 768), 22_714_493),
        (6, 1, (1024, 1024, 768), 18_057_805),
        (8, 1, (1024, 1024, 768), 20_435_557),
    ],
)
def test_published_numbers_of_parameters(fusions, reduction, dims, parameters):
    with torch.device("meta"):
        head = PAMFN(dims[0], PAMFNSettings(fusions=fusions, reduction=reduction), None, dims[2], {"flow": dims[1]})
    assert sum(parameter.numel() for parameter in head.parameters()) == parameters - 6 * 2 * 256
    assert sum(parameter.numel() for parameter in head.bases["pictures"].parameters()) == 1_842_177
    assert sum(parameter.numel() for parameter in head.bases["sound"].parameters()) == 1_711_105


def test_a_tested_video_takes_the_likeliest_choice(published):
    numbers, head, batch = published
    object.__setattr__(head.settings, "published_defects", False)
    for block in head.blocks:
        block.noise = None
    with torch.no_grad():
        scores = head.eval()(batch).score01
        assert torch.equal(scores, head(batch).score01)


def test_import_and_evaluate(shared, tmp_path):
    """The likeliest choices are deterministic: compared with the head itself, whose numbers above are the published ones."""
    numbers = numbers_of(shared, "pamfn")
    streams = {name: list(numbers[name]) for name in ("clips", "flow", "audio")}
    store = golden_store(tmp_path / "golden.h5", streams, {"total": numbers["target"]})
    words = ("--backbone", "clips", "--audio", "audio", "--stream", "flow=flow")
    predicted = evaluated(tmp_path, tensors(numbers, "weight/"), "pamfn", store, *words)
    head = golden_head(tensors(numbers, "weight/"), (48, 40, 24)).eval()
    with torch.no_grad():
        expected = head(golden_batch(*(numbers[name] for name in ("clips", "flow", "audio", "target")))).score01
    np.testing.assert_allclose(predicted / numbers["target"].max(), expected, atol=1e-5)


def test_a_video_of_two_clips_has_a_score():
    head = PAMFN(6, PAMFNSettings(width=8, fusions=2), None, 4, {"flow": 5}).eval()
    clips, flow, audio = (np.ones((1, 2, dim), np.float32) for dim in (6, 5, 4))
    assert torch.isfinite(head(golden_batch(clips, flow, audio, [0.5])).score01).all()


def test_the_dropout_of_what_is_joined_is_a_setting():
    head = PAMFN(8, PAMFNSettings(joined_dropout=0.3), None, 8, {"flow": 8})
    assert head.fc[0].p == 0.3 and PAMFNSettings().joined_dropout == 0
