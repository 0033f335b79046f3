"""The Audio Spectrogram Transformer takes published weights."""

from __future__ import annotations

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
