"""Extract the features of a dataset into its store: the work of `extract run`, and `longtake.extract_videos`."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Unpack

from longtake.errors import LongtakeWarning
from longtake.extract.errors import MissingVideo
from longtake.extract.executors import execute
from longtake.extract.executors.local import publish
from longtake.extract.find_videos import default_store, default_videos, find_source, known_seconds
from longtake.extract.pipeline.batcher import OnBatch
from longtake.extract.plan.options import OptionValues, RunOptions
from longtake.extract.plan.plan import Plan, make_plan
from longtake.extract.progress import RANDOM_NOTE, DownloadProgress, VideoProgress
from longtake.features.parts import WAIT_SECONDS, Packed
from longtake.features.types import VideoRecord
from longtake.progress import Shown

MOST_LOOKED_AT = 10_000
"""Files whose size is looked up before a run; more of them would delay it on a slow disk, and even each other out."""


@dataclass(frozen=True)
class Extraction:
    """What a run did."""

    store: Path
    num_new: int
    num_there: int
    """Videos whose features the store had before."""
    failures: tuple[VideoRecord, ...]
    """One for each video that failed, in this run or in an earlier one; `error_message` says why."""
    missing: tuple[MissingVideo, ...]
    """Videos without features whose files are not in the folder; `reason` says what was looked for. They are no rows of the store."""
    recipes: Mapping[str, str]
    """Backbone -> recipe id of its features."""
    packed: Packed
    """Whether the finished videos are in the store, or wait until another process has published it."""
    interrupted: bool = False
    """Ctrl-C ended it early; what was finished is stored."""

    @property
    def complete(self) -> bool:
        """Every video has its features, and they are in the store."""
        return (
            not (self.failures or self.missing or self.interrupted or self.packed.num_waiting or self.packed.num_lost)
            and self.packed.published
        )

    def __repr__(self) -> str:
        counts = f"{self.num_new} new, {self.num_there} were there, {len(self.failures)} failed"
        counts += f", {len(self.missing)} missing" if self.missing else ""
        return f"<Extraction {self.store}: {counts}>"


def extract_videos(
    *,
    manifest: Path | str | None = None,
    dataset: str | None = None,
    videos: Path | str | None = None,
    out: Path | str | None = None,
    backbones: str | Sequence[str] = RunOptions.backbones,
    weights: str | Sequence[str] = RunOptions.weights,
    workers: int | None = None,
    show_progress: bool = True,
    **options: Unpack[OptionValues],
) -> Extraction:
    """Extract features of every video that the store does not have yet, as `extract run` does.

    The videos are named by the path of a `manifest` (CSV) or by a `dataset` that Longtake knows. Their folder `videos` is
    `videos/<dataset>` by default, the store `out` is `features/<dataset>.h5`. The other options are those of `RunOptions`.

    Videos that fail or are missing are listed in the result; the others are stored. Raises a `LongtakeError` when nothing can be done, and
    `KeyboardInterrupt` after what was finished is stored.
    """
    source = find_source(dataset, Path(manifest) if manifest is not None else None)
    shown = Shown.AUTO if show_progress else Shown.QUIET
    settings = RunOptions(backbones=_names(backbones), weights=_names(weights), workers=workers, **options)
    with DownloadProgress(shown) as download:
        folder, store = Path(videos or default_videos(source.name)), Path(out or default_store(source.name))
        plan = make_plan(source, folder, store, settings, on_download=download, on_note=download.note)
    if any(header.weights_random for header in plan.headers):
        warnings.warn(RANDOM_NOTE, LongtakeWarning, stacklevel=2)
    done = run_plan(plan, shown=shown)
    if done.interrupted:
        raise KeyboardInterrupt
    return done


def _names(given: str | Sequence[str]) -> tuple[str, ...]:
    return (given,) if isinstance(given, str) else tuple(given)


def run_plan(plan: Plan, *, shown: Shown = Shown.AUTO, on_batch: OnBatch | None = None) -> Extraction:
    """Execute a plan and publish its store, which also happens when it is interrupted or ends with an error."""
    failures = {record.video_id: record for record in plan.earlier_failures}
    interrupted, num_new = False, 0
    warned: set[str] = set()
    # After an interruption or an error, do not wait for another process that publishes the same store.
    wait_seconds = 0.0
    with VideoProgress(len(plan.jobs), plan.num_done, plan.networks, shown, _lengths(plan)) as progress:
        try:
            for video in execute(plan, on_batch, progress.clips, progress.note):
                progress.video(video)
                for text in set(video.warnings) - warned:
                    warned.add(text)
                    warnings.warn(f"{video.video_id}, and perhaps others: {text}", LongtakeWarning, stacklevel=2)
                if video.failure:
                    failures[video.video_id] = video.failure
                else:
                    num_new += 1
            wait_seconds = WAIT_SECONDS
        except KeyboardInterrupt:
            interrupted = True
        finally:
            packed = publish(plan, wait_seconds=wait_seconds, on_wait=progress.note)
    return Extraction(
        store=plan.out,
        num_new=num_new,
        num_there=plan.num_done,
        failures=tuple(failures.values()),
        missing=plan.missing,
        recipes={header.backbone: header.recipe_id for header in plan.headers},
        packed=packed,
        interrupted=interrupted or packed.stopped,
    )


def _lengths(plan: Plan) -> dict[str, float]:
    """Video -> its seconds as far as they are known before it is read, for the time left; empty where looking would take long."""
    if len(plan.jobs) > MOST_LOOKED_AT:
        return {}
    return {job.row.video_id: known_seconds(job.row, plan.videos_folder, plan.stems) for job in plan.jobs}
