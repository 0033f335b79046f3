"""`timm/NAME[.TAG]`: networks of pictures of timm, on frames. The features are those before the classifier, as `forward_head(pre_logits=True)`
gives them, averaged over the frames of a clip."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from longtake.extract.backbones.dry_run import feature_dim
from longtake.extract.backbones.families import refused, stored_name, unknown
from longtake.extract.backbones.spec import BackboneSpec, Network
from longtake.extract.errors import WeightsError
from longtake.extract.preprocessing import PILLOW_BICUBIC, PILLOW_BILINEAR, ClipRule, FrameRule

if TYPE_CHECKING:
    import torch

    from longtake.extract.backbones.download import Progress
    from longtake.extract.backbones.weights import Weights

FILTERS = {"bilinear": PILLOW_BILINEAR, "bicubic": PILLOW_BICUBIC}


def names() -> list[str]:
    import timm

    return [*timm.list_models(), *timm.list_models(pretrained=True)]


def spec(name: str) -> BackboneSpec:
    """Of a network, with the input that its own configuration states."""
    import timm

    source = f"timm/{name}"
    if not timm.is_model(name.partition(".")[0]):
        raise unknown("timm", name, names())
    config = _config(name)
    shape = tuple(config.get("input_size") or ())
    return BackboneSpec(
        name=stored_name(source),
        title=f"timm {name} (frames)",
        modality="image",
        dim=feature_dim(source, lambda: _make(name, None), pooled, (1, *shape)),
        frames=frame_rule(source, config),
        clips=ClipRule(length=1, stride=1, tail="pad", fps=None),
        default_weights=source,
        citation=f"timm, {config.get('paper_name') or config.get('architecture') or name}",
        batch_size=16,
        num_classes=int(config.get("num_classes") or 0),
        source=source,
    )


def build(spec: BackboneSpec) -> Network:
    """The network without weights."""
    from longtake.extract.backbones.frozen import flatten_frames, mean_over_frames

    name = spec.source.partition("/")[2]
    classifier = _config(name).get("classifier") or ""
    first, *others = (classifier,) if isinstance(classifier, str) else classifier
    num_published = spec.num_classes

    def make(num_classes: int) -> Any:
        return _make(name, num_classes)

    return Network(
        make,
        features=lambda network, pictures: mean_over_frames(pooled(network, flatten_frames(pictures)), len(pictures)),
        classifier=f"{first}.weight" if first and num_published else "",
        optional=tuple(f"{other}." for other in others),
        tokens=tokens,
        convert=lambda state: _own_layout(name, num_published, state),
    )


def tokens(
    network: Any, pictures: torch.Tensor, layers: Sequence[int | None]
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """See `Network.tokens`. The frames of a clip are the times of its map; what has no place is averaged over them."""
    from longtake.extract.backbones.frozen import flatten_frames

    batch, frames = len(pictures), flatten_frames(pictures)
    found = []
    for layer in layers:
        index = -1 if layer is None else layer - 1 if layer > 0 else layer
        options = {"return_prefix_tokens": True} if hasattr(network, "cls_token") else {}
        (made,) = network.forward_intermediates(
            frames, indices=[index], norm=layer is None, intermediates_only=True, **options
        )
        maps, first = made if isinstance(made, tuple) else (made, None)
        places = maps.unflatten(0, (batch, -1)).permute(0, 1, 3, 4, 2)
        width = places.shape[-1]
        first = maps.new_zeros(batch, 0, width) if first is None else first.unflatten(0, (batch, -1)).mean(1)
        found.append((first, places))
    return found


def pooled(network: Any, pictures: torch.Tensor) -> torch.Tensor:
    """`(batch, channels, height, width)` -> `(batch, dim)`."""
    found: torch.Tensor = network.forward_head(network.forward_features(pictures), pre_logits=True)
    return found


def frame_rule(source: str, config: dict[str, Any]) -> FrameRule:
    """timm's transform for evaluation as a rule."""
    channels, height, width = config.get("input_size") or (0, 0, 0)
    interpolation, mode = config.get("interpolation"), config.get("crop_mode") or "center"
    share = config.get("crop_pct") or 0.875
    if channels != 3 or height != width:
        raise refused(source, f"its input is {channels} x {height} x {width}, not square pictures of 3 colours")
    if interpolation not in FILTERS:
        raise refused(source, f"its pictures are resized by {interpolation!r}; {' and '.join(FILTERS)} are supported")
    if mode not in ("center", "squash"):
        raise refused(source, f"its pictures are cropped by {mode!r}; center and squash are supported")
    mean, std = (tuple(255 * value for value in config[name]) for name in ("mean", "std"))
    side = math.floor(height / share)
    stretch: dict[str, Any] = {"stretch_height": side, "stretch_width": side} if mode == "squash" else {}
    return FrameRule(side, height, width, mean, std, resize=FILTERS[interpolation], **stretch)


def published(spec: BackboneSpec, on_progress: Progress | None) -> Weights:
    """The weights of the tag, from the hub at a commit, or from the address that timm states."""
    from longtake.extract.backbones import hub

    name = spec.source.partition("/")[2]
    config = _config(name)
    if repo := config.get("hf_hub_id"):
        return hub.weights(
            spec.source, str(repo), None, [config.get("hf_hub_filename") or "model.safetensors", "pytorch_model.bin"]
        )
    url = str(config.get("url") or "")
    if not url:
        tags = [found for found in names() if found.startswith(f"{name.partition('.')[0]}.")]
        have = f": its tags are {', '.join(tags)}" if tags else ""
        raise WeightsError(f"timm publishes no weights for {name}{have}. Give a file with --weights PATH")
    return hub.from_url(spec, url, on_progress)


def _config(name: str) -> dict[str, Any]:
    from timm.models import get_pretrained_cfg

    try:
        found = get_pretrained_cfg(name, allow_unregistered=False)
    except RuntimeError as error:  # a tag that it does not have
        raise unknown("timm", name, [known for known in names() if known.startswith(name.partition(".")[0])]) from error
    if found is None:
        raise unknown("timm", name, names())
    stated: dict[str, Any] = asdict(found)
    return stated


def _make(name: str, num_classes: int | None) -> Any:
    import timm

    options: dict[str, Any] = {} if num_classes is None else {"num_classes": num_classes}
    return timm.create_model(name, pretrained=False, **options)


def _own_layout(name: str, num_classes: int, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Files in the layouts of their authors, by timm's own function where the network has one."""
    import torch
    from timm.models import model_entrypoint

    module = sys.modules[model_entrypoint(name.partition(".")[0]).__module__]
    convert = getattr(module, "checkpoint_filter_fn", None)
    if convert is None:
        return state
    with torch.random.fork_rng(devices=[]):
        try:
            found: dict[str, torch.Tensor] = convert(dict(state), _make(name, num_classes))
        except (AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
            raise WeightsError(f"these weights do not fit timm/{name}: {type(error).__name__}: {error}") from error
    return found
