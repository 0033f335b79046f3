"""The network against its published outputs, and what `extract run` relies on: equal bits, clear refusals."""

from __future__ import annotations

import hashlib
import json
import logging
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from longtake.extract.backbones import TABLE, build, get_spec, list_specs
from longtake.extract.backbones.i3d_network import InceptionI3d, same_padding
from longtake.extract.backbones.state_dict import state_sha256
from longtake.extract.errors import ExtractError, WeightsError
from tests.processor import needs_bfloat16

# Of the layout that the published state dicts share; the few features agree with the published outputs of SIZES.
KEYS_SHA256 = "e478222be240be6354fb52106c552bf25393919a93ac3ff472c670e1b8a2724e"
FEW_FEATURES = [0, 0.01233888, 0, 0.005941287, 0.07016044, 0.1475948, 0.06539145, 0.09269183]

SIZES = ((16, 224, 224), (32, 224, 224), (17, 112, 128))


def weights_by_rule(shapes: dict[str, list[int]]) -> dict[str, torch.Tensor]:
    """A state dict whose every tensor follows from its name and shape."""
    state = {}
    for key, shape in shapes.items():
        z = np.random.RandomState(zlib.crc32(key.encode())).standard_normal(shape)
        if key.endswith("num_batches_tracked"):
            state[key] = torch.zeros((), dtype=torch.int64)
            continue
        if key.endswith("running_var"):
            values = 1 + 0.2 * np.abs(z)
        elif key.endswith("running_mean"):
            values = 0.1 * z
        elif z.ndim == 1:
            values = 1 + 0.1 * z if key.endswith("weight") else 0.05 * z
        else:
            values = z / np.sqrt(np.prod(shape[1:]))
        state[key] = torch.from_numpy(np.asarray(values, np.float32))
    return state


def pictures(seed: int, channels: int, size: tuple[int, int, int]) -> torch.Tensor:
    return torch.from_numpy(np.random.RandomState(seed).standard_normal((1, channels, *size)).astype(np.float32))


def relative_error(found: torch.Tensor, expected: np.ndarray | torch.Tensor) -> float:
    expected = torch.as_tensor(expected)
    assert found.shape == expected.shape
    return ((found - expected).abs().max() / expected.abs().max()).item()


def frames(seed: int, num_clips: int, size: tuple[int, int, int] = (16, 64, 64)) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (num_clips, *size, 3), dtype=torch.uint8, generator=generator)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Two threads on a machine that is busy otherwise wait for each other many times per clip."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def rule_state() -> dict[str, torch.Tensor]:
    return weights_by_rule({key: list(value.shape) for key, value in InceptionI3d().state_dict().items()})


@pytest.fixture(scope="module")
def i3d(rule_state):
    backbone = build("i3d")
    backbone.load_weights(rule_state)
    return backbone


@pytest.mark.parametrize(("stream", "channels"), [("rgb", 3), ("flow", 2)])
def test_published_outputs(shared: Path, stream: str, channels: int) -> None:
    golden = np.load(shared / "golden" / "i3d.npz")
    shapes = json.loads(str(golden[f"{stream}/keys"]))
    backbone = build({"rgb": "i3d", "flow": "i3d-flow"}[stream])
    backbone.load_weights(weights_by_rule(shapes))
    network = backbone._original
    assert {key: list(value.shape) for key, value in network.state_dict().items()} == shapes
    last_maps: list[torch.Tensor] = []
    network.Mixed_5c.register_forward_hook(lambda module, inputs, output: last_maps.append(output))
    compared = {f"{stream}/keys"}
    with torch.inference_mode():
        for seed, size in enumerate(SIZES):
            tag = "x".join(map(str, size))
            inputs = pictures(seed, channels, size)
            if f"{stream}/logits_{tag}" in golden:  # one pass gives both outputs
                assert relative_error(network(inputs), golden[f"{stream}/logits_{tag}"]) < 1e-4
                compared.add(f"{stream}/logits_{tag}")
                features = last_maps[-1].mean(dim=(2, 3, 4))
            else:
                features = backbone._network.features(inputs)  # batch normalisation folded, as it is run
            assert relative_error(features, golden[f"{stream}/mixed_5c_mean_{tag}"]) < 1e-4
            compared.add(f"{stream}/mixed_5c_mean_{tag}")
    assert compared == {name for name in golden.files if name.startswith(f"{stream}/")}


def test_layout_without_reference() -> None:
    network = InceptionI3d()
    assert sum(parameter.numel() for parameter in network.parameters()) == 12_697_264
    lines = [f"{key} {list(value.shape)}" for key, value in sorted(network.state_dict().items())]
    assert len(lines) == 344
    assert hashlib.sha256("\n".join(lines).encode()).hexdigest() == KEYS_SHA256


def test_few_numbers_without_reference(rule_state) -> None:
    network = InceptionI3d().eval()
    network.load_state_dict(rule_state)
    with torch.inference_mode():
        features = network.features(pictures(7, 3, (9, 65, 98)))[0]
    assert features.shape == (1024,)
    np.testing.assert_allclose(features[::128].numpy(), FEW_FEATURES, rtol=1e-4, atol=1e-5)


def test_same_padding_follows_the_size() -> None:
    assert same_padding((16, 224, 223), (7, 7, 7), (2, 2, 2)) == (3, 3, 2, 3, 2, 3)
    assert same_padding((4, 7, 8), (2, 2, 2), (2, 2, 2)) == (0, 0, 0, 1, 0, 0)
    assert same_padding((5, 5, 5), (3, 3, 3), (1, 1, 1)) == (1, 1, 1, 1, 1, 1)


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
    clips = frames(1, 4, (8, 96, 96))
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


def test_state_dicts_in_circulation_are_taken(i3d, rule_state) -> None:
    clips = frames(4, 1)
    expected = i3d.forward(clips)
    old = {key: value for key, value in rule_state.items() if not key.endswith("num_batches_tracked")}
    for state in (old, {"epoch": 3, "state_dict": {f"module.{key}": value for key, value in rule_state.items()}}):
        backbone = build("i3d")
        backbone.load_weights(state)
        assert torch.equal(backbone.forward(clips), expected)


def test_another_classifier_is_taken_and_said(i3d, rule_state, caplog) -> None:
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


def test_tables_agree_and_unknown_names_get_a_hint() -> None:
    assert [spec.name for spec in list_specs()] == list(TABLE)
    with pytest.raises(ExtractError, match="did you mean i3d"):
        get_spec("i3")
    with pytest.raises(ExtractError, match="float32 or bfloat16"):
        build("i3d", precision="float16")


def test_specs_need_no_torch() -> None:
    code = (
        "import sys, longtake.extract.backbones as b, longtake.extract.backbones.weights, longtake.extract.backbones.text_encoders; b.list_specs(); "
        "sys.exit(bool({'torch', 'cv2', 'av', 'open_clip'} & set(sys.modules)))"
    )
    root = Path(__file__).resolve().parents[2]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0
