"""C3D layer by layer."""

from __future__ import annotations

import pytest
import torch

from longtake.extract.backbones import build
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
