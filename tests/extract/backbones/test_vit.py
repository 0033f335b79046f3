"""ViT takes published weights, and gives what transformers' own processor and forward give."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from longtake.extract.backbones import build
from longtake.extract.backbones.state_dict import state_sha256
from longtake.extract.decode.scale import Scaler, rgb_frame
from tests.processor import needs_bfloat16

PICTURE = np.random.default_rng(0).integers(0, 256, (90, 160, 3), dtype=np.uint8).repeat(3, 0).repeat(3, 1)


def ours(backbone, pictures=(PICTURE,)):
    """A clip of these decoded pictures, through the rule of the spec."""
    scaled = [Scaler().picture(rgb_frame(picture), backbone.spec.frames) for picture in pictures]
    return backbone.forward(torch.from_numpy(np.stack(scaled))[None])


def test_features_are_those_of_the_library() -> None:
    from transformers import ViTImageProcessorPil

    vit = build("vit")
    vit.init_random(0)
    pixels = ViTImageProcessorPil()(PICTURE, return_tensors="pt")["pixel_values"]
    with torch.inference_mode():
        expected = vit._original.vit(pixels).last_hidden_state[:, 0]
        logits = vit._original(pixels).logits
    found = ours(vit)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=2e-5)
    torch.testing.assert_close(vit._original.classifier(found), logits, rtol=1e-4, atol=2e-5)
    turned = ours(vit, [PICTURE[::-1]])
    torch.testing.assert_close(ours(vit, [PICTURE, PICTURE[::-1]]), (found + turned) / 2, rtol=1e-4, atol=2e-5)


@needs_bfloat16
@pytest.mark.parametrize("name", ["vit", pytest.param("blip", marks=pytest.mark.slow)])
def test_bfloat16_is_near(name) -> None:
    exact, fast = build(name), build(name, precision="bfloat16")
    for backbone in (exact, fast):
        backbone.init_random(0)
    first, second = ours(exact), ours(fast)
    assert 0 < float((first - second).norm() / first.norm()) < 0.02


def test_names_of_published_files_load() -> None:
    """Without the files: names are made by the publisher's rule."""
    vit = build("vit")
    vit.init_random(0)
    hub = {"vit.pooler.dense.weight": torch.zeros(768, 768), "vit.pooler.dense.bias": torch.zeros(768)}
    for key, value in vit.state_dict().items():
        name = key.replace("vit.layers.", "vit.encoder.layer.")
        for mine, theirs in (("q_proj", "attention.query"), ("k_proj", "attention.key"), ("v_proj", "attention.value"),
                             ("o_proj", "output.dense"), ("mlp.fc1", "intermediate.dense"), ("mlp.fc2", "output.dense")):  # fmt: skip
            name = name.replace(mine, theirs)
        hub[name] = value
    assert "vit.encoder.layer.0.attention.attention.query.weight" in hub
    again = build("vit")
    again.load_weights(hub)
    assert state_sha256(again.state_dict()) == state_sha256(vit.state_dict())
