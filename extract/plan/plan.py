"""`extract run` without the command line: settle every choice, extract what is missing, publish."""

from __future__ import annotations

import difflib
import platform
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from longtake.extract.backbones import PRECISIONS, build, get_spec
from longtake.extract.backbones.download import Progress
from longtake.extract.backbones.spec import Backbone, BackboneSpec
from longtake.extract.backbones.state_dict import load_state, state_sha256
from longtake.extract.backbones.weights import Weights, resolve
from longtake.extract.clips import TAILS
from longtake.extract.decode import get_decoder
from longtake.extract.decode.killable import MOST_STALL_SECONDS, STALL_SECONDS
from longtake.extract.errors import ExtractError
from longtake.extract.find_videos import require_videos
from longtake.extract.pipeline.batcher import Done, OnBatch, extract_videos
from longtake.extract.pipeline.reader import Extractor, Job, failed_record, record_of
from longtake.extract.plan.recipes import apply_recipe
from longtake.extract.preprocessing import ClipRule, SoundRule
from longtake.features.joins import require_one_recipe
from longtake.features.labels import Labels, labels_of
from longtake.features.parts import WAIT_SECONDS, Packed, pack_or_wait, read_finished, write_part
from longtake.features.store import check_store_name
from longtake.features.types import FAILED, FeatureHeader, VideoFeatures, VideoRecord
from longtake.manifests.card import ClipDefaults
from longtake.manifests.table import Manifest, ManifestRow

AUTO = "auto"
CLOCK_SECONDS = 1.0
"""By which the end of a file may be before the end that a table gives it."""
QUEUED_PARTS = 2
"""Finished videos that wait for the disk; if it is slower than the models, they wait for it."""


@dataclass(frozen=True)
class RunOptions:
    """What the user asked of `extract run`; None leaves a choice to the dataset's card and then to the backbone."""

    backbones: tuple[str, ...] = ("i3d",)
    recipe: str | None = None
    """Name of a published recipe of extract/plan/recipes.py, in place of the card's clip rule and the backbones' own numbers."""
    weights: tuple[str, ...] = ()
    """What `longtake.extract.backbones.weights.resolve` takes, for all backbones or, as `BACKBONE=...`, for one."""
    clip_length: int | None = None
    clip_stride: int | None = None
    fps: float | None = None
    tail: str | None = None
    decoder: str = "pyav"
    stall_timeout: float = STALL_SECONDS
    """Seconds after which a decoder that gives nothing is killed; 0 waits for ever, and decodes in this process."""
    device: str = "auto"
    precision: str = "float32"
    """`float32`, `bfloat16`, or `auto`."""
    compile: bool = False
    """Networks compiled by torch: worth its minute for many videos. Like the number of threads, it changes the last bits."""
    missing_sound: str | None = None
    """`fail` or `silence`: what backbones that hear make of a file without sound."""
    batch_size: int | None = None
    workers: int | None = None
    """Videos decoded at a time, or processes of a cluster; None is one, or what the cluster has."""
    only: tuple[str, ...] = ()
    limit: int | None = None
    shard: tuple[int, int] | None = None
    """(I, N): every Nth video from the Ith on, counted from 1; for sites where N processes share a folder without dask."""
    retry_failed: bool = False
    beside: bool = False
    """Keep this recipe beside another of the same backbone that the store has."""
    cluster: str | None = None
    """`local`, a batch system, or the address of a dask scheduler; None extracts in this process."""
    cluster_options: Path | None = None
    """TOML file of what the batch system wants to know."""


@dataclass(frozen=True)
class Finished:
    """A video whose part is on disk."""

    video_id: str
    num_clips: int
    """Over all backbones."""
    num_values: int
    """Clips times their width, over all backbones."""
    failure: VideoRecord | None
    remark: str = ""
    """What its owner may want to look at."""


