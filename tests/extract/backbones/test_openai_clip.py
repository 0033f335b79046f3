"""CLIP takes the published weights of ViFi-CLIP."""

from __future__ import annotations

import pytest
import torch

from longtake.extract.backbones import build
from longtake.extract.errors import WeightsError
from tests.extract.backbones.inputs import inputs


def test_names_of_published_files_load() -> None:
    """Without the files: names are made by the publisher's rule."""
    clip = build("vifi-clip")
    clip.init_random(0)
    vifi = {"prompt_learner.complete_text_embeddings": torch.zeros(400, 77, 512)}
    for key, value in clip.state_dict().items():
        if key.startswith("visual."):
            vifi["module.image_encoder." + key.removeprefix("visual.")] = value
        elif key == "logit_scale":
            vifi["module.logit_scale"] = value
        elif key != "token_embedding.weight":
            vifi["module.text_encoder." + key] = value
    vifi["module.prompt_learner.complete_text_embeddings"] = vifi.pop("prompt_learner.complete_text_embeddings")
    loaded = build("vifi-clip")
    loaded.load_weights({"model": vifi, "epoch": 3})
    clips = inputs(clip.spec, 1)
    assert torch.equal(loaded.forward(clips), clip.forward(clips))
    with pytest.raises(WeightsError, match="token_embedding.weight"):
        build("clip").load_weights({"model": vifi})
