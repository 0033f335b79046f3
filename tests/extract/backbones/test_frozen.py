"""What all networks share: memory layout and compiling."""

from dataclasses import replace

import pytest
import torch

from longtake.extract.backbones import get_spec
from longtake.extract.backbones.spec import Network
from longtake.extract.errors import ExtractError


def test_channels_last_changes_the_layout_only():
    from longtake.extract.backbones.frozen import channels_last

    network = torch.nn.Sequential(torch.nn.Conv3d(3, 8, 3), torch.nn.Flatten(1, 2), torch.nn.Conv2d(8, 4, 3))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    channels_last(network)
    assert network[0].weight.is_contiguous(memory_format=torch.channels_last_3d)
    assert network[2].weight.is_contiguous(memory_format=torch.channels_last)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def tiny_backbone():
    """A network of one convolution behind the machinery of the real ones."""
    from longtake.extract.backbones.frozen import Backbone

    spec = replace(get_spec("i3d"), dim=4)
    network = Network(
        lambda num_classes: torch.nn.Conv3d(3, 4, 3),
        features=lambda network, pictures: network(pictures).relu().mean(dim=(2, 3, 4)),
    )
    return Backbone(spec, network, precision="float32", device="cpu")


@pytest.mark.slow
def test_compiled_networks_give_the_same_features():
    backbone = tiny_backbone()
    backbone.init_random(0)
    clips = torch.randint(0, 256, (2, 4, 16, 16, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    expected = backbone.forward(clips)
    backbone.compile()
    torch.testing.assert_close(backbone.forward(clips), expected, rtol=1e-5, atol=1e-6)


def test_no_compiler_is_said_before_any_work(monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(ExtractError, match="--compile needs a C\\+\\+ compiler, and there is no no-such-compiler"):
        tiny_backbone().compile()