@dataclass(frozen=True)
class Plan:
    """Everything settled: what will be extracted, with what, and what is there already."""

    manifest: Manifest
    videos_folder: Path
    stems: dict[str, list[str]]
    out: Path
    options: RunOptions
    headers: tuple[FeatureHeader, ...]
    """Of what was asked for, in that order."""
    extractors: tuple[Extractor, ...]
    """One for each header; none when nothing is left to do, unless they were asked for."""
    jobs: tuple[Job, ...]
    num_done: int
    """Videos of which all is there that was asked for, failures left out."""
    earlier_failures: tuple[VideoRecord, ...]
    """One for each video that failed in an earlier run and is not tried again, for one backbone or more."""

    @cached_property
    def labels(self) -> Labels:
        return labels_of(self.manifest)

    @property
    def networks(self) -> str:
        """What computes what is missing, and where, on a line."""
        if not self.extractors:
            return ""
        names = [f"{one.header.backbone}@{one.header.recipe_id}, {one.header.precision}" for one in self.extractors]
        places = {str(getattr(one.backbone, "device", "cpu")) for one in self.extractors}
        where = (
            f"on the workers of {self.options.cluster}"
            if self.options.cluster
            else f"on {' and '.join(sorted(places))}"
        )
        return f"{'; '.join(names)}; {where}"


