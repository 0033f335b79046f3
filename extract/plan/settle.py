"""Every choice about one backbone: recipe, clip rule, weights, precision and device, as the header of its features states them."""

from __future__ import annotations

import platform
import warnings
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from longtake.errors import LongtakeWarning
from longtake.extract.backbones import build, get_spec, network_of
from longtake.extract.backbones.download import Progress
from longtake.extract.backbones.families import stored_name
from longtake.extract.backbones.openvino import converted
from longtake.extract.backbones.openvino_run import ConvertedBackbone
from longtake.extract.backbones.pooling import pool_rule, pooled_spec
from longtake.extract.backbones.runtime import (
    OPENVINO,
    TORCH,
    has_bfloat16,
    import_fault,
    openvino_version,
    stated_precision,
)
from longtake.extract.backbones.spec import BackboneSpec
from longtake.extract.backbones.state_dict import load_state, state_sha256
from longtake.extract.backbones.weights import resolve
from longtake.extract.clips import TAILS
from longtake.extract.decode import get_decoder
from longtake.extract.errors import ExtractError
from longtake.extract.plan.devices import choose_device, processor_has_bfloat16
from longtake.extract.plan.options import AUTO, RunOptions
from longtake.extract.plan.recipes import apply_recipe
from longtake.extract.preprocessing import ClipRule, FrameRule, SoundRule
from longtake.features.types import FeatureHeader
from longtake.manifests.card import ClipDefaults

if TYPE_CHECKING:
    from longtake.extract.backbones.frozen import Backbone
    from longtake.extract.backbones.openvino import Note


@dataclass(frozen=True)
class Extractor:
    """A backbone with its weights loaded, and the recipe that its features carry."""

    spec: BackboneSpec
    rule: ClipRule
    header: FeatureHeader
    backbone: Backbone | ConvertedBackbone
    batch_size: int
    """Clips per step."""

    @property
    def runtime(self) -> str:
        """`torch`, or the name and version of the library that runs the network."""
        return f"OpenVINO {openvino_version()}" if isinstance(self.backbone, ConvertedBackbone) else TORCH


