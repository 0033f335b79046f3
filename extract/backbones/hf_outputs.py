"""What models of transformers return, as one vector a clip.

In this order: the features that the model itself names (`get_image_features` and its kin), its pooled output, its class token, the mean of its
tokens. Features of frames are averaged over the clip.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from longtake.extract.backbones.families import refused

if TYPE_CHECKING:
    import torch

EAGER_ONLY = ("xclip",)
WITH_CLASS_TOKEN = ("vivit", "timesformer")
FEWEST_SAMPLES = 400
"""Of a clip of sound, 25 ms at 16 kHz: shorter ones are filled with zeros."""
TAKEN_WHOLE = ("whisper", "clap", "audio-spectrogram-transformer")
"""Their extractors give every clip the same size; others run clip by clip, at its length."""
WHISPER_SAMPLES_PER_TOKEN = 320


def clip_length(config: Any) -> int:
    """Frames of a clip, as the configuration of a model of videos states them."""
    for part in (config, getattr(config, "vision_config", None)):
        for name in ("num_frames", "frames_per_clip"):
            if isinstance(found := getattr(part, name, None), int):
                return found
    raise refused(f"hf {config.model_type}", "its configuration states no number of frames")


def features_of(modality: str, config: Any) -> Callable[[Any, torch.Tensor], torch.Tensor]:
    """From pictures `(batch, 3, length, height, width)` to `(batch, dim)`."""

    def of_videos(network: Any, pictures: torch.Tensor) -> torch.Tensor:
        return video_features(network, config, pictures.transpose(1, 2)).float()

    def of_frames(network: Any, pictures: torch.Tensor) -> torch.Tensor:
        from longtake.extract.backbones.frozen import flatten_frames, mean_over_frames

        return mean_over_frames(image_features(network, flatten_frames(pictures)), len(pictures))

    return of_videos if modality == "video" else of_frames


def video_features(network: Any, config: Any, pictures: torch.Tensor) -> torch.Tensor:
    """`(batch, length, 3, height, width)` -> `(batch, dim)`."""
    if config.model_type == "xclip":
        return as_tensor(network.get_video_features(pixel_values=pictures))
    base = body(network)
    if config.model_type == "vjepa2":
        tokens = base(pixel_values_videos=pictures, skip_predictor=True).last_hidden_state
    else:
        tokens = base(pixel_values=pictures).last_hidden_state
    found: torch.Tensor = tokens[:, 0] if config.model_type in WITH_CLASS_TOKEN else tokens.float().mean(1)
    return found


def image_features(network: Any, pictures: torch.Tensor) -> torch.Tensor:
    """`(batch, 3, height, width)` -> `(batch, dim)`."""
    if hasattr(network, "get_image_features"):
        return as_tensor(network.get_image_features(pixel_values=pictures))
    base = body(network)
    found = base(pixel_values=pictures)
    pooled = getattr(found, "pooler_output", None)
    if pooled is not None:
        return as_tensor(pooled.flatten(1))
    last = found.last_hidden_state
    if last.ndim == 4:  # a map
        return as_tensor(last.float().mean(dim=(2, 3)))
    has_class_token = any(name.endswith("cls_token") for name, _ in base.named_parameters())
    return as_tensor(last[:, 0] if has_class_token else last.float().mean(1))


def body(network: Any) -> Any:
    """The model without the classifier or decoder that its architecture adds; some keep it under another name than they state."""
    if "For" not in type(network).__name__:
        return network
    base = network.base_model
    return getattr(network, "vision_model", network) if base is network else base


def tokens_of(
    modality: str, config: Any
) -> Callable[[Any, torch.Tensor, Sequence[int | None]], list[tuple[torch.Tensor, torch.Tensor]]]:
    """See `Network.tokens`; of models whose layers give tokens."""
    parts = getattr(config, "vision_config", None) or config

    def run(
        network: Any, pictures: torch.Tensor, layers: Sequence[int | None]
    ) -> list[tuple[torch.Tensor, torch.Tensor]]:
        from longtake.extract.backbones.frozen import flatten_frames

        batch, length, size = len(pictures), pictures.shape[2], pictures.shape[3]
        base = body(network) if modality == "video" else getattr(body(network), "vision_model", body(network))
        if config.model_type == "vjepa2":
            done = base(pixel_values_videos=pictures.transpose(1, 2), skip_predictor=True, output_hidden_states=True)
        else:
            given = pictures.transpose(1, 2) if modality == "video" else flatten_frames(pictures)
            done = base(pixel_values=given, output_hidden_states=True)
        hidden = done.hidden_states
        chosen = [done.last_hidden_state if layer is None else hidden[layer] for layer in layers]
        if any(values.ndim != 3 for values in chosen):
            raise refused(
                f"a {config.model_type}", "its layers give maps, whose tokens are not read; --pool mean needs none"
            )
        times, rows = _grid(config, parts, length if modality == "video" else 1, size)
        found = []
        for values in chosen:
            num_first = values.shape[1] - times * rows * rows
            first, places = values[:, :num_first], values[:, num_first:]
            if config.model_type == "timesformer":  # whose tokens of one place are next to each other
                places = places.unflatten(1, (rows, rows, times)).permute(0, 3, 1, 2, 4)
            else:
                places = places.unflatten(1, (times, rows, rows))
            if modality != "video":  # the frames of a clip are its times
                first, places = first.unflatten(0, (batch, -1)).mean(1), places.unflatten(0, (batch, -1)).flatten(1, 2)
            found.append((first, places))
        return found

    return run


def _grid(config: Any, parts: Any, length: int, size: int) -> tuple[int, int]:
    """Times, and rows or columns, of the tokens of places."""
    tubelet = getattr(parts, "tubelet_size", 1)
    patch = getattr(parts, "patch_size", None)
    if isinstance(tubelet, list | tuple):
        tubelet, patch = tubelet[0], tubelet[1]
    if not isinstance(patch, int):
        raise refused(f"a {config.model_type}", "its configuration states no patches, so its tokens have no places")
    return max(length // tubelet, 1), size // patch


def as_tensor(found: Any) -> torch.Tensor:
    """Later versions of transformers wrap the features that a model names."""
    import torch

    found = found if torch.is_tensor(found) else found.pooler_output
    assert torch.is_tensor(found)
    return found


def sound_features(extractor: Any, config: Any) -> Callable[[Any, torch.Tensor], torch.Tensor]:
    """From samples `(batch, samples, 1)`, which end in NaN, to `(batch, dim)`."""

    def run(network: Any, samples: torch.Tensor) -> torch.Tensor:
        import torch

        clips = [row[~np.isnan(row)] for row in samples[..., 0].float().cpu().numpy()]
        clips = [np.pad(row, (0, max(FEWEST_SAMPLES - len(row), 0))) for row in clips]
        if config.model_type in TAKEN_WHOLE:
            return _run(network, extractor, config, clips)
        return torch.cat([_run(network, extractor, config, [row]) for row in clips])

    return run


def _run(network: Any, extractor: Any, config: Any, clips: list[np.ndarray]) -> torch.Tensor:
    import torch

    weight = next(network.parameters())
    given = extractor(clips, sampling_rate=extractor.sampling_rate, return_tensors="pt")
    values = next(given[name] for name in ("input_features", "input_values") if name in given).to(weight)
    if config.model_type == "clap":
        # The extractor declares one clip at random as longer than its 10 s; here none is.
        longer = torch.zeros(len(clips), 1, dtype=torch.bool, device=weight.device)
        return as_tensor(network.get_audio_features(input_features=values, is_longer=longer)).float()
    if config.model_type == "whisper":
        tokens = network.get_encoder()(values).last_hidden_state.float()
        counts = [max(-(-len(clip) // WHISPER_SAMPLES_PER_TOKEN), 1) for clip in clips]
        return torch.stack([row[:count].mean(0) for row, count in zip(tokens, counts)])
    found = body(network)(values)
    pooled = getattr(found, "pooler_output", None)
    return (pooled if pooled is not None else found.last_hidden_state.float().mean(1)).float()


def sound_dim(source: str, make: Callable[[], Any], extractor: Any, config: Any) -> int:
    """Values of the features of half a second of quiet noise."""
    import torch

    samples = torch.randn((1, extractor.sampling_rate // 2, 1), generator=torch.Generator().manual_seed(0)) / 100
    try:
        with torch.random.fork_rng(devices=[]), torch.inference_mode():
            found = sound_features(extractor, config)(make().eval(), samples)
    except Exception as error:  # a network of another project can raise anything
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise refused(source, f"it does not run on sound ({reason})") from error
    return int(found.shape[1])
