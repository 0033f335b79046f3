"""Networks of torchvision by name, of pictures and of videos."""

from __future__ import annotations

import pytest
import torch

from longtake.extract.backbones import build, get_spec
from longtake.extract.backbones.from_torchvision import _OLD_NAMES, _make, names
from longtake.extract.backbones.state_dict import renamed
from longtake.extract.errors import ExtractError
from longtake.extract.preprocessing import OPENCV_BILINEAR
from tests.extract.backbones.parity import parity
from tests.processor import needs_bfloat16


@needs_bfloat16
@pytest.mark.parametrize(("name", "dim"), [("mobilenet_v3_small", 1024), ("squeezenet1_1", 512)])
def test_features_are_those_of_torchvision(name: str, dim: int) -> None:
    torch.set_num_threads(1)
    spec, apart, rounded = parity(f"torchvision/{name}")
    assert (spec.name, spec.dim, spec.modality) == (f"torchvision:{name}", dim, "image")
    assert apart < 1e-4 and rounded < 0.05


@needs_bfloat16
def test_clips_are_as_the_weights_state() -> None:
    spec, apart, rounded = parity("torchvision/mc3_18")
    assert (spec.clips.length, spec.clips.fps, spec.dim, spec.modality) == (16, 15.0, 512, "video")
    assert (spec.frames.stretch_height, spec.frames.stretch_width, spec.frames.resize) == (128, 171, OPENCV_BILINEAR)
    assert apart < 0.01, "resizing rounds to 8 bits at another place"
    assert rounded < 0.05


def test_what_is_no_classifier_is_refused() -> None:
    assert "swin3d_t" in names() and "fasterrcnn_resnet50_fpn" not in names()
    with pytest.raises(ExtractError, match="it finds objects, outlines or flow"):
        get_spec("torchvision/fasterrcnn_resnet50_fpn")
    with pytest.raises(ExtractError, match="torchvision has no network called 'r3d18'; did you mean r3d_18"):
        get_spec("torchvision/r3d18")


def test_published_weights_that_torchvision_changes_as_it_loads_them() -> None:
    """GoogLeNet and Inception scale their own input; names in old files of DenseNet and Vision Transformers are others."""
    assert _make("googlenet", 10).transform_input and _make("inception_v3", 10).transform_input
    for name, ours, published in (
        (
            "densenet121",
            "features.denseblock1.denselayer1.norm1.weight",
            "features.denseblock1.denselayer1.norm.1.weight",
        ),
        (
            "vit_b_16",
            "encoder.layers.encoder_layer_0.mlp.0.weight",
            "encoder.layers.encoder_layer_0.mlp.linear_1.weight",
        ),
    ):
        with torch.device("meta"):
            assert ours in _make(name, 10).state_dict()
        assert list(renamed({published: torch.zeros(1)}, _OLD_NAMES)) == [ours]


def test_a_network_that_reads_the_version_of_its_layout() -> None:
    """MNASNet refuses a state without one."""
    backbone = build("torchvision/mnasnet0_5")
    backbone.init_random(0)
    again = build("torchvision/mnasnet0_5")
    again.load_weights(dict(backbone.state_dict()))
    clip = torch.randint(0, 256, (1, 1, 224, 224, 3), dtype=torch.uint8)
    assert torch.equal(again.forward(clip), backbone.forward(clip))
