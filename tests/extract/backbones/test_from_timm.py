"""Networks of timm by name: the features and the pictures of timm."""

from __future__ import annotations

import pytest
import torch

from longtake.extract.backbones import build, get_spec
from longtake.extract.backbones.from_timm import frame_rule
from longtake.extract.backbones.weights import resolve
from longtake.extract.errors import ExtractError, WeightsError
from tests.extract.backbones.parity import parity
from tests.processor import needs_bfloat16

CONFIG = {
    "input_size": (3, 224, 224),
    "interpolation": "bicubic",
    "crop_pct": 0.9,
    "mean": (0.5,) * 3,
    "std": (0.5,) * 3,
}


@needs_bfloat16
@pytest.mark.parametrize(("name", "dim"), [("mobilenetv3_small_050", 1024), ("vit_tiny_patch16_224.augreg_in21k", 192)])
def test_features_are_those_of_timm(name: str, dim: int) -> None:
    torch.set_num_threads(1)
    spec, apart, rounded = parity(f"timm/{name}")
    assert (spec.name, spec.dim, spec.modality) == (f"timm:{name}", dim, "image")
    assert apart < 1e-4 and rounded < 0.05


def test_rules_of_pictures() -> None:
    rule = frame_rule("timm/a", CONFIG)
    assert (rule.short_side, rule.crop_height, rule.resize) == (248, 224, "pillow bicubic")
    assert rule.mean == (127.5,) * 3
    squashed = frame_rule("timm/a", {**CONFIG, "crop_mode": "squash", "crop_pct": 1.0})
    assert (squashed.stretch_height, squashed.stretch_width) == (224, 224)
    for change, message in (
        ({"input_size": (1, 224, 224)}, "not square pictures of 3 colours"),
        ({"input_size": (3, 224, 448)}, "not square"),
        ({"interpolation": "lanczos"}, "resized by 'lanczos'"),
        ({"crop_mode": "border"}, "cropped by 'border'"),
    ):
        with pytest.raises(ExtractError, match=message):
            frame_rule("timm/a", {**CONFIG, **change})


def test_wrong_names_and_missing_weights() -> None:
    with pytest.raises(ExtractError, match="timm has no network called 'resnt18'; did you mean .*resnet18"):
        get_spec("timm/resnt18")
    with pytest.raises(ExtractError, match="no network called 'resnet18.nothing'"):
        get_spec("timm/resnet18.nothing")
    with pytest.raises(
        WeightsError, match="timm publishes no weights for botnet50ts_256. Give a file with --weights PATH"
    ):
        resolve(None, get_spec("timm/botnet50ts_256"))


def test_weights_that_do_not_fit_are_refused() -> None:
    backbone = build("timm/mobilenetv3_small_050")
    backbone.init_random(0)
    state = dict(backbone.state_dict())
    del state["blocks.0.0.conv_dw.weight"]
    with pytest.raises(WeightsError, match="1 missing: blocks.0.0.conv_dw.weight"):
        build("timm/mobilenetv3_small_050").load_weights(state)
