"""Audio Spectrogram Transformer: the network of transformers (Gong et al., Interspeech 2021), on the sound of a clip's seconds.

The features are the mean of the class and distillation tokens after the last LayerNorm: 768 values.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from longtake.extract.backbones.spec import BackboneSpec, NameRule, Network
from longtake.extract.backbones.state_dict import split_rows
from longtake.extract.preprocessing import ClipRule, SoundRule

SPEC = BackboneSpec(
    name="ast",
    title="AST-B (sound)",
    modality="audio",
    dim=768,
    frames=SoundRule(sample_rate=16_000, mel_bins=128, num_frames=1024, mean=-4.2677393, std=4.5689974),
    clips=ClipRule(length=32, stride=32, tail="centre", fps=None),
    default_weights="ast_audioset",
    citation="Gong et al., AST: Audio Spectrogram Transformer, Interspeech 2021, arXiv:2104.01778",
    batch_size=4,
    bfloat16_error=0.015,
    openvino=True,
    num_classes=527,
)


def build(spec: BackboneSpec) -> Network:
    """The network without weights. bfloat16 changes features by about 1.2% (relative, L2)."""
    from transformers import ASTConfig, ASTForAudioClassification

    rule = spec.frames
    assert isinstance(rule, SoundRule)

    def make(num_classes: int) -> ASTForAudioClassification:
        return ASTForAudioClassification(
            ASTConfig(num_labels=num_classes, max_length=rule.num_frames, num_mel_bins=rule.mel_bins)
        )

    return Network(
        make,
        features=lambda network, banks: network.audio_spectrogram_transformer(banks).pooler_output,
        logits=lambda network, features: network.classifier(features),
        classifier="classifier.dense.weight",
        optional=("classifier.",),
        names=(*_FROM_ORIGINAL, *names_from_hub()),
        convert=partial(split_rows, joined=".qkv.", parts=_SPLIT if names_from_hub() else _SPLIT_HUB),
    )


_FROM_ORIGINAL: Sequence[NameRule] = (
    (r"^v\.(head|head_dist)\.", None),
    (r"^v\.cls_token$", "audio_spectrogram_transformer.embeddings.cls_token"),
    (r"^v\.dist_token$", "audio_spectrogram_transformer.embeddings.distillation_token"),
    (r"^v\.pos_embed$", "audio_spectrogram_transformer.embeddings.position_embeddings"),
    (r"^v\.patch_embed\.proj\.", "audio_spectrogram_transformer.embeddings.patch_embeddings.projection."),
    (r"^v\.blocks\.", "audio_spectrogram_transformer.encoder.layer."),
    (r"^v\.norm\.", "audio_spectrogram_transformer.layernorm."),
    (r"^mlp_head\.0\.", "classifier.layernorm."),
    (r"^mlp_head\.1\.", "classifier.dense."),
    (r"\.norm1\.", ".layernorm_before."),
    (r"\.norm2\.", ".layernorm_after."),
    (r"\.attn\.proj\.", ".attention.output.dense."),
    (r"\.attn\.qkv\.", ".qkv."),
    (r"(layer\.\d+)\.mlp\.fc1\.", r"\1.intermediate.dense."),
    (r"(layer\.\d+)\.mlp\.fc2\.", r"\1.output.dense."),
)
"""Names of the original repository (`module.v.blocks.0...`, of DeiT) to those of published files of transformers."""
_SPLIT = (".attention.q_proj.", ".attention.k_proj.", ".attention.v_proj.")
_SPLIT_HUB = (".attention.attention.query.", ".attention.attention.key.", ".attention.attention.value.")


_HUB_TO_5 = (
    (r"\.encoder\.layer\.", ".layers."),
    (r"\.attention\.attention\.(query|key|value)\.", lambda m: f".attention.{m[1][0]}_proj."),
    (r"\.attention\.output\.dense\.", ".attention.o_proj."),
    (r"\.intermediate\.dense\.", ".mlp.fc1."),
    (r"(layers\.\d+)\.output\.dense\.", r"\1.mlp.fc2."),
)


def names_from_hub() -> Sequence[NameRule]:
    """From the names of published files, which transformers kept until its fifth version, to those of the version installed."""
    from transformers import ASTConfig, ASTModel

    small = ASTConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8)
    kept = any(".encoder.layer." in f".{key}" for key in ASTModel(small).state_dict())
    return () if kept else _HUB_TO_5
