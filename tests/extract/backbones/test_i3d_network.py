"""The network of I3D against its published outputs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from longtake.extract.backbones import build
from longtake.extract.backbones.i3d_network import InceptionI3d, same_padding
from tests.extract.backbones.rule_weights import pictures, relative_error, weights_by_rule

# Of the layout that the published state dicts share; the few features agree with the published outputs of SIZES.
KEYS_SHA256 = "e478222be240be6354fb52106c552bf25393919a93ac3ff472c670e1b8a2724e"

FEW_FEATURES = [0, 0.01233888, 0, 0.005941287, 0.07016044, 0.1475948, 0.06539145, 0.09269183]

SIZES = ((16, 224, 224), (32, 224, 224), (17, 112, 128))


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Two threads on a busy machine wait for each other many times per clip."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


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


@pytest.mark.parametrize(("stream", "channels"), [("rgb", 3), ("flow", 2)])
def test_the_layout_of_kinetics_i3d_pytorch(shared: Path, stream: str, channels: int) -> None:
    """Its keys, and its features and class scores, which are means over windows of the last map."""
    golden = np.load(shared / "golden" / "i3d_kinetics_i3d_pytorch.npz")
    shapes = json.loads(str(golden[f"{stream}_keys"]))
    backbone = build({"rgb": "i3d", "flow": "i3d-flow"}[stream])
    backbone.load_weights(weights_by_rule(shapes))
    assert len(backbone.state_dict()) == len(shapes)
    with torch.inference_mode():
        for seed, size in enumerate(SIZES[:2]):
            tag, inputs = "x".join(map(str, size)), pictures(seed, channels, size)
            maps = backbone._network.maps(inputs)
            backbone._network.maps = lambda _, found=maps: found  # one pass gives all outputs
            windows = backbone._network.window_features(inputs)
            assert relative_error(windows, golden[f"{stream}_features_{tag}"]) < 1e-4
            assert relative_error(backbone._network(inputs).mean(2), golden[f"{stream}_logits_{tag}"]) < 1e-4
            if size[0] == 16:
                found = backbone._network.features(inputs)  # what `extract run` stores
                assert relative_error(found, golden[f"{stream}_features_{tag}"]) < 1e-4
            del backbone._network.maps


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
