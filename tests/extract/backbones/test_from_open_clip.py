"""Models of open_clip by name and tag."""

from __future__ import annotations

import pytest
import torch

from longtake.extract.backbones import get_spec
from longtake.extract.backbones.from_open_clip import frame_rule
from longtake.extract.backbones.weights import resolve
from longtake.extract.errors import ExtractError, WeightsError
from tests.extract.backbones.parity import parity
from tests.processor import needs_bfloat16


@needs_bfloat16
@pytest.mark.slow
def test_features_are_those_of_open_clip() -> None:
    torch.set_num_threads(1)
    spec, apart, rounded = parity("open_clip/ViT-B-32:openai")
    assert (spec.name, spec.dim) == ("open_clip:ViT-B-32:openai", 512)
    assert apart < 1e-4 and rounded < 0.05


def test_pictures_are_those_of_the_tag() -> None:
    rule = frame_rule("open_clip/x", "ViT-B-16-SigLIP2", "webli")
    assert rule.squash and rule.mean == (127.5,) * 3
    assert not frame_rule("open_clip/x", "ViT-B-32", "openai").squash


def test_wrong_names_and_tags() -> None:
    with pytest.raises(ExtractError, match="open_clip has no network called 'ViT-B-33'; did you mean"):
        get_spec("open_clip/ViT-B-33")
    with pytest.raises(ExtractError, match="'ViT-B-32:openia'; did you mean ViT-B-32:openai"):
        get_spec("open_clip/ViT-B-32:openia")


def test_a_model_without_a_tag() -> None:
    """Refused where its tags differ in what decides features; else built, and its weights have to be named."""
    with pytest.raises(
        ExtractError, match="different pictures or activations. .* open_clip/ViT-B-32:TAG with openai, "
    ):
        get_spec("open_clip/ViT-B-32")
    spec = get_spec("open_clip/RN50")
    with pytest.raises(WeightsError, match="names no weights; say open_clip/RN50:TAG with one of its tags: openai"):
        resolve(None, spec)
