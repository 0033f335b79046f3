"""Extract video files by the recipe of existing features, so that a head trained on those can score it."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from itertools import count
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
from longtake.features.types import FAILED, FeatureHeader, VideoFeatures, canonical_json
from longtake.manifests.pretrained import TABLE as REGISTERED
from longtake.manifests.table import ManifestRow, check_video_id
from longtake.progress import Progress


def extract_like(
    headers: Sequence[FeatureHeader],
    videos: Sequence[Path],
    out: Path,
    *,
    dataset: str = "",
    weights: Sequence[str] = (),
    device: str = AUTO,
    runtime: str = AUTO,
) -> tuple[dict[Path, str], dict[Path, str]]:
    """Write a store at `out` with the features of video files, one stream for each header, extracted as the header says. Returns the id of
    each video in it, which is the name of its file where that is possible, and the reason of each video that failed.

    `weights` is what `extract run --weights` takes; without it, the header's own are used where they are registered. The
    stream carries the recipe that was really used, which the caller compares. Raises `LongtakeError` when no video can be
    read or the weights cannot be loaded.
    """
    for video in videos:
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
    ids = _ids(videos)
    by_id = {video_id: video for video, video_id in ids.items()}
    jobs = [
        Job(ManifestRow(video_id, path=str(video.absolute())), tuple(extractors)) for video, video_id in ids.items()
    ]
    found: dict[str, Mapping[FeatureHeader, VideoFeatures]] = {}
    failed: dict[Path, str] = {}
    with Progress(None, "clip") as progress:

        def at(video_id: str, num_done: int, num_clips: int) -> None:
            progress.at(num_done, num_clips, f"{video_id}, video {1 + len(found)} of {len(jobs)}")

        with closing(run_jobs(jobs, Files(Path(), {}, get_decoder(decoder)), on_clips=at)) as extracted_videos:
            for extracted in extracted_videos:
                for record in (one.record for one in extracted.features.values()):
                    found[record.video_id] = extracted.features
                    if record.status == FAILED:
                        video = by_id[record.video_id]
                        failed[video] = f"gives no features ({record.error_stage}): {record.error_message}"
    scored = {video: video_id for video, video_id in ids.items() if video not in failed}
    if not scored:
        raise ExtractError("\n".join(f"{video} {why}" for video, why in failed.items()))
    streams = [
        StreamPlan(header, one.features.dtype, [StreamItem.of(found[video_id][header]) for video_id in scored.values()])
        for header, one in found[next(iter(scored.values()))].items()
    ]
    names = tuple(scored.values())
    unknown = ("",) * len(names)
    labels = Labels(names, unknown, unknown, (), np.zeros((len(names), 0)))
    write_store(out, dataset=dataset or names[0], card=None, labels=labels, streams=streams)
    return scored, failed


def _ids(videos: Sequence[Path]) -> dict[Path, str]:
    """The names of files without their endings; a number where that is no id, or another video has it."""
    found: dict[Path, str] = {}
    for video in videos:
        try:
            stem = check_video_id(video.stem)
        except ManifestError:
            stem = "video"
        others = set(found.values())
        found[video] = next(name for n in count(1) if (name := stem if n == 1 else f"{stem}-{n}") not in others)
    return found


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
