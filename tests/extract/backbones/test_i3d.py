"""What `extract run` needs of I3D: equal bits in any batch, clear refusals; and optical flow."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from longtake.extract.backbones import build
from longtake.extract.backbones.i3d import FLOW_BOUND, optical_flow
from longtake.extract.backbones.i3d_network import InceptionI3d
from longtake.extract.backbones.state_dict import state_sha256
from longtake.extract.errors import WeightsError
from tests.extract.backbones.rule_weights import frames, relative_error
from tests.processor import needs_bfloat16


def test_flow_follows_a_moving_picture() -> None:
    rng = np.random.default_rng(0)
    texture = np.kron(rng.integers(0, 255, (40, 40)), np.ones((6, 6)))[:, :, None].repeat(3, 2)
    frames = np.stack([texture[20:148, 20 - 3 * t + 30 : 148 - 3 * t + 30] for t in range(4)])  # 3 pixels to the right
    pictures = torch.from_numpy(frames).float().permute(3, 0, 1, 2)[None]
    flow = optical_flow(pictures)
    assert flow.shape == (1, 2, 4, 128, 128)
    centre = flow[0, :, :3, 32:96, 32:96]
    assert float(centre[0].median()) * FLOW_BOUND == pytest.approx(3, abs=0.5)
    assert abs(float(centre[1].median())) * FLOW_BOUND < 0.5
    assert torch.equal(flow[:, :, 3], flow[:, :, 2]) and float(flow.abs().max()) <= 1


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Two threads on a busy machine wait for each other many times per clip."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def i3d(rule_state):
    backbone = build("i3d")
    backbone.load_weights(rule_state)
    return backbone


def test_forward_normalises_frames_and_folding_keeps_the_numbers(i3d, rule_state) -> None:
    network = InceptionI3d().eval()
    network.load_state_dict(rule_state)
    clips = frames(0, 2, (9, 65, 98))
    with torch.inference_mode():
        expected = network.features(clips.permute(0, 4, 1, 2, 3).float() / 127.5 - 1)
    found = i3d.forward(clips)
    assert found.dtype == torch.float32 and found.shape == (2, i3d.spec.dim)
    assert relative_error(found, expected) < 1e-5
    assert not found.requires_grad


@pytest.mark.parametrize("num_threads", [1, 2])
@pytest.mark.parametrize("precision", ["float32", pytest.param("bfloat16", marks=needs_bfloat16)])
def test_a_clip_has_the_same_bits_anywhere_in_a_batch(rule_state, precision: str, num_threads: int) -> None:
    torch.set_num_threads(num_threads)
    backbone = build("i3d", precision=precision)
    backbone.load_weights(rule_state)
    clips = frames(1, 4, (8, 64, 64))
    features = backbone.forward(clips)
    order = torch.tensor([2, 0, 3, 1])
    assert torch.equal(backbone.forward(clips[order]), features[order])
    alone = torch.zeros_like(clips)  # as the last batch of a run is filled up
    for index in (0, 3):
        alone[index] = clips[0]
        assert torch.equal(backbone.forward(alone)[index], features[0])
        alone[index] = 0


@needs_bfloat16
def test_bfloat16_stays_within_its_stated_error(i3d, rule_state) -> None:
    fast = build("i3d", precision="bfloat16")
    fast.load_weights(rule_state)
    clips = frames(2, 2, (16, 96, 96))
    exact, rounded = i3d.forward(clips), fast.forward(clips)
    assert rounded.dtype == torch.float32
    assert 0 < ((exact - rounded).norm() / exact.norm()).item() < 0.005


def test_random_weights_are_seeded_and_keep_the_scale() -> None:
    backbone = build("i3d")
    hashes = {}
    for seed, threads in ((0, 1), (0, 2), (1, 1)):
        torch.set_num_threads(threads)
        torch.manual_seed(threads)  # the global generator must not matter
        backbone.init_random(seed)
        hashes[seed, threads] = state_sha256(backbone.state_dict())
    assert hashes[0, 1] == hashes[0, 2] != hashes[1, 1]
    features = backbone.forward(frames(3, 2))
    assert torch.isfinite(features).all() and 0.1 < features.std() < 20
    assert not torch.equal(features[0], features[1])


def test_published_state_dicts_load(i3d, rule_state) -> None:
    clips = frames(4, 1)
    expected = i3d.forward(clips)
    old = {key: value for key, value in rule_state.items() if not key.endswith("num_batches_tracked")}
    for state in (old, {"epoch": 3, "state_dict": {f"module.{key}": value for key, value in rule_state.items()}}):
        backbone = build("i3d")
        backbone.load_weights(state)
        assert torch.equal(backbone.forward(clips), expected)


def test_another_classifier_loads_with_a_warning(i3d, rule_state, caplog) -> None:
    state = dict(rule_state)
    state["logits.conv3d.weight"], state["logits.conv3d.bias"] = torch.zeros(157, 1024, 1, 1, 1), torch.zeros(157)
    backbone = build("i3d")
    with caplog.at_level(logging.WARNING):
        backbone.load_weights(state)
    assert "157 classes" in caplog.text
    clips = frames(5, 1)
    assert torch.equal(backbone.forward(clips), i3d.forward(clips))


def test_weights_that_do_not_fit_are_listed(rule_state) -> None:
    state = dict(rule_state)
    state["head.weight"] = state.pop("Mixed_5c.b0.conv3d.weight")
    state["Conv3d_1a_7x7.conv3d.weight"] = torch.zeros(64, 2, 7, 7, 7)  # optical flow
    with pytest.raises(WeightsError) as caught:
        build("i3d").load_weights(state)
    message = str(caught.value)
    for part in (
        "1 missing: Mixed_5c.b0.conv3d.weight",
        "1 unexpected: head.weight",
        "(64, 2, 7, 7, 7) instead of (64, 3",
    ):
        assert part in message
    for wrong in ({}, {"state_dict": {}}, {"a": 1}, [1]):
        with pytest.raises(WeightsError, match="state dict"):
            build("i3d").load_weights(wrong)


def test_wrong_frames_and_missing_weights_are_refused(i3d) -> None:
    for wrong in (frames(0, 1).float(), frames(0, 1)[0], frames(0, 1)[..., :2], frames(0, 0)):
        with pytest.raises(ValueError, match=r"uint8 frames of shape \(batch, length, height, width, 3\)"):
            i3d.forward(wrong)
    with pytest.raises(WeightsError, match="load_weights or init_random"):
        build("i3d").forward(frames(0, 1))
