"""ViT-B/16 on frames: the network of transformers (Dosovitskiy et al., ICLR 2021).

The features are the class token after the last LayerNorm, averaged over the frames of a clip: 768 values. Clips of one frame give frame
features.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from longtake.extract.backbones.audio_spectrogram import names_from_hub
from longtake.extract.backbones.spec import BackboneSpec, NameRule, Network
from longtake.extract.preprocessing import PILLOW_BILINEAR, ClipRule, FrameRule

if TYPE_CHECKING:
    import torch
    from torch import nn

SPEC = BackboneSpec(
    name="vit",
    title="ViT-B/16 (frames)",
    modality="image",
    dim=768,
    frames=FrameRule(224, 224, 224, (127.5,) * 3, (127.5,) * 3, resize=PILLOW_BILINEAR, squash=True),
    clips=ClipRule(length=1, stride=1, tail="pad", fps=None),
    default_weights="vit_b16_imagenet",
    citation="Dosovitskiy et al., An Image is Worth 16x16 Words, ICLR 2021, arXiv:2010.11929",
    batch_size=16,
    openvino=True,
    num_classes=1000,
)
_POOLER: Sequence[NameRule] = ((r"^vit\.pooler\.", None),)
"""Some published files have it; the class token is read before it."""


def build(spec: BackboneSpec) -> Network:
    """The network without weights."""
    from transformers import ViTConfig, ViTForImageClassification

    from longtake.extract.backbones.frozen import flatten_frames, mean_over_frames

    def features(network: nn.Module, pictures: torch.Tensor) -> torch.Tensor:
        tokens = network.vit(pixel_values=flatten_frames(pictures)).last_hidden_state
        return mean_over_frames(tokens[:, 0], len(pictures))

    return Network(
        lambda num_classes: ViTForImageClassification(ViTConfig(num_labels=num_classes)),
        features=features,
        logits=lambda network, features: network.classifier(features),
        classifier="classifier.weight",
        names=(*_POOLER, *names_from_hub()),
    )
