"""The Audio Spectrogram Transformer takes published weights."""

from __future__ import annotations

import torch

from longtake.extract.backbones import build
from longtake.extract.backbones.state_dict import state_sha256


def test_names_of_published_files_load() -> None:
    """Without the files: names are made by the publisher's rule."""
    ast = build("ast")
    ast.init_random(0)
    hub = {}
    for key, value in ast.state_dict().items():
        name = key.replace("transformer.layers.", "transformer.encoder.layer.")
        for ours, theirs in (("q_proj", "attention.query"), ("k_proj", "attention.key"), ("v_proj", "attention.value"),
                             ("o_proj", "output.dense"), ("mlp.fc1", "intermediate.dense"), ("mlp.fc2", "output.dense")):  # fmt: skip
            name = name.replace(ours, theirs)
        hub[name] = value
    assert "audio_spectrogram_transformer.encoder.layer.0.attention.attention.query.weight" in hub
    assert "audio_spectrogram_transformer.encoder.layer.0.attention.output.dense.weight" in hub
    again = build("ast")
    again.load_weights(hub)
    assert state_sha256(again.state_dict()) == state_sha256(ast.state_dict())
    network = ast._original.audio_spectrogram_transformer
    assert sum(value.numel() for value in network.parameters()) == 86_187_264


def test_names_of_the_original_repository_load() -> None:
    """`module.v.` of DeiT, whose queries, keys and values are one matrix."""
    ast = build("ast")
    ast.init_random(1)
    state = dict(ast.state_dict())
    original = {"v.head.weight": torch.zeros(1000, 768), "v.head_dist.bias": torch.zeros(1000)}
    for key, value in state.items():
        name = key.replace("audio_spectrogram_transformer.", "v.").replace("v.layers.", "v.blocks.")
        for ours, theirs in (("layernorm_before", "norm1"), ("layernorm_after", "norm2"), ("attention.o_proj", "attn.proj"),
                             ("embeddings.cls_token", "cls_token"), ("embeddings.distillation_token", "dist_token"),
                             ("embeddings.position_embeddings", "pos_embed"), ("v.layernorm", "v.norm"),
                             ("embeddings.patch_embeddings.projection", "patch_embed.proj"),
                             ("classifier.layernorm", "mlp_head.0"), ("classifier.dense", "mlp_head.1")):  # fmt: skip
            name = name.replace(ours, theirs)
        if "q_proj" in name:
            parts = [state[key.replace("q_proj", f"{part}_proj")] for part in "qkv"]
            original[name.replace("attention.q_proj", "attn.qkv")] = torch.cat(parts)
        elif "k_proj" not in name and "v_proj" not in name:
            original[name] = value
    assert original["v.blocks.0.attn.qkv.weight"].shape == (2304, 768) and "v.blocks.3.mlp.fc1.bias" in original
    again = build("ast")
    again.load_weights({f"module.{name}": value for name, value in original.items()})
    assert state_sha256(again.state_dict()) == state_sha256(state)
