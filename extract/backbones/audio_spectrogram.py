"""Audio Spectrogram Transformer: the network of transformers (Gong et al., Interspeech 2021), on the sound of a clip's seconds.

The features are the mean of the class and distillation tokens after the last LayerNorm: 768 values.
"""

from __future__ import annotations

from collections.abc import Sequence

from longtake.extract.backbones.spec import BackboneSpec, NameRule, Network
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
        names=names_from_hub(),
    )


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
