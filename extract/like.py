"""Extract one video by the recipe of existing features, so that a head trained on those can score it."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from longtake.errors import LongtakeWarning, ManifestError
from longtake.extract.backbones import get_spec
from longtake.extract.backbones.families import split_name
from longtake.extract.backbones.runtime import TORCH, from_stated
from longtake.extract.backbones.spec import BackboneSpec
from longtake.extract.clips import TAILS
from longtake.extract.decode import TABLE as DECODERS
from longtake.extract.decode import get_decoder
from longtake.extract.errors import ExtractError, NotConverted
from longtake.extract.pipeline.batcher import run_jobs
from longtake.extract.pipeline.reader import Files
from longtake.extract.plan.options import AUTO, RunOptions
from longtake.extract.plan.plan import Job
from longtake.extract.plan.recipes import RECIPES, apply_recipe
from longtake.extract.plan.settle import choose_weights, settle
from longtake.extract.preprocessing import ClipRule, SoundRule
from longtake.features.content import StreamItem, StreamPlan
from longtake.features.labels import Labels
from longtake.features.store import write_store
from longtake.features.types import FAILED, FeatureHeader, canonical_json
from longtake.manifests.pretrained import TABLE as REGISTERED
from longtake.manifests.table import ManifestRow, check_video_id
from longtake.progress import Progress


def extract_like(
    headers: Sequence[FeatureHeader],
    video: Path,
    out: Path,
    *,
    dataset: str = "",
    weights: Sequence[str] = (),
    device: str = AUTO,
    runtime: str = AUTO,
) -> None:
    """Write a store at `out` with one video's features, one stream for each header, extracted as the header says.

    `weights` is what `extract run --weights` takes; without it, the header's own are used where they are registered. The
    stream carries the recipe that was really used, which the caller compares. Raises `LongtakeError` when the video cannot be
    read or the weights cannot be loaded.
    """
    if not video.exists():
        raise ExtractError(f"no video at {video}")
    specs = [_spec_like(header) for header in headers]
    asked = choose_weights(specs, weights)
    decoder = next((name for name in DECODERS if (headers[0].decoder or "").startswith(name)), RunOptions.decoder)
    extractors = []
    for spec, header in zip(specs, headers):
        precision, made_by = from_stated(header.precision or RunOptions.precision)
        if made_by not in (None, runtime) and runtime != AUTO:
            raise ExtractError(
                f"--runtime {runtime}: the features of {header.backbone} were extracted in {header.precision}, which {made_by} computes"
            )
        stated = header.preprocessing
        pool, layers = (str(stated[name]) if name in stated else None for name in ("pool", "layers"))
        options = RunOptions(
            (spec.name,),
            device=device,
            decoder=decoder,
            precision=precision,
            pool=pool,
            layers=layers,
            runtime=made_by or runtime,
        )
        rule, wanted = _rule_like(header, spec.clips), asked[spec.name] or _weights_like(header)
        try:
            extractors.append(settle(spec, rule, wanted, options)[1]())
        except NotConverted as error:
            if options.runtime != AUTO:
                raise
            warnings.warn(f"{error}; torch runs it", LongtakeWarning, stacklevel=2)
            extractors.append(settle(spec, rule, wanted, replace(options, runtime=TORCH))[1]())
    video_id = video.stem
    try:
        check_video_id(video_id)
    except ManifestError:
        video_id = "video"
    job = Job(ManifestRow(video_id, path=video.name), tuple(extractors))
    with Progress(None, "clip") as progress:
        count = lambda name, num_done, num_clips: progress.at(num_done, num_clips, video.name)  # noqa: E731
        (extracted,) = run_jobs([job], Files(video.parent, {}, get_decoder(decoder)), on_clips=count)
    streams = []
    for header, found in extracted.features.items():
        if found.record.status == FAILED:
            raise ExtractError(f"{video} gives no features ({found.record.error_stage}): {found.record.error_message}")
        streams.append(StreamPlan(header, found.features.dtype, [StreamItem.of(found)]))
    labels = Labels((video_id,), ("",), ("",), (), np.zeros((1, 0)))
    write_store(out, dataset=dataset or video_id, card=None, labels=labels, streams=streams)


def _specs(own: BackboneSpec) -> Iterator[BackboneSpec]:
    """The backbone's own spec, and as recipes and options change it."""
    for spec in [own, *(apply_recipe(recipe, own) for recipe in RECIPES if own.name in RECIPES[recipe].backbones)]:
        yield spec
        if isinstance(spec.frames, SoundRule):
            yield replace(spec, frames=replace(spec.frames, missing="silence"))
        else:
            yield replace(spec, frames=replace(spec.frames, square_pixels=True))


def _spec_like(header: FeatureHeader) -> BackboneSpec:
    """The spec with the header's preprocessing; the backbone's own where none has it, so that a later check names the difference."""
    own = _own(header)
    for spec in _specs(own):
        facts = spec.frames.facts() | spec.clips.extra_facts() | dict(spec.facts)
        stated = {
            name: value for name, value in header.preprocessing.items() if name not in ("pool", "layers", "tokens")
        }
        if canonical_json(facts) == canonical_json(stated):
            return spec
    return own


def _own(header: FeatureHeader) -> BackboneSpec:
    """The spec of the backbone, at the commit that published weights of a repository name."""
    found = split_name(header.weights)
    at_commit = found is not None and found[0] == "hf" and "@" in found[1]
    return replace(get_spec(header.weights if at_commit else header.backbone), name=header.backbone)


def _rule_like(header: FeatureHeader, own: ClipRule) -> ClipRule:
    length, stride, tail = header.clip_length or own.length, header.clip_stride or own.stride, header.tail or own.tail
    try:
        if tail not in TAILS:
            raise ValueError(f"there is no tail policy {tail!r}")
        return ClipRule(length, stride, tail, header.fps, own.num_frames, own.num_clips)
    except (ValueError, TypeError) as error:
        raise ExtractError(f"the recipe of {header.backbone} has no valid clip rule: {error}") from error


def _weights_like(header: FeatureHeader) -> str:
    if header.weights_random or header.weights in REGISTERED:
        return header.weights
    if found := split_name(header.weights):
        return header.weights if found[0] == "hf" else header.weights.partition("@")[0]
    raise ExtractError(
        f"the features were extracted with {header.backbone} weights from the file {header.weights!r}: give it with --weights PATH"
    )
