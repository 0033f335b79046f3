"""What every backbone of the table must do; a new one is tested by being in the table. Weights are random."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from longtake.extract.backbones import TABLE, build, get_spec
from longtake.extract.backbones.state_dict import state_sha256
from longtake.extract.backbones.weights import TABLE as WEIGHTS
from longtake.extract.errors import WeightsError
from longtake.extract.preprocessing import SoundRule
from tests.extract.backbones.inputs import inputs
from tests.processor import needs_bfloat16

PARAMETERS = {"i3d": 12_697_264, "i3d-flow": 12_675_312, "clip": 149_620_737, "vifi-clip": 149_620_737,
              "vst-t": 28_158_070, "vst-s": 49_816_678, "resnet50": 25_557_032, "timesformer": 121_566_352, "vit": 86_567_656, "blip": 86_090_496}  # fmt: skip


LARGE = {"vst": "vst-t", "vst-s": "vst-t", "vifi-clip": "clip", "blip": "vit"}
"""The same network as another one of the table, larger or with other weights: its tests are slow ones."""


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(name, marks=[pytest.mark.slow] if name in LARGE else []) for name in TABLE if name != "numbers"
    ],
)
def backbone(request):
    torch.set_num_threads(1)
    spec = get_spec(request.param)
    if isinstance(spec.frames, SoundRule):
        # An eighth of the frames; only the network's table of positions is smaller.
        spec = replace(spec, frames=replace(spec.frames, num_frames=spec.frames.num_frames // 8))
    built = build(spec)
    built.init_random(0)
    return built


def test_features_are_deterministic_and_independent_of_the_batch(backbone) -> None:
    spec = backbone.spec
    clips = inputs(spec, 2)
    features = backbone.forward(clips)
    assert features.shape == (2, spec.dim) and features.dtype == torch.float32 and not features.requires_grad
    assert torch.isfinite(features).all() and features.std() > 0
    assert backbone.device == torch.device("cpu"), "extract/pipeline/device.py goes by it"
    assert torch.equal(backbone.forward(clips), features), "the same twice"
    alone = backbone.forward(clips[1:])
    torch.testing.assert_close(alone, features[1:], rtol=1e-4, atol=1e-5 * float(features.abs().max()))
    assert not torch.allclose(features[0], features[1])


def test_the_classifier_has_the_stated_classes(backbone) -> None:
    logits = backbone.classify(inputs(backbone.spec, 1))
    if not backbone.spec.num_classes:
        assert logits is None
    else:
        assert logits.shape == (1, backbone.spec.num_classes) and torch.isfinite(logits).all()


def test_saved_weights_load_again_and_wrong_ones_are_refused(backbone) -> None:
    spec = backbone.spec
    state = dict(backbone.state_dict())
    again = build(spec)
    again.load_weights({"state_dict": {f"module.{key}": value for key, value in state.items()}})
    assert state_sha256(again.state_dict()) == state_sha256(state)
    clips = inputs(spec, 1)
    assert torch.equal(again.forward(clips), backbone.forward(clips))
    first = next(key for key, value in state.items() if value.ndim > 1 and "index" not in key)
    broken = {key: value for key, value in state.items() if key != first} | {"unknown.weight": torch.zeros(1)}
    with pytest.raises(WeightsError) as caught:
        again.load_weights(broken)
    assert first in str(caught.value) and "1 unexpected: unknown.weight" in str(caught.value)


def test_the_spec_has_registered_weights_and_a_citation(backbone) -> None:
    spec = backbone.spec
    entry = WEIGHTS[spec.default_weights]
    assert entry.backbone == spec.name and entry.url.startswith("http") and entry.licence and entry.citation
    assert spec.citation and spec.clips.length >= 1
    if spec.name in PARAMETERS:
        counted = sum(value.numel() for value in backbone._original.parameters())
        assert counted == PARAMETERS[spec.name]


@needs_bfloat16
def test_bfloat16_stays_within_the_error_in_the_spec(backbone) -> None:
    spec = backbone.spec
    if spec.bfloat16_error is None:
        pytest.skip("its spec states no error of bfloat16")
    fast = build(spec, precision="bfloat16")
    fast.init_random(0)
    clips = inputs(spec, 2)
    exact, rounded = backbone.forward(clips), fast.forward(clips)
    assert 0 < float((exact - rounded).norm() / exact.norm()) < spec.bfloat16_error