def settle(
    spec: BackboneSpec, rule: ClipRule, asked: str | None, options: RunOptions, on_download: Progress | None = None,
    *, held: Collection[str] = (), on_note: Note | None = None,
) -> tuple[FeatureHeader, Callable[[], Extractor]]:  # fmt: skip
    """The header of one backbone's features, and a function that builds its network and loads the weights.

    `asked` is what `longtake.extract.backbones.weights.resolve` takes, `held` are the recipes that the store has: `--runtime auto` continues with
    the one of torch. Both raise `ExtractError`, `WeightsError`; the second `NotConverted` too.
    """
    decoder = get_decoder(options.decoder)
    pool = pool_rule(options.pool, options.layers)
    if pool is not None:
        spec = pooled_spec(spec, network_of(spec), pool, rule.length)
    weights = resolve(asked, spec, on_progress=on_download)
    precision = choose_precision(options.precision, spec, options.device)
    runtime = choose_runtime(options, spec, precision)
    drawn: Backbone | None = None
    if weights.is_random:
        # Built already, because the header holds the checksum of its tensors.
        drawn = _network(spec, precision if runtime == TORCH else "float32", options)
        drawn.init_random(weights.seed or 0)
        weights = replace(weights, sha256=state_sha256(drawn.state_dict()))
    header = FeatureHeader(
        backbone=spec.name,
        modality=spec.modality,
        dim=spec.dim,
        weights=weights.name,
        weights_sha256=weights.sha256,
        weights_random=weights.is_random,
        clip_length=rule.length,
        clip_stride=rule.stride,
        tail=rule.tail,
        fps=rule.fps,
        preprocessing=spec.frames.facts() | rule.extra_facts() | dict(spec.facts),
        decoder=decoder.description(),
        precision=stated_precision(precision, runtime),
    )
    if runtime != TORCH and options.runtime == AUTO and header.recipe_id not in held:
        in_torch = replace(header, precision=precision)
        if in_torch.recipe_id in held:
            return settle(spec, rule, asked, replace(options, runtime=TORCH), on_download)
    # An image network computes frames, so clips of many frames make small batches.
    usual = max(spec.batch_size // rule.length, 1) if spec.modality == "image" else spec.batch_size
    batch_size = options.batch_size or usual

    def make() -> Backbone:
        if drawn is not None:
            return drawn
        assert weights.path is not None, "weights that are not random are a file"
        backbone = _network(spec, precision if runtime == TORCH else "float32", options)
        backbone.load_weights(load_state(weights.path))
        return backbone

    def load() -> Extractor:
        if runtime == TORCH:
            return Extractor(spec, rule, header, make(), batch_size)
        facts = {
            name: value for name, value in header.to_dict().items()
            if name in ("backbone", "weights_sha256", "preprocessing")
        }  # fmt: skip
        network = converted(
            spec, make, precision=precision, batch_size=batch_size, length=rule.length, facts=facts,
            on_note=on_note or (lambda line: None),
        )  # fmt: skip
        return Extractor(spec, rule, header, network, batch_size)

    return header, load


def _network(spec: BackboneSpec, precision: str, options: RunOptions) -> Backbone:
    pool = pool_rule(options.pool, options.layers)
    device = "cpu" if options.runtime == OPENVINO else choose_device(options.device)
    backbone = build(spec, precision=precision, device=device, pool=pool)
    if options.compile:
        backbone.compile()
    return backbone


def choose_spec(name: str, options: RunOptions) -> BackboneSpec:
    """The spec of a backbone as the recipe, `--missing-sound` and `--square-pixels` change it. Raises `ExtractError`."""
    spec = apply_recipe(options.recipe, get_spec(name))
    if options.square_pixels and isinstance(spec.frames, FrameRule):
        spec = replace(spec, frames=replace(spec.frames, square_pixels=True))
    if options.missing_sound and isinstance(spec.frames, SoundRule):
        spec = replace(spec, frames=replace(spec.frames, missing=options.missing_sound))
    return spec


def clip_rule(spec: BackboneSpec, card: ClipDefaults | None, options: RunOptions) -> ClipRule:
    """The user's option, else the recipe's rule, else the card's, else the backbone's published rule. Raises `ExtractError`.

    A length given without a stride is its own stride: clips side by side.
    """
    own = spec.clips
    card = ClipDefaults() if options.recipe or card is None else card
    length = options.clip_length or card.length or own.length
    stride = options.clip_stride or (options.clip_length if options.clip_length else card.stride) or own.stride
    tail = options.tail or card.tail or own.tail
    if own.num_clips and options.clip_stride:
        raise ExtractError(
            f"recipe {options.recipe} spreads {own.num_clips} clips evenly over a routine: --clip-stride would change nothing"
        )
    fps = options.fps if options.fps is not None else card.fps if card.fps is not None else own.fps
    if tail not in TAILS:
        raise ExtractError(f"--tail takes {', '.join(TAILS)}, got {tail!r}")
    if spec.only_length and length != spec.only_length:
        raise ExtractError(f"{spec.name} takes clips of {spec.only_length} frames only, got {length}")
    if length < spec.least_length:
        raise ExtractError(f"{spec.name} takes clips of {spec.least_length} frames or more, got {length}")
    try:
        return ClipRule(length, stride, tail, fps, own.num_frames, own.num_clips)
    except ValueError as error:
        raise ExtractError(str(error)) from error


def clip_rules(specs: Sequence[BackboneSpec], card: ClipDefaults | None, options: RunOptions) -> list[ClipRule]:
    """One for each backbone. Sound is cut like the pictures: by the rule of the first video backbone."""
    rules = [clip_rule(spec, card, options) for spec in specs]
    seen = [rule for spec, rule in zip(specs, rules) if spec.modality == "video"]
    return [seen[0] if seen and spec.modality == "audio" else rule for spec, rule in zip(specs, rules)]


def choose_weights(specs: Sequence[BackboneSpec], asked: Sequence[str]) -> dict[str, str | None]:
    """Backbone -> the weights asked for; None is its published weights. Raises `ExtractError` where that is ambiguous."""
    names = [spec.name for spec in specs]
    for_all: str | None = None
    for_one: dict[str, str] = {}
    for argument in asked:
        name, equals, value = argument.partition("=")
        if equals and stored_name(name) in names:
            for_one[stored_name(name)] = value
        elif len(names) == 1 or argument.partition(":")[0] == "random":
            for_all = argument
        else:
            raise ExtractError(
                f"--weights {argument}: for which of {', '.join(names)}? Use --weights BACKBONE={argument}"
            )
    return {name: for_one.get(name, for_all) for name in names}


def choose_runtime(options: RunOptions, spec: BackboneSpec, precision: str) -> str:
    """`auto` is OpenVINO on a CPU where it is installed and proven for the backbone. Raises `ExtractError` for `openvino` where it cannot run."""
    if options.runtime == TORCH or (options.runtime == AUTO and not (spec.openvino and openvino_version())):
        return TORCH
    # Asked for by name, it needs no GPU to be there.
    device = "cpu" if (options.runtime, options.device) == (OPENVINO, AUTO) else choose_device(options.device)
    reason = ""
    if options.compile:
        return TORCH
    if device != "cpu":
        reason = f"it computes on a CPU, not on {device}: use --device cpu or --runtime torch"
    elif openvino_version() is None:
        reason = "the package openvino is not installed: python -m pip install 'longtake[openvino]'"
    elif fault := import_fault():
        reason = f"the package openvino is installed and cannot be used ({fault})"
        if options.runtime == AUTO:
            warnings.warn(f"{reason}; torch runs {spec.name}", LongtakeWarning, stacklevel=2)
    elif precision == "bfloat16" and not has_bfloat16():
        reason = "this processor does not compute in bfloat16: use --precision float32 or --runtime torch"
    if reason and options.runtime == OPENVINO:
        raise ExtractError(f"--runtime openvino cannot be used: {reason}")
    return TORCH if reason else OPENVINO


def choose_precision(name: str, spec: BackboneSpec, device: str) -> str:
    """`auto` is bfloat16 where its error is measured and the device computes in it, else float32."""
    if name != AUTO:
        return name
    if spec.bfloat16_error is None:
        return "float32"
    device = choose_device(device)
    if device.startswith("cuda"):
        import torch

        return "bfloat16" if torch.cuda.is_bf16_supported() else "float32"
    return "bfloat16" if device == "cpu" and processor_has_bfloat16() else "float32"


def slow_precision(headers: Sequence[FeatureHeader], device: str) -> str:
    """A warning where a processor has to emulate bfloat16, which takes I3D 50 times as long; else empty."""
    if all(header.precision != "bfloat16" for header in headers):
        return ""
    x86 = platform.machine().lower() in ("x86_64", "amd64")
    if not x86 or choose_device(device) != "cpu" or processor_has_bfloat16():
        return ""
    return "this processor emulates bfloat16, which takes many times as long as --precision float32"
