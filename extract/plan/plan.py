"""The plan of `extract run`: which videos are missing, for which backbones, with every choice made. It executes nothing."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from longtake.collector import paused_collector
from longtake.errors import LongtakeWarning, did_you_mean
from longtake.extract.backbones.download import Progress
from longtake.extract.backbones.runtime import TORCH
from longtake.extract.errors import ExtractError, MissingVideo, NotConverted, VideosMissing
from longtake.extract.find_videos import MOST_NAMED, find_missing, require_videos
from longtake.extract.plan.options import AUTO, RunOptions
from longtake.extract.plan.settle import Extractor, choose_spec, choose_weights, clip_rules, settle
from longtake.extract.records import source_of
from longtake.features.finished import Finished, read_finished
from longtake.features.joins import require_one_recipe
from longtake.features.labels import Labels, labels_of
from longtake.features.store import check_store_name
from longtake.features.types import FAILED, FeatureHeader, VideoRecord
from longtake.manifests.table import Manifest, ManifestRow

if TYPE_CHECKING:
    from longtake.extract.backbones.openvino import Note


@dataclass(frozen=True)
class Job:
    """One video and the backbones that have no features of it yet."""

    row: ManifestRow
    extractors: tuple[Extractor, ...]


@dataclass(frozen=True)
class Plan:
    """What will be extracted, with what, and what the store has already."""

    manifest: Manifest
    videos_folder: Path
    stems: dict[str, list[str]]
    """File names in the folder by stem, see `longtake.extract.folders.index_by_stem`."""
    out: Path
    options: RunOptions
    headers: tuple[FeatureHeader, ...]
    """Of all backbones, in the order of the options."""
    extractors: tuple[Extractor, ...]
    """One for each header; none when nothing is left to do, unless `make_plan` had `for_recipes`."""
    jobs: tuple[Job, ...]
    num_done: int
    """Videos with features for every backbone already, failures left out."""
    earlier_failures: tuple[VideoRecord, ...]
    """One for each video that failed in an earlier run and is not tried again, for one backbone or more."""
    missing: tuple[MissingVideo, ...] = ()
    """Videos without features that are not in the folder. They are looked for again at every run, and are no failures."""
    num_rows: int = 0
    """Rows of the manifest that the options chose."""

    @cached_property
    def labels(self) -> Labels:
        return labels_of(self.manifest)

    @cached_property
    def label_rows(self) -> dict[str, int]:
        """video_id -> its row in `labels`."""
        return {video_id: index for index, video_id in enumerate(self.labels.video_ids)}

    @property
    def networks(self) -> str:
        """The backbones, their precision and their device, on one line."""
        if not self.extractors:
            return ""
        names = [
            f"{one.header.backbone}@{one.header.recipe_id}, {one.header.precision}"
            + (f", {one.runtime}" if one.runtime != TORCH else "")
            for one in self.extractors
        ]
        devices = sorted({str(one.backbone.device) for one in self.extractors})
        where = f"the workers of {self.options.cluster}" if self.options.cluster else " and ".join(devices)
        return f"{'; '.join(names)}; on {where}"


def make_plan(
    manifest: Manifest,
    videos_folder: Path,
    out: Path,
    options: RunOptions,
    *,
    on_download: Progress | None = None,
    on_note: Note | None = None,
    for_recipes: Collection[str] = (),
) -> Plan:
    """Check the call before any work. Raises a `LongtakeError` with the reason.

    `for_recipes` is for a worker, which gets its videos later: the recipes of the run's plan. Networks are built, and neither the rows of the
    table nor the store are looked at.
    """
    check_store_name(out)
    finished = Finished({}, ()) if for_recipes else read_finished(out, manifest.name, manifest.card)
    rows = [] if for_recipes else choose_rows(manifest, options)
    specs = [choose_spec(name, options) for name in dict.fromkeys(options.backbones)]
    weights = choose_weights(specs, options.weights)
    rules = clip_rules(specs, manifest.card.clips if manifest.card else None, options)
    stems = require_videos(manifest, videos_folder)
    runtimes = {spec.name: options.runtime for spec in specs}
    while True:
        settled = [
            settle(
                spec, rule, weights[spec.name], replace(options, runtime=runtimes[spec.name]), on_download,
                held=for_recipes or finished.records, on_note=on_note,
            ) for spec, rule in zip(specs, rules)
        ]  # fmt: skip
        headers = tuple(header for header, _ in settled)
        if not options.beside:
            require_one_recipe(finished.headers, headers, out)
        lacking, failures = _lacking(rows, headers, finished, options.retry_failed)
        missing = find_missing([one.row for one in lacking], videos_folder, stems)
        if missing and options.require_all:
            raise VideosMissing(_refusal(missing, len(rows), videos_folder), missing)
        replaced = {one.row.video_id for one in lacking if one.replaces}
        missing = [one for one in missing if one.video_id not in replaced]
        absent = {one.video_id for one in missing}
        to_do = [one for one in lacking if one.row.video_id not in absent]
        try:
            # Networks take long to build: without a video to read, there is no need for them.
            extractors = tuple(load() for _, load in settled) if to_do or for_recipes else ()
            break
        except NotConverted as error:
            if runtimes[error.backbone] != AUTO:
                raise
            warnings.warn(f"{error}; torch runs it", LongtakeWarning, stacklevel=2)
            runtimes[error.backbone] = TORCH
    jobs = tuple(Job(one.row, tuple(extractors[index] for index in one.headers)) for one in to_do)
    num_done = len(rows) - len({one.row.video_id for one in lacking} | failures.keys())
    return Plan(
        manifest, videos_folder, stems, out, options, headers, extractors, jobs, num_done, tuple(failures.values()),
        tuple(missing), len(rows),
    )  # fmt: skip


def _refusal(missing: Sequence[MissingVideo], num_rows: int, folder: Path) -> str:
    lines = [f"{one.video_id}: {one.reason}" for one in missing[:MOST_NAMED]]
    lines += [f"and {len(missing) - MOST_NAMED} more"] if len(missing) > MOST_NAMED else []
    shown = "".join(f"\n  {line}" for line in lines)
    return (
        f"{len(missing)} of {num_rows} videos are missing in {folder}, and --require-all was given; nothing was extracted. Put them "
        f"there, or leave out --require-all to extract the others:{shown}"
    )


@dataclass(frozen=True)
class _Lacking:
    """A row without features for some backbones."""

    row: ManifestRow
    headers: list[int]
    """Indices of these backbones."""
    replaces: bool
    """The store has a row of another file or of other seconds under its id, which must not stay, even where the new file is missing."""


@paused_collector()
def _lacking(
    rows: Sequence[ManifestRow], headers: Sequence[FeatureHeader], finished: Finished, retry_failed: bool
) -> tuple[list[_Lacking], dict[str, VideoRecord]]:
    """The rows that some backbones lack, and the failures that are not tried again by video id."""
    lacking: list[_Lacking] = []
    failures: dict[str, VideoRecord] = {}
    held = [finished.records.get(header.recipe_id, {}) for header in headers]
    for row in rows:
        indices, replaces = [], False
        for index, records in enumerate(held):
            record = records.get(row.video_id)
            if record is None:
                indices.append(index)
            elif not record.same_source(*source_of(row)):
                indices.append(index)
                replaces = True
            # A file that was missing may be there now, and looking for it costs nothing.
            elif record.status == FAILED and (retry_failed or record.error_stage == "find"):
                indices.append(index)
            elif record.status == FAILED:
                failures.setdefault(row.video_id, record)
        if indices:
            lacking.append(_Lacking(row, indices, replaces))
    return lacking, failures


def choose_rows(manifest: Manifest, options: RunOptions) -> list[ManifestRow]:
    """Apply `--only`, `--shard` and `--limit`. Raises `ExtractError` for an id that the manifest does not have."""
    by_id = {row.video_id: row for row in manifest.rows}
    for video_id in options.only:
        if video_id not in by_id:
            hint = did_you_mean(video_id, by_id)
            raise ExtractError(f"--only {video_id}: {manifest.name} has no video of that id{hint}")
    rows = [by_id[video_id] for video_id in dict.fromkeys(options.only)] or list(manifest.rows)
    if options.shard:
        number, count = options.shard
        rows = rows[number - 1 :: count]
    return rows[: options.limit]
