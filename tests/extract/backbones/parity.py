"""The features of a backbone against the library's own preprocessing and forward, with the same random weights and the same pictures."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch

from longtake.extract.backbones import build, get_spec
from longtake.extract.backbones.spec import BackboneSpec
from longtake.extract.decode.scale import Scaler, rgb_frame
from longtake.extract.preprocessing import FrameRule

SECONDS = 1.0
"""Of sound."""


def frames(length: int, height: int = 180, width: int = 240) -> list[np.ndarray]:
    """Smooth pictures that move, uint8 `(height, width, 3)`."""
    rows, columns = np.mgrid[:height, :width]
    return [
        np.stack([127 + 120 * np.sin((rows + 5 * t) / 31 + c) * np.cos(columns / (23 + 5 * c)) for c in range(3)], -1).astype(np.uint8)
        for t in range(length)
    ]  # fmt: skip


def clip_of(spec: BackboneSpec, pictures: list[np.ndarray]) -> torch.Tensor:
    """As the pipeline makes it: `(1, length, height, width, 3)`."""
    assert isinstance(spec.frames, FrameRule)
    scaler = Scaler()
    return torch.from_numpy(np.stack([scaler.picture(rgb_frame(picture), spec.frames) for picture in pictures]))[None]


def relative(found: torch.Tensor, expected: torch.Tensor) -> float:
    assert found.shape == expected.shape, (found.shape, expected.shape)
    return float((found - expected).norm() / expected.norm())


def library_features(spec: BackboneSpec, state: dict[str, torch.Tensor], pictures: list[np.ndarray]) -> torch.Tensor:
    """By timm, torchvision or open_clip alone, `(1, dim)`."""
    from PIL import Image

    family, _, name = spec.source.partition("/")
    images = [Image.fromarray(picture) for picture in pictures]
    if family == "timm":
        import timm

        network = timm.create_model(name, pretrained=False)
        network.load_state_dict(state)
        network.reset_classifier(0)
        transform = timm.data.create_transform(**timm.data.resolve_model_data_config(network), is_training=False)
    elif family == "open_clip":
        import open_clip

        model, _, tag = name.partition(":")
        network = open_clip.create_model(
            model, load_weights=False, pretrained_text=False, force_quick_gelu=tag == "openai"
        )
        network.load_state_dict(state)
        tags = open_clip.list_pretrained_tags_by_model(model)
        stated = open_clip.get_pretrained_cfg(model, tag or (tags[0] if tags else "")) or {}
        options = {name: stated[name] for name in ("mean", "std", "interpolation", "resize_mode") if name in stated}
        transform = open_clip.image_transform(network.visual.image_size, is_train=False, **options)
    else:
        from torchvision import models

        weights = models.get_model_weights(name).DEFAULT
        network = models.get_model(name, weights=None, num_classes=len(weights.meta["categories"]))
        network.load_state_dict(state)
        transform = weights.transforms()
    network = copy.deepcopy(network).eval()
    with torch.inference_mode():
        if spec.modality == "video":
            given = transform(torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2))[None]
            return read_by_classifier(network, given)
        given = torch.stack([transform(image) for image in images])
        if family == "open_clip":
            rows = network.encode_image(given, normalize=False)
        else:
            rows = read_by_classifier(network, given) if family == "torchvision" else network(given)
        return rows.mean(0, keepdim=True)


def read_by_classifier(network: Any, given: torch.Tensor) -> torch.Tensor:
    """The input of the last layer with weights, averaged over places where it is a convolution."""
    last = [m for m in network.modules() if isinstance(m, torch.nn.Linear | torch.nn.Conv2d | torch.nn.Conv3d)][-1]
    seen: list[torch.Tensor] = []
    last.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    network(given)
    found = seen[0].relu() if isinstance(last, torch.nn.Conv2d) else seen[0]
    return found.flatten(2).mean(2) if found.ndim > 2 else found


def parity(name: str) -> tuple[BackboneSpec, float, float]:
    """The spec, the relative difference (L2) from the library's features in float32, and that of bfloat16 from float32."""
    spec = get_spec(name)
    backbone = build(spec)
    backbone.init_random(0)
    state = dict(backbone.state_dict())
    pictures = frames(spec.clips.length)
    clip = clip_of(spec, pictures)
    found = backbone.forward(clip)
    fast = build(spec, precision="bfloat16")
    fast.load_weights(state)
    return spec, relative(found, library_features(spec, state, pictures)), relative(fast.forward(clip), found)
