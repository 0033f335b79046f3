"""`torchvision/NAME`: classifiers of pictures, on frames, and of videos, on clips. The features are what the last layer, the classifier, reads."""

from __future__ import annotations

import re
import warnings
from typing import TYPE_CHECKING, Any

from longtake.extract.backbones.dry_run import feature_dim
from longtake.extract.backbones.families import refused, stored_name, unknown
from longtake.extract.backbones.spec import BackboneSpec, Network
from longtake.extract.errors import WeightsError
from longtake.extract.preprocessing import OPENCV_BILINEAR, PILLOW_BICUBIC, PILLOW_BILINEAR, ClipRule, FrameRule

if TYPE_CHECKING:
    import torch

    from longtake.extract.backbones.download import Progress
    from longtake.extract.backbones.weights import Weights

FILTERS = {"bilinear": PILLOW_BILINEAR, "bicubic": PILLOW_BICUBIC}


def names() -> list[str]:
    from torchvision import models

    return [*models.list_models(module=models), *models.list_models(module=models.video)]


def spec(name: str) -> BackboneSpec:
    """Of a network, with the transforms of its default weights."""
    from torchvision import models

    source = f"torchvision/{name}"
    if name not in names():
        if name in models.list_models():
            raise refused(source, "it finds objects, outlines or flow, and does not classify pictures or videos")
        raise unknown("torchvision", name, names())
    chosen = _weights(name)
    is_video = name in models.list_models(module=models.video)
    frames = frame_rule(source, chosen.transforms(), is_video)
    length, rate = _clip(chosen.meta) if is_video else (1, None)
    shape = (1, 3, *((length,) if is_video else ()), frames.height, frames.width)
    return BackboneSpec(
        name=stored_name(source),
        title=f"torchvision {name}" + ("" if is_video else " (frames)"),
        modality="video" if is_video else "image",
        dim=feature_dim(source, lambda: _without_classifier(_make(name, _num_classes(chosen))), _run, shape),
        frames=frames,
        clips=ClipRule(length, length, "pad", fps=rate),
        default_weights=source,
        citation=f"torchvision, {chosen.meta.get('recipe', name)}",
        batch_size=2 if is_video else 16,
        num_classes=_num_classes(chosen),
        least_length=int(chosen.meta.get("min_temporal_size") or 1),
        only_length=length if name.startswith("mvit") else 0,
        source=source,
    )


_OLD_NAMES = (
    (r"(denselayer\d+\.(?:norm|relu|conv))\.([12])\.", r"\1\2."),
    (r"\.mlp\.linear_1\.", ".mlp.0."),
    (r"\.mlp\.linear_2\.", ".mlp.3."),
)
"""Of published files of DenseNet and Vision Transformers, which torchvision renames as it loads them."""


def build(spec: BackboneSpec) -> Network:
    """The network without weights."""
    from longtake.extract.backbones.frozen import flatten_frames, mean_over_frames

    name = spec.source.partition("/")[2]
    classifier = _classifier(_make(name, spec.num_classes))

    def features(network: Any, pictures: torch.Tensor) -> torch.Tensor:
        if spec.modality == "video":
            return _run(network, pictures).float()
        return mean_over_frames(_run(network, flatten_frames(pictures)), len(pictures))

    return Network(
        lambda num_classes: _make(name, num_classes),
        features=features,
        classifier=f"{classifier}.weight",
        names=_OLD_NAMES,
        # Tables that follow from the window; the last layers of inner classifiers, which only training uses.
        optional=(".relative_position_index", "AuxLogits.", "aux1.", "aux2."),
        prepare=_without_classifier,
    )


def frame_rule(source: str, transform: Any, is_video: bool) -> FrameRule:
    """torchvision's transform for evaluation as a rule. That of videos resizes without antialiasing."""
    try:
        crop, resize = transform.crop_size, transform.resize_size
        mean, std = (tuple(255 * value for value in values) for values in (transform.mean, transform.std))
        kind = transform.interpolation.value
    except AttributeError as error:
        raise refused(source, f"its transform {type(transform).__name__} is none of a classifier") from error
    if kind not in FILTERS:
        raise refused(source, f"its pictures are resized by {kind!r}; {' and '.join(FILTERS)} are supported")
    height, width = (crop[0], crop[-1])
    chosen = OPENCV_BILINEAR if is_video else FILTERS[kind]
    stretch = {"stretch_height": resize[0], "stretch_width": resize[1]} if len(resize) == 2 else {}
    return FrameRule(min(resize), height, width, mean, std, resize=chosen, **stretch)


def published(spec: BackboneSpec, on_progress: Progress | None) -> Weights:
    """The default weights, from the address that torchvision states."""
    from longtake.extract.backbones import hub

    found = _weights(spec.source.partition("/")[2])
    return hub.from_url(spec, found.url, on_progress, licence="BSD-3-Clause")


def _weights(name: str) -> Any:
    from torchvision import models

    found = models.get_model_weights(name)
    if not len(found):
        raise WeightsError(f"torchvision publishes no weights for {name}, which would state its preprocessing")
    return found.DEFAULT


def _num_classes(weights: Any) -> int:
    return len(weights.meta["categories"])


def _clip(meta: dict[str, Any]) -> tuple[int, float | None]:
    """Frames and rate of clips, as the weights' description states them."""
    stated = dict(re.findall(r"(frame_rate|clip_len)[=\s`]*([\d.]*\d)", str(meta.get("_docs", ""))))
    rate = stated.get("frame_rate")
    return int(stated.get("clip_len", 16)), float(rate) if rate else None


def _make(name: str, num_classes: int) -> Any:
    from torchvision import models

    # Their published weights read pictures scaled as TensorFlow does, and torchvision sets this with the weights.
    more = {"transform_input": True} if name in ("googlenet", "inception_v3") else {}
    with warnings.catch_warnings():  # two networks warn that a future release may draw other random weights
        warnings.simplefilter("ignore", FutureWarning)
        return models.get_model(name, weights=None, num_classes=num_classes, **more)


def _classifier(network: Any) -> str:
    """Name of the last layer with weights of its own."""
    from torch import nn

    kinds = (nn.Linear, nn.Conv2d, nn.Conv3d)
    return [name for name, module in network.named_modules() if isinstance(module, kinds)][-1]


def _without_classifier(network: Any) -> Any:
    """A copy that returns what its classifier would read."""
    import copy

    from torch import nn

    # Weights are shared: they are frozen.
    bare = copy.deepcopy(network, {id(value): value for value in (*network.parameters(), *network.buffers())})
    bare.set_submodule(_classifier(bare), nn.Identity())
    return bare


def _run(network: Any, pictures: torch.Tensor) -> torch.Tensor:
    found: torch.Tensor = network(pictures)
    return found
