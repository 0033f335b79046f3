"""Frame features of ResNet-50."""

from __future__ import annotations

import torch

from longtake.extract.backbones import build
from tests.extract.backbones.inputs import inputs


def test_features_of_a_clip_are_the_mean_of_its_frames() -> None:
    backbone = build("resnet50")
    backbone.init_random(0)
    clip = inputs(backbone.spec, 1)
    assert clip.shape[1] == 2
    frames = backbone.forward(clip[0][:, None])
    assert frames.shape == (2, 2048) and not torch.allclose(frames[0], frames[1])
    torch.testing.assert_close(backbone.forward(clip)[0], frames.mean(0), rtol=1e-4, atol=1e-5)