def clip_rule(spec: BackboneSpec, card: ClipDefaults | None, options: RunOptions) -> ClipRule:
    """The user's word, else the recipe's, else the card's, else the backbone's published rule. Raises `ExtractError`.

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
    """One for each backbone. Sound is cut where the pictures are: by the rule of the first backbone that sees clips."""
    rules = [clip_rule(spec, card, options) for spec in specs]
    seen = [rule for spec, rule in zip(specs, rules) if spec.modality == "video"]
    return [seen[0] if seen and spec.modality == "audio" else rule for spec, rule in zip(specs, rules)]


def make_plan(
    manifest: Manifest, videos_folder: Path, out: Path, options: RunOptions, *, on_download: Progress | None = None,
    networks: bool = False,
) -> Plan:  # fmt: skip
    """Check the call before any work. Raises a `LongtakeError` that says what is wrong. `networks` builds them where nothing is missing
    too, for whoever is told what to do."""
    check_store_name(out)
    finished = read_finished(out, manifest.name, manifest.card)
    rows = choose_rows(manifest, options)
    specs = [_spec(name, options) for name in dict.fromkeys(options.backbones)]
    weights = choose_weights(specs, options.weights)
    if not 0 <= options.stall_timeout <= MOST_STALL_SECONDS:
        raise ExtractError(
            f"--stall-timeout takes 0 to {MOST_STALL_SECONDS:g} seconds, got {options.stall_timeout}; 0 waits for ever"
        )
    if options.precision not in (*PRECISIONS, AUTO):
        raise ExtractError(f"--precision takes {', '.join(PRECISIONS)} or {AUTO}, got {options.precision!r}")
    card_clips = manifest.card.clips if manifest.card else None
    rules = clip_rules(specs, card_clips, options)
    decoder = get_decoder(options.decoder)
    stems = require_videos(manifest, videos_folder)
    settled = [
        settle(spec, rule, weights[spec.name], options, decoder.description(), on_download)
        for spec, rule in zip(specs, rules)
    ]
    if not options.beside:
        require_one_recipe(finished.headers, [one.header for one in settled], out)
    missing, num_done, failures = [], 0, {}
    for row in rows:
        lacking, asked = [], record_of(row)
        for index, one in enumerate(settled):
            record = finished.record(one.header, row.video_id)
            if record is None or not record.same_source(asked.span, asked.source_name):
                lacking.append(index)
            # A file that was not there may be there now, which costs nothing to find out.
            elif record.status == FAILED and (options.retry_failed or record.error_stage == "find"):
                lacking.append(index)
            elif record.status == FAILED:
                failures.setdefault(row.video_id, record)
        if lacking:
            missing.append((row, lacking))
        elif row.video_id not in failures:
            num_done += 1
    # Whoever has nothing to do does not wait for networks.
    extractors = tuple(one.extractor() for one in settled) if missing or networks else ()
    jobs = tuple(Job(row, tuple(extractors[index] for index in lacking)) for row, lacking in missing)
    headers = tuple(one.header for one in settled)
    return Plan(
        manifest, videos_folder, stems, out, options, headers, extractors, jobs, num_done, tuple(failures.values())
    )


def choose_rows(manifest: Manifest, options: RunOptions) -> list[ManifestRow]:
    """`--only`, `--shard` and `--limit`. Raises `ExtractError` for an id that the manifest does not have."""
    by_id = {row.video_id: row for row in manifest.rows}
    for video_id in options.only:
        if video_id not in by_id:
            close = difflib.get_close_matches(video_id, by_id, n=3)
            hint = f"; did you mean {' or '.join(close)}?" if close else ""
            raise ExtractError(f"--only {video_id}: {manifest.name} has no such video{hint}")
    rows = [by_id[video_id] for video_id in dict.fromkeys(options.only)] or list(manifest.rows)
    if options.shard:
        number, count = options.shard
        if not 1 <= number <= count:
            raise ExtractError(f"--shard takes I/N with I from 1 to N, got {number}/{count}")
        rows = rows[number - 1 :: count]
    return rows[: options.limit]


def choose_device(name: str) -> str:
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.zeros(1, device=name)
    except (RuntimeError, AssertionError) as error:
        offered = "cpu and cuda" if torch.cuda.is_available() else "cpu"
        reason = str(error).splitlines()[0].split(". ")[0]
        raise ExtractError(f"--device {name} cannot be used: {reason}. This machine offers {offered}") from error
    return name


def choose_weights(specs: Sequence[BackboneSpec], asked: Sequence[str]) -> dict[str, str | None]:
    """Backbone -> what was asked for it; None is its published weights. Raises `ExtractError` where that is not clear."""
    names = [spec.name for spec in specs]
    for_all: str | None = None
    for_one: dict[str, str] = {}
    for argument in asked:
        name, equals, value = argument.partition("=")
        if equals and name in names:
            for_one[name] = value
        elif len(names) == 1 or argument.partition(":")[0] == "random":
            for_all = argument
        else:
            raise ExtractError(
                f"--weights {argument}: for which of {', '.join(names)}? Say --weights BACKBONE={argument}"
            )
    return {name: for_one.get(name, for_all) for name in names}


def choose_precision(name: str, spec: BackboneSpec, device: str) -> str:
    """`auto` is bfloat16 where the spec states what it costs and the device computes in it, float32 anywhere else."""
    if name != AUTO:
        return name
    if spec.bfloat16_error is None:
        return "float32"
    import torch

    device = choose_device(device)
    if device.startswith("cuda"):
        return "bfloat16" if torch.cuda.is_bf16_supported() else "float32"
    return "bfloat16" if device == "cpu" and torch.cpu._is_avx512_bf16_supported() else "float32"


def slow_precision(headers: Sequence[FeatureHeader], device: str) -> str:
    """A warning where a processor has to imitate the precision that was asked for, which takes I3D 50 times as long; else nothing."""
    import torch

    x86 = platform.machine().lower() in ("x86_64", "amd64")
    slow = choose_device(device) == "cpu" and x86 and not torch.cpu._is_avx512_bf16_supported()
    if not slow or all(header.precision != "bfloat16" for header in headers):
        return ""
    return "this processor does not compute in bfloat16 but imitates it, which takes many times as long as --precision float32"


def _spec(name: str, options: RunOptions) -> BackboneSpec:
    spec = apply_recipe(options.recipe, get_spec(name))
    if options.missing_sound and isinstance(spec.frames, SoundRule):
        spec = replace(spec, frames=replace(spec.frames, missing=options.missing_sound))
    return spec


@dataclass(frozen=True)
class Settled:
    """One backbone with every choice made, and the header of what it will give."""

    spec: BackboneSpec
    rule: ClipRule
    header: FeatureHeader
    batch_size: int
    weights: Weights
    options: RunOptions
    drawn: Backbone | None
    """The network of random weights, whose checksum is that of the tensors."""

    def extractor(self) -> Extractor:
        """Build the network and load its weights. Raises `ExtractError`, `WeightsError`."""
        backbone = self.drawn
        if backbone is None:
            backbone = _network(self.spec, self.header.precision, self.options)
            backbone.load_weights(load_state(self.weights.path))
        return Extractor(self.spec, self.rule, self.header, backbone, self.batch_size)


def _network(spec: BackboneSpec, precision: str, options: RunOptions) -> Backbone:
    backbone = build(spec, precision=precision, device=choose_device(options.device))
    if options.compile:
        backbone.compile()
    return backbone


def settle(
    spec: BackboneSpec,
    rule: ClipRule,
    asked: str | None,
    options: RunOptions,
    decoder: str,
    on_download: Progress | None = None,
) -> Settled:
    """`asked` is what `longtake.extract.backbones.weights.resolve` takes, `decoder` its description."""
    weights = resolve(asked, spec, on_progress=on_download)
    precision = choose_precision(options.precision, spec, options.device)
    drawn = None
    if weights.is_random:
        drawn = _network(spec, precision, options)
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
        preprocessing=spec.frames.facts() | rule.extra_facts(),
        decoder=decoder,
        precision=precision,
    )
    # A frame is what an image network computes, so clips of many frames make small batches.
    usual = max(spec.batch_size // rule.length, 1) if spec.modality == "image" else spec.batch_size
    return Settled(spec, rule, header, options.batch_size or usual, weights, options, drawn)


def run_plan(
    plan: Plan,
    *,
    on_clips: Callable[[int], None] = lambda num_clips: None,
    on_batch: OnBatch | None = None,
    on_note: Callable[[str], None] = lambda line: None,
) -> Iterator[Finished]:
    """Extract what is missing, yielding each video when its part is on disk. `publish` has to follow, whatever happens.

    `on_batch` sees what the models see; workers of a cluster do not call it. `on_note` gets what a cluster has to say of itself.
    """
    if not plan.jobs:
        return
    if plan.options.cluster:
        from longtake.extract.executors.dask import run_on_cluster

        yield from run_on_cluster(plan, plan.options.cluster, on_note)
        return
    videos = extract_videos(
        plan.jobs,
        videos_folder=plan.videos_folder,
        stems=plan.stems,
        decoder=get_decoder(plan.options.decoder),
        num_workers=plan.options.workers or 1,
        stall_seconds=plan.options.stall_timeout,
        on_clips=on_clips,
        on_batch=on_batch,
    )
    # Parts are written, and synced to the disk, while the models run on.
    waiting: deque[Future[Finished]] = deque()
    with closing(videos), ThreadPoolExecutor(1, thread_name_prefix="write") as writer:
        try:
            for done in videos:
                waiting.append(writer.submit(_write, plan, done))
                while waiting and (len(waiting) > QUEUED_PARTS or waiting[0].done()):
                    yield waiting.popleft().result()
        except KeyboardInterrupt:
            # What was computed is kept, and said.
            while waiting:
                yield waiting.popleft().result()
            raise
        while waiting:
            yield waiting.popleft().result()


def write_failure(plan: Plan, job: Job, kind: str, message: str) -> Finished:
    """The row of a video that took its worker down with it."""
    record = failed_record(record_of(job.row), "crash", kind, message)
    return _write(plan, Done(job.row, {e.header: VideoFeatures.failure(record, e.spec.dim) for e in job.extractors}))


def _write(plan: Plan, done: Done) -> Finished:
    own_labels = plan.labels.subset([plan.labels.video_ids.index(done.row.video_id)])
    write_part(plan.out, plan.manifest.name, own_labels, done.videos)
    failure = next((video.record for video in done.videos.values() if video.record.status == FAILED), None)
    num_clips = sum(len(video.features) for video in done.videos.values())
    num_values = sum(video.features.size for video in done.videos.values())
    return Finished(done.row.video_id, num_clips, num_values, failure, _remark(next(iter(done.videos.values())).record))


def _remark(record: VideoRecord) -> str:
    """Of a span that goes on after the file, which ends what is extracted: a table in other units, or a file that was cut."""
    if record.status == FAILED or not record.span_end_seconds > record.duration_seconds + CLOCK_SECONDS:
        return ""
    return f"end_seconds is {record.span_end_seconds:g}, but the file ends at {record.duration_seconds:.1f} s"


def publish(
    plan: Plan, *, wait_seconds: float = WAIT_SECONDS, on_wait: Callable[[str], None] = lambda line: None
) -> Packed:
    """Merge all parts into the store that readers see, as `pack_or_wait` does."""
    return pack_or_wait(
        plan.out, wait_seconds=wait_seconds, on_wait=on_wait, dataset=plan.manifest.name, card=plan.manifest.card,
        labels=plan.labels,
    )  # fmt: skip
