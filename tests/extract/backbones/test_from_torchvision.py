"""Networks of torchvision by name, of pictures and of videos."""

from __future__ import annotations

import pytest
import torch

from longtake.extract.backbones import get_spec
from longtake.extract.backbones.from_torchvision import names
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
