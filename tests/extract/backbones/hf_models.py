"""Small models of transformers with random weights, saved as their libraries save them, and what each returns by its own forward."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
PATCHES = {"image_size": 32, "patch_size": 16}
CROPPED = {"size": {"shortest_edge": 36}, "crop_size": {"height": 32, "width": 32}}
SQUASHED = {"size": {"height": 32, "width": 32}}
TEXT = {**SMALL, "vocab_size": 99, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
SPEECH = {**SMALL, "conv_dim": (16, 16, 16), "conv_stride": (5, 4, 4), "conv_kernel": (10, 8, 8), "num_feat_extract_layers": 3,
          "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 2}  # fmt: skip


def _hidden(model: Any, **inputs: Any) -> torch.Tensor:
    """The last hidden states, before a classifier."""
    return model(**inputs, output_hidden_states=True).hidden_states[-1]


def _tensor(found: Any) -> torch.Tensor:
    return found if torch.is_tensor(found) else found.pooler_output


Make = Callable[[Any], tuple[Any, Any]]
"""From the library: the model and its processor."""
KINDS: dict[str, tuple[Make, Callable[[Any, Any], torch.Tensor]]] = {
    "videomae": (
        lambda t: (t.VideoMAEForVideoClassification(t.VideoMAEConfig(**SMALL, **PATCHES, num_frames=4)), t.VideoMAEImageProcessor(**CROPPED)),
        lambda model, given: _hidden(model, **given).mean(1),
    ),
    "vivit": (
        lambda t: (t.VivitForVideoClassification(t.VivitConfig(**SMALL, image_size=32, num_frames=4, tubelet_size=[2, 16, 16])),
                   t.VivitImageProcessor(**CROPPED)),
        lambda model, given: model.vivit.layernorm(_hidden(model, **given))[:, 0],
    ),
    "timesformer": (
        lambda t: (t.TimesformerForVideoClassification(t.TimesformerConfig(**SMALL, **PATCHES, num_frames=4)), t.VideoMAEImageProcessor(**CROPPED)),
        lambda model, given: model.timesformer.layernorm(_hidden(model, **given))[:, 0],
    ),
    "vjepa2": (
        lambda t: (t.VJEPA2Model(t.VJEPA2Config(patch_size=16, crop_size=32, frames_per_clip=4, tubelet_size=2, hidden_size=32,
                                                num_attention_heads=2, num_hidden_layers=2, pred_hidden_size=24,
                                                pred_num_attention_heads=2, pred_num_hidden_layers=1)), t.VJEPA2VideoProcessor(**CROPPED)),
        lambda model, given: model.get_vision_features(**given).mean(1),
    ),
    "xclip": (
        lambda t: (t.XCLIPModel(t.XCLIPConfig(text_config={**TEXT, "projection_dim": 16}, projection_dim=16, vision_config={
            **SMALL, **PATCHES, "num_frames": 4, "mit_hidden_size": 16, "mit_intermediate_size": 32, "mit_num_hidden_layers": 1,
            "mit_num_attention_heads": 2, "projection_dim": 16})), t.VideoMAEImageProcessor(**CROPPED)),
        lambda model, given: _tensor(model.get_video_features(**given)),
    ),
    "vit": (
        lambda t: (t.ViTForImageClassification(t.ViTConfig(**SMALL, **PATCHES)), t.ViTImageProcessor(**SQUASHED)),
        lambda model, given: model.vit.layernorm(_hidden(model, **given))[:, 0],
    ),
    "dinov2": (
        lambda t: (t.Dinov2Model(t.Dinov2Config(hidden_size=32, num_hidden_layers=2, num_attention_heads=2, **PATCHES)), t.BitImageProcessor(**CROPPED)),
        lambda model, given: model(**given).last_hidden_state[:, 0],
    ),
    "dinov3_vit": (
        lambda t: (t.DINOv3ViTModel(t.DINOv3ViTConfig(**SMALL, **PATCHES)), t.DINOv3ViTImageProcessor(**SQUASHED)),
        lambda model, given: model(**given).last_hidden_state[:, 0],
    ),
    "siglip": (
        lambda t: (t.SiglipModel(t.SiglipConfig(text_config=TEXT, vision_config={**SMALL, **PATCHES})), t.SiglipImageProcessor(**SQUASHED)),
        lambda model, given: model.vision_model(**given).pooler_output,
    ),
    "clip": (
        lambda t: (t.CLIPModel(t.CLIPConfig(text_config=TEXT, vision_config={**SMALL, **PATCHES}, projection_dim=16)), t.CLIPImageProcessor(**CROPPED)),
        lambda model, given: model.visual_projection(model.vision_model(**given).pooler_output),
    ),
    "convnext": (
        lambda t: (t.ConvNextForImageClassification(t.ConvNextConfig(hidden_sizes=[8, 16, 24, 32], depths=[1] * 4)),
                   t.ConvNextImageProcessor(size={"shortest_edge": 64})),
        lambda model, given: model.convnext.layernorm(_hidden(model, **given).mean((2, 3))),
    ),
    "swin": (
        lambda t: (t.SwinForImageClassification(t.SwinConfig(image_size=64, patch_size=4, embed_dim=8, depths=[1, 1], num_heads=[2, 2], window_size=4)),
                   t.ViTImageProcessor(size={"height": 64, "width": 64})),
        lambda model, given: model.swin.layernorm(_hidden(model, **given)).mean(1),
    ),
    "whisper": (
        lambda t: (t.WhisperForConditionalGeneration(t.WhisperConfig(
            d_model=32, encoder_layers=2, decoder_layers=1, encoder_attention_heads=2, decoder_attention_heads=2, encoder_ffn_dim=64,
            decoder_ffn_dim=64, vocab_size=99, pad_token_id=0, bos_token_id=1, eos_token_id=2, decoder_start_token_id=1)),
            t.WhisperFeatureExtractor()),
        lambda model, given: model.model.encoder(**given).last_hidden_state[:, :50].mean(1),
    ),
    "wav2vec2": (
        lambda t: (t.Wav2Vec2Model(t.Wav2Vec2Config(**SPEECH)), t.Wav2Vec2FeatureExtractor()),
        lambda model, given: model(**given).last_hidden_state.mean(1),
    ),
    "hubert": (
        lambda t: (t.HubertModel(t.HubertConfig(**SPEECH)), t.Wav2Vec2FeatureExtractor()),
        lambda model, given: model(**given).last_hidden_state.mean(1),
    ),
    "data2vec-audio": (
        lambda t: (t.Data2VecAudioModel(t.Data2VecAudioConfig(**SPEECH)), t.Wav2Vec2FeatureExtractor()),
        lambda model, given: model(**given).last_hidden_state.mean(1),
    ),
    "clap": (
        lambda t: (t.ClapModel(t.ClapConfig(text_config=TEXT, projection_dim=16, audio_config={
            "patch_embeds_hidden_size": 16, "hidden_size": 64, "depths": [1] * 3, "num_attention_heads": [2] * 3, "num_hidden_layers": 3,
            "window_size": 8, "projection_dim": 16, "spec_size": 256})), t.ClapFeatureExtractor(truncation="rand_trunc")),
        lambda model, given: _tensor(model.get_audio_features(**given)),
    ),
    "audio-spectrogram-transformer": (
        lambda t: (t.ASTForAudioClassification(t.ASTConfig(**SMALL, max_length=128)), t.ASTFeatureExtractor(max_length=128)),
        lambda model, given: model.audio_spectrogram_transformer(**given).pooler_output,
    ),
}  # fmt: skip
"""Type of the configuration -> how it is made, and its features for a processor's output."""


def save(kind: str, folder: Path) -> tuple[Any, Any]:
    """Save a model of this kind with its processor; return both."""
    import transformers

    from longtake.extract.backbones.hf_quiet import quiet

    with torch.random.fork_rng(devices=[]), quiet():
        torch.manual_seed(0)
        model, processor = KINDS[kind][0](transformers)
        model.eval().save_pretrained(folder)
        processor.save_pretrained(folder)
    return model, processor
