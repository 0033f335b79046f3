"""CLIP ViT-B/16 on frames: open_clip's network (Radford et al., ICML 2021), and the same network with the weights of ViFi-CLIP
(Rasheed et al., CVPR 2023).

The features are the image features before normalisation, averaged over the frames of a clip, as ViFi-CLIP does: 512 values. Clips of one
frame give frame features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from longtake.extract.backbones.spec import BackboneSpec, NameRule, Network
from longtake.extract.backbones.state_dict import join_rows
from longtake.extract.preprocessing import PILLOW_BICUBIC, ClipRule, FrameRule

if TYPE_CHECKING:
    import torch
    from torch import nn

# OpenAI trained with the sigmoid approximation of GELU; plain "ViT-B-16" would run the same weights differently.
MODEL = "ViT-B-16-quickgelu"
_MEAN = (0.48145466 * 255, 0.4578275 * 255, 0.40821073 * 255)
_STD = (0.26862954 * 255, 0.26130258 * 255, 0.27577711 * 255)


CLIP = BackboneSpec(
    name="clip",
    title="CLIP ViT-B/16 (frames)",
    modality="image",
    dim=512,
    frames=FrameRule(224, 224, 224, _MEAN, _STD, resize=PILLOW_BICUBIC),
    clips=ClipRule(length=1, stride=1, tail="pad", fps=None),
    default_weights="clip_vit_b16_openai",
    citation="Radford et al., Learning Transferable Visual Models From Natural Language Supervision, ICML 2021",
    batch_size=16,
    bfloat16_error=0.012,
    openvino=True,
)
VIFI_CLIP = replace(
    CLIP,
    name="vifi-clip",
    title="ViFi-CLIP ViT-B/16 (16 frames)",
    clips=ClipRule(length=16, stride=16, tail="pad", fps=None),
    default_weights="vifi_clip_k400",
    citation="Rasheed et al., Fine-tuned CLIP Models are Efficient Video Learners, CVPR 2023, arXiv:2212.03640",
)
VIFI_NAMES: Sequence[NameRule] = (
    (r"^prompt_learner\.|^(input_resolution|context_length|vocab_size)$", None),
    (r"^image_encoder\.", "visual."),
    (r"^text_encoder\.", ""),
)
"""ViFi-CLIP's names to open_clip's. The embedded class names of Kinetics are left out; so are the three numbers that OpenAI's own files
contain besides the tensors."""
FROM_TRANSFORMERS: Sequence[NameRule] = (
    (r"\.position_ids$", None),
    (r"^text_model\.embeddings\.token_embedding\.", "token_embedding."),
    (r"^text_model\.embeddings\.position_embedding\.weight$", "positional_embedding"),
    (r"^text_model\.final_layer_norm\.", "ln_final."),
    (r"^vision_model\.embeddings\.class_embedding$", "visual.class_embedding"),
    (r"^vision_model\.embeddings\.patch_embedding\.", "visual.conv1."),
    (r"^vision_model\.embeddings\.position_embedding\.weight$", "visual.positional_embedding"),
    (r"^vision_model\.pre_layrnorm\.", "visual.ln_pre."),
    (r"^vision_model\.post_layernorm\.", "visual.ln_post."),
    (
        r"^(text|vision)_model\.encoder\.layers\.",
        lambda m: f"{'visual.' if m[1] == 'vision' else ''}transformer.resblocks.",
    ),
    (r"\.layer_norm([12])\.", r".ln_\1."),
    (r"\.self_attn\.out_proj\.", ".attn.out_proj."),
    (r"\.mlp\.fc1\.", ".mlp.c_fc."),
    (r"\.mlp\.fc2\.", ".mlp.c_proj."),
)
"""Names of transformers' CLIP to open_clip's."""
_TURNED = {"visual_projection.weight": "visual.proj", "text_projection.weight": "text_projection"}


NAMES = (*VIFI_NAMES, *FROM_TRANSFORMERS)


def as_open_clip(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Tensors under `NAMES` -> open_clip's. transformers keeps queries, keys and values apart, and the two projections transposed."""
    joined = join_rows(state, [f".self_attn.{part}_proj." for part in "qkv"], ".attn.in_proj_")
    return {_TURNED.get(name, name): value.T if name in _TURNED else value for name, value in joined.items()}


def build(spec: BackboneSpec) -> Network:
    """The network without weights. bfloat16 changes features by about 0.9% (relative, L2)."""
    import open_clip

    from longtake.extract.backbones.frozen import flatten_frames, mean_over_frames

    config = open_clip.get_model_config(MODEL)

    def features(network: nn.Module, pictures: torch.Tensor) -> torch.Tensor:
        return mean_over_frames(network.encode_image(flatten_frames(pictures), normalize=False), len(pictures))

    return Network(
        lambda num_classes: open_clip.CLIP(**config),
        features=features,
        names=NAMES,
        convert=as_open_clip,
        # ViFi-CLIP keeps OpenAI's token embeddings and leaves them out of its files. Pictures do not need them.
        optional=("token_embedding.weight",) if spec.name == VIFI_CLIP.name else (),
    )
