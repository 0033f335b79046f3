"""CLIP takes the published weights of ViFi-CLIP."""

from __future__ import annotations

import pytest
import torch

from longtake.extract.backbones import build
from longtake.extract.backbones.openai_clip import NAMES, as_open_clip
from longtake.extract.backbones.state_dict import check_state, renamed
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


def test_the_layout_of_transformers_gives_the_same_features() -> None:
    """A small CLIP of transformers against a small one of open_clip with its converted weights."""
    import open_clip
    from transformers import CLIPConfig, CLIPModel

    text = {"hidden_size": 32, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2, "vocab_size": 99,
            "max_position_embeddings": 7, "hidden_act": "quick_gelu", "projection_dim": 16}  # fmt: skip
    vision = {"hidden_size": 64, "intermediate_size": 256, "num_hidden_layers": 2, "num_attention_heads": 1, "image_size": 32,
              "patch_size": 16, "hidden_act": "quick_gelu", "projection_dim": 16}  # fmt: skip
    torch.manual_seed(0)
    theirs = CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=16)).eval()
    ours = open_clip.CLIP(
        16, quick_gelu=True,
        vision_cfg={"layers": 2, "width": 64, "head_width": 64, "patch_size": 16, "image_size": 32},
        text_cfg={"context_length": 7, "vocab_size": 99, "width": 32, "heads": 2, "layers": 2},
    ).eval()  # fmt: skip
    state = as_open_clip(renamed(theirs.state_dict(), NAMES))
    check_state(ours.state_dict(), state, what="CLIP")
    ours.load_state_dict(state)
    pictures = torch.randn(2, 3, 32, 32)
    with torch.inference_mode():
        expected = theirs.visual_projection(theirs.vision_model(pictures).pooler_output)
        torch.testing.assert_close(ours.encode_image(pictures), expected, rtol=1e-4, atol=1e-5)
