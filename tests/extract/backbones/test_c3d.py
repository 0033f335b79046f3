"""C3D layer by layer."""

from __future__ import annotations

import pytest
import torch

from longtake.extract.backbones import build
from longtake.extract.backbones.c3d import NAMES
from longtake.extract.backbones.state_dict import renamed
from tests.extract.backbones.inputs import inputs


def test_features_layer_by_layer() -> None:
    """The layers of the published PyTorch conversion, with the border around the last maps."""
    backbone = build("c3d")
    backbone.init_random(1)
    state = backbone.state_dict()
    clips = inputs(backbone.spec, 1)
    maps = backbone.pictures(clips)
    with torch.inference_mode():
        for name in ("1", "2", "3a", "3b", "4a", "4b", "5a", "5b"):
            convolution = torch.nn.Conv3d(maps.shape[1], len(state[f"conv{name}.bias"]), (3, 3, 3), padding=(1, 1, 1))
            convolution.load_state_dict({k: state[f"conv{name}.{k}"] for k in ("weight", "bias")})
            maps = torch.relu(convolution(maps))
            if name == "1":
                maps = torch.nn.MaxPool3d((1, 2, 2), (1, 2, 2))(maps)
            elif name == "5b":
                maps = torch.nn.MaxPool3d((2, 2, 2), (2, 2, 2), padding=(0, 1, 1))(maps)
            elif name in ("2", "3b", "4b"):
                maps = torch.nn.MaxPool3d((2, 2, 2), (2, 2, 2))(maps)
        expected = torch.relu(maps.view(1, 8192) @ state["fc6.weight"].T + state["fc6.bias"])
    torch.testing.assert_close(backbone.forward(clips), expected, rtol=1e-4, atol=1e-3)
    with pytest.raises(ValueError, match="16 frames of 112x112"):
        backbone.forward(clips[:, :8])


@pytest.fixture(scope="module")
def small_state() -> dict[str, torch.Tensor]:
    """C3D's names with tiny tensors: names are what these tests are about."""
    with torch.device("meta"):
        names = build("c3d")._parts.make(487).state_dict()
    return {name: torch.full((2,), float(index)) for index, name in enumerate(names)}


SEQUENCE = ["features.0", "features.3", "features.6", "features.8", "features.11", "features.13", "features.16", "features.18",
            "classifier.0", "classifier.3", "classifier.6"]  # fmt: skip
MMACTION2 = ["backbone.conv1a.conv", "backbone.conv2a.conv", "backbone.conv3a.conv", "backbone.conv3b.conv",
             "backbone.conv4a.conv", "backbone.conv4b.conv", "backbone.conv5a.conv", "backbone.conv5b.conv",
             "backbone.fc6", "backbone.fc7", "cls_head.fc_cls"]  # fmt: skip
CAFFE = ["conv1a", "conv2a", "conv3a", "conv3b", "conv4a", "conv4b", "conv5a", "conv5b", "fc6-1", "fc7-1", "fc8-1"]


@pytest.mark.parametrize("layout", [SEQUENCE, MMACTION2, CAFFE])
def test_layouts_in_circulation_load(small_state: dict[str, torch.Tensor], layout: list[str]) -> None:
    ours = list(dict.fromkeys(name.rpartition(".")[0] for name in small_state))
    theirs = {f"{layout[ours.index(name.rpartition('.')[0])]}.{name.rpartition('.')[2]}": value
              for name, value in small_state.items()}  # fmt: skip
    found = renamed(theirs, NAMES)
    assert found.keys() == small_state.keys()
    assert all(torch.equal(found[name], value) for name, value in small_state.items())


def test_an_unknown_place_in_a_sequence_is_unexpected() -> None:
    assert list(renamed({"features.1.weight": torch.zeros(1)}, NAMES)) == ["features.1.weight"]
