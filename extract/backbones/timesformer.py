"""TimeSformer with divided attention: the network of transformers (Bertasius et al., ICML 2021). FS1000 was published with its features.

The features are the class token of the last layer: 768 values per clip of 8 frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from longtake.extract.backbones.spec import BackboneSpec, NameRule, Network
from longtake.extract.preprocessing import ClipRule, FrameRule

if TYPE_CHECKING:
    import torch

SPEC = BackboneSpec(
    name="timesformer",
    title="TimeSformer-B",
    modality="video",
    dim=768,
    frames=FrameRule(224, 224, 224, mean=(0.45 * 255,) * 3, std=(0.225 * 255,) * 3),
    clips=ClipRule(length=8, stride=8, tail="pad", fps=None),
    default_weights="timesformer_kinetics400",
    citation="Bertasius et al., Is Space-Time Attention All You Need for Video Understanding? ICML 2021, arXiv:2102.05095",
    batch_size=2,
    openvino=True,
    num_classes=400,
)
FROM_ORIGINAL: Sequence[NameRule] = (
    (r"^model\.", ""),
    (r"^(cls_token)$", r"timesformer.embeddings.\1"),
    (r"^pos_embed$", "timesformer.embeddings.position_embeddings"),
    (r"^time_embed$", "timesformer.embeddings.time_embeddings"),
    (r"^patch_embed\.proj\.", "timesformer.embeddings.patch_embeddings.projection."),
    (r"^blocks\.", "timesformer.encoder.layer."),
    (r"^norm\.", "timesformer.layernorm."),
    (r"^head\.", "classifier."),
    (r"\.temporal_norm1\.", ".temporal_layernorm."),
    (r"\.temporal_fc\.", ".temporal_dense."),
    (r"\.norm1\.", ".layernorm_before."),
    (r"\.norm2\.", ".layernorm_after."),
    (r"\.(temporal_)?attn\.qkv\.", lambda m: f".{m[1] or ''}attention.attention.qkv."),
    (r"\.(temporal_)?attn\.proj\.", lambda m: f".{m[1] or ''}attention.output.dense."),
    (r"\.mlp\.fc1\.", ".intermediate.dense."),
    (r"\.mlp\.fc2\.", ".output.dense."),
)
"""Names of the original repository, `model.blocks.0...`, to those of transformers."""


def build(spec: BackboneSpec) -> Network:
    """The network without weights. Clips of another length than 8 frames get their time embeddings from the nearest of the 8, as the
    library does it."""
    from transformers import TimesformerConfig, TimesformerForVideoClassification

    def run(network: TimesformerForVideoClassification, pictures: torch.Tensor) -> torch.Tensor:
        network.config.num_frames = pictures.shape[2]  # the layers cut their tokens by it
        return network.timesformer(pixel_values=pictures.transpose(1, 2)).last_hidden_state[:, 0]

    return Network(
        lambda num_classes: TimesformerForVideoClassification(TimesformerConfig(num_labels=num_classes)),
        features=run,
        logits=lambda network, features: network.classifier(features),
        classifier="classifier.weight",
        names=FROM_ORIGINAL,
    )
