"""`open_clip/MODEL[:TAG]`: the tower of pictures of an image-language model of open_clip, on frames. The features are the image features before
normalisation, averaged over the frames of a clip."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from longtake.extract.backbones.dry_run import feature_dim
from longtake.extract.backbones.families import refused, stored_name, unknown
from longtake.extract.backbones.spec import BackboneSpec, Network
from longtake.extract.errors import ExtractError, WeightsError
from longtake.extract.preprocessing import PILLOW_BICUBIC, PILLOW_BILINEAR, ClipRule, FrameRule

if TYPE_CHECKING:
    import torch

    from longtake.extract.backbones.download import Progress
    from longtake.extract.backbones.weights import Weights

FILTERS = {"bilinear": PILLOW_BILINEAR, "bicubic": PILLOW_BICUBIC}
FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")


def names() -> list[str]:
    import open_clip

    return [*open_clip.list_models(), *(f"{model}:{tag}" for model, tag in open_clip.list_pretrained())]


def spec(name: str) -> BackboneSpec:
    """Of a model, with the preprocessing of the tag. Without a tag, `ExtractError` unless all of its tags have the same."""
    import open_clip

    source = f"open_clip/{name}"
    model, _, tag = name.partition(":")
    tags = open_clip.list_pretrained_tags_by_model(model)
    if open_clip.get_model_config(model) is None or (tag and tag.lower() not in tags):
        raise unknown(
            "open_clip", name, [found for found in names() if not tag or found.startswith(f"{model}:")] or names()
        )
    chosen = _tag_or_any(source, model, tag)
    frames = frame_rule(source, model, chosen)
    return BackboneSpec(
        name=stored_name(source),
        title=f"open_clip {name} (frames)",
        modality="image",
        dim=feature_dim(source, lambda: _make(source, model, chosen), _run, (1, 3, frames.height, frames.width)),
        frames=frames,
        clips=ClipRule(length=1, stride=1, tail="pad", fps=None),
        default_weights=source,
        citation="open_clip; Radford et al., Learning Transferable Visual Models From Natural Language Supervision, ICML 2021",
        batch_size=16,
        source=source,
    )


def build(spec: BackboneSpec) -> Network:
    """The whole model without weights; its tower of texts is loaded and not run."""
    from longtake.extract.backbones.frozen import flatten_frames, mean_over_frames
    from longtake.extract.backbones.openai_clip import as_open_clip

    model, _, tag = spec.source.partition("/")[2].partition(":")
    chosen = _tag_or_any(spec.source, model, tag)
    return Network(
        lambda num_classes: _make(spec.source, model, chosen),
        features=lambda network, pictures: mean_over_frames(_run(network, flatten_frames(pictures)), len(pictures)),
        names=((r"^(input_resolution|context_length|vocab_size)$|\.position_ids$", None),),
        convert=as_open_clip,
        optional=("attn_mask",),
    )


_DECIDES = ("mean", "std", "interpolation", "resize_mode", "quick_gelu")
"""What a tag states that changes features of the same weights."""


def _tag_or_any(source: str, model: str, tag: str) -> str:
    """The tag, or one that has what all of the model's tags have; none for a model without tags."""
    import open_clip

    tags = open_clip.list_pretrained_tags_by_model(model)
    if tag or not tags:
        return tag
    kinds = {tuple(str(open_clip.get_pretrained_cfg(model, one).get(name)) for name in _DECIDES) for one in tags}
    if len(kinds) > 1:
        raise ExtractError(
            f"--backbone {source}: weights of {model} were trained with different pictures or activations. Name one of its tags, also for a "
            f"file of yours: open_clip/{model}:TAG with {', '.join(tags)}"
        )
    return str(tags[0])


def frame_rule(source: str, model: str, tag: str) -> FrameRule:
    """open_clip's transform for evaluation as a rule."""
    import open_clip
    from open_clip.constants import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD

    stated = (open_clip.get_pretrained_cfg(model, tag) if tag else None) or {}
    size = open_clip.get_model_config(model)["vision_cfg"].get("image_size", 224)
    height, width = (size, size) if isinstance(size, int) else size
    kind, mode = stated.get("interpolation", "bicubic"), stated.get("resize_mode", "shortest")
    if kind not in FILTERS or mode not in ("shortest", "squash") or height != width:
        raise refused(
            source, f"its pictures of {height} x {width} are resized by {kind!r}, {mode!r}, which is not supported"
        )
    mean = tuple(255 * value for value in stated.get("mean", OPENAI_DATASET_MEAN))
    std = tuple(255 * value for value in stated.get("std", OPENAI_DATASET_STD))
    return FrameRule(height, height, width, mean, std, resize=FILTERS[kind], squash=mode == "squash")


def published(spec: BackboneSpec, on_progress: Progress | None) -> Weights:
    """The weights of the tag, from the hub at a commit, or from the address that open_clip states."""
    import open_clip

    from longtake.extract.backbones import hub

    model, _, tag = spec.source.partition("/")[2].partition(":")
    tags = open_clip.list_pretrained_tags_by_model(model)
    if not tag:
        have = f": {', '.join(tags)}" if tags else ", and open_clip has none for it. Give a file with --weights PATH"
        raise WeightsError(f"{spec.source} names no weights; say open_clip/{model}:TAG with one of its tags{have}")
    stated = open_clip.get_pretrained_cfg(model, tag)
    if stated.get("hf_hub"):
        repo, _, file_name = str(stated["hf_hub"]).rpartition("/")
        return hub.weights(spec.source, repo, None, [file_name] if file_name else FILES)
    return hub.from_url(spec, stated["url"], on_progress)


def _make(source: str, model: str, tag: str) -> Any:
    import open_clip

    stated = open_clip.get_pretrained_cfg(model, tag) if tag else {}
    try:
        with _quiet():
            # OpenAI's weights were trained with another GELU, which the tag states and the name of the model may not.
            return open_clip.create_model(
                model, load_weights=False, pretrained_text=False, force_quick_gelu=bool(stated.get("quick_gelu"))
            )
    except (OSError, RuntimeError, ValueError, ImportError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ExtractError(f"--backbone {source} cannot be built: {reason}") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Without open_clip's warning that weights are random: they are loaded, or asked to be random, later."""
    logger = logging.getLogger()
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


def _run(network: Any, pictures: torch.Tensor) -> torch.Tensor:
    found: torch.Tensor = network.encode_image(pictures, normalize=False)
    return found
