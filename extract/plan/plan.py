"""The plan of `extract run`: which videos are missing, for which backbones, with every choice made. It executes nothing."""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from longtake.errors import LongtakeWarning
from longtake.extract.backbones.download import Progress
from longtake.extract.backbones.runtime import TORCH
from longtake.extract.errors import ExtractError, NotConverted
from longtake.extract.find_videos import require_videos
from longtake.extract.plan.options import AUTO, RunOptions
from longtake.extract.plan.settle import Extractor, choose_spec, choose_weights, clip_rules, settle
from longtake.extract.records import unread_record
from longtake.features.joins import require_one_recipe
from longtake.features.labels import Labels, labels_of
from longtake.features.parts import Finished, read_finished
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
    """File names in the folder by stem, see `longtake.extract.find_videos.index_by_stem`."""
    out: Path
    options: RunOptions
    headers: tuple[FeatureHeader, ...]
    """Of all backbones, in the order of the options."""
    extractors: tuple[Extractor, ...]
    """One for each header; none when nothing is left to do, unless `make_plan` had `networks=True`."""
    jobs: tuple[Job, ...]
    num_done: int
    """Videos with features for every backbone already, failures left out."""
    earlier_failures: tuple[VideoRecord, ...]
    """One for each video that failed in an earlier run and is not tried again, for one backbone or more."""

    @cached_property
    def labels(self) -> Labels:
        return labels_of(self.manifest)

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
    networks: bool = False,
) -> Plan:
    """Check the call before any work. Raises a `LongtakeError` with the reason.

    `networks` builds the networks even where nothing is missing, for a worker that gets its videos later.
    """
    check_store_name(out)
    finished = read_finished(out, manifest.name, manifest.card)
    rows = choose_rows(manifest, options)
    specs = [choose_spec(name, options) for name in dict.fromkeys(options.backbones)]
    weights = choose_weights(specs, options.weights)
    rules = clip_rules(specs, manifest.card.clips if manifest.card else None, options)
    stems = require_videos(manifest, videos_folder)
    runtimes = {spec.name: options.runtime for spec in specs}
    while True:
        settled = [
            settle(
                spec, rule, weights[spec.name], replace(options, runtime=runtimes[spec.name]), on_download,
                held=finished.records, on_note=on_note,
            ) for spec, rule in zip(specs, rules)
        ]  # fmt: skip
        headers = tuple(header for header, _ in settled)
        if not options.beside:
            require_one_recipe(finished.headers, headers, out)
        missing, failures = _missing(rows, headers, finished, options.retry_failed)
        try:
            # Networks take long to build: without a missing video, there is no need for them.
            extractors = tuple(load() for _, load in settled) if missing or networks else ()
            break
        except NotConverted as error:
            if runtimes[error.backbone] != AUTO:
                raise
            warnings.warn(f"{error}; torch runs it", LongtakeWarning, stacklevel=2)
            runtimes[error.backbone] = TORCH
    jobs = tuple(Job(row, tuple(extractors[index] for index in lacking)) for row, lacking in missing)
    num_done = len(rows) - len({row.video_id for row, _ in missing} | failures.keys())
    return Plan(
        manifest, videos_folder, stems, out, options, headers, extractors, jobs, num_done, tuple(failures.values())
    )


def _missing(
    rows: Sequence[ManifestRow], headers: Sequence[FeatureHeader], finished: Finished, retry_failed: bool
) -> tuple[list[tuple[ManifestRow, list[int]]], dict[str, VideoRecord]]:
    """Each row with the indices of the backbones that lack it, and the failures that are not tried again by video id."""
    missing: list[tuple[ManifestRow, list[int]]] = []
    failures: dict[str, VideoRecord] = {}
    for row in rows:
        lacking, wanted = [], unread_record(row)
        for index, header in enumerate(headers):
            record = finished.record(header, row.video_id)
            if record is None or not record.same_source(wanted.span, wanted.source_name):
                lacking.append(index)
            # A file that was missing may be there now, and looking for it costs nothing.
            elif record.status == FAILED and (retry_failed or record.error_stage == "find"):
                lacking.append(index)
            elif record.status == FAILED:
                failures.setdefault(row.video_id, record)
        if lacking:
            missing.append((row, lacking))
    return missing, failures


def choose_rows(manifest: Manifest, options: RunOptions) -> list[ManifestRow]:
    """Apply `--only`, `--shard` and `--limit`. Raises `ExtractError` for an id that the manifest does not have."""
    by_id = {row.video_id: row for row in manifest.rows}
    for video_id in options.only:
        if video_id not in by_id:
            close = difflib.get_close_matches(video_id, by_id, n=3)
            hint = f"; did you mean {' or '.join(close)}?" if close else ""
            raise ExtractError(f"--only {video_id}: {manifest.name} has no video of that id{hint}")
    rows = [by_id[video_id] for video_id in dict.fromkeys(options.only)] or list(manifest.rows)
    if options.shard:
        number, count = options.shard
        rows = rows[number - 1 :: count]
    return rows[: options.limit]
