"""TimeSformer takes the files of its original repository."""

from __future__ import annotations

import torch

from longtake.extract.backbones.state_dict import check_state, renamed, unwrap_state
from longtake.extract.backbones.timesformer import FROM_ORIGINAL

ORIGINAL_BLOCK = ("norm1", "attn.qkv", "attn.proj", "temporal_norm1", "temporal_attn.qkv", "temporal_attn.proj", "temporal_fc",
                  "norm2", "mlp.fc1", "mlp.fc2")  # fmt: skip


def test_names_of_the_original_repository_load() -> None:
    """Its names and shapes by hand, for a small network of transformers. In both, queries, keys and values are one matrix."""
    from transformers import TimesformerConfig, TimesformerForVideoClassification

    config = TimesformerConfig(
        hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16, image_size=32, num_labels=5
    )
    network = TimesformerForVideoClassification(config)
    rows = {"attn.qkv": 24, "temporal_attn.qkv": 24, "mlp.fc1": 16}
    columns = {"mlp.fc2": 16}
    state = {
        "model.cls_token": torch.ones(1, 1, 8), "model.pos_embed": torch.ones(1, 5, 8), "model.time_embed": torch.ones(1, 8, 8),
        "model.patch_embed.proj.weight": torch.ones(8, 3, 16, 16), "model.patch_embed.proj.bias": torch.ones(8),
        "model.norm.weight": torch.ones(8), "model.norm.bias": torch.ones(8),
        "model.head.weight": torch.ones(5, 8), "model.head.bias": torch.ones(5),
    }  # fmt: skip
    for block in range(2):
        for layer in ORIGINAL_BLOCK:
            size = rows.get(layer, 8)
            shape = (size,) if "norm" in layer else (size, columns.get(layer, 8))
            state[f"model.blocks.{block}.{layer}.weight"] = torch.ones(shape)
            state[f"model.blocks.{block}.{layer}.bias"] = torch.ones(size)
    found = renamed(unwrap_state({"epoch": 15, "model_state": state}), FROM_ORIGINAL)
    check_state(network.state_dict(), found, what="TimeSformer")
    assert len(found) == len(state)
    assert renamed(network.state_dict(), FROM_ORIGINAL).keys() == network.state_dict().keys(), "their own names stay"
