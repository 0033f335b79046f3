"""Train one cell of a bench, in any process."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from longtake.errors import LongtakeError, LongtakeWarning
from longtake.train.bench.cells import (
    FAILED,
    NOT_APPLICABLE,
    Cell,
    Done,
    Reason,
    ScoredUnit,
    read_done,
    write_done,
    write_reason,
)
from longtake.train.bench.file import Choice
from longtake.train.bench.jobs import Job, why_other
from longtake.train.bench.nested import INNER, OUTER, choose_and_train, require_folds, write_joined
from longtake.train.bench.reads import preset_rows
from longtake.train.engine.names import CHECKPOINTS
from longtake.train.engine.resume import FOLDER as RESUME
from longtake.train.engine.settings import TrainSettings
from longtake.train.errors import MissingPackage, SettingsError
from longtake.train.heads import get_head
from longtake.train.protocol.experiment import Experiment
from longtake.train.protocol.options import Options
from longtake.train.protocol.presets import preset_row
from longtake.train.protocol.run import Result
from longtake.train.runs.fit import open_experiment, train_into
from longtake.train.runs.resumed import same_settings, with_recorded_settings


@dataclass(frozen=True)
class Outcome:
    cell: Cell
    kind: str = ""
    """Empty when the cell is done; otherwise `FAILED` or `NOT_APPLICABLE`."""
    reason: str = ""


def run_cell(job: Job) -> Outcome:
    """Train what is not trained yet, and write what the table needs. Every error is an outcome."""
    try:
        done = read_done(job.folder)
        if done:
            other = why_other(done, job)
            reason = f"{job.folder} holds this cell with {other}: take another --out, or delete that folder"
            return Outcome(job.cell, FAILED, reason) if other else Outcome(job.cell)
        if not job.stamp.recipe_id:
            return not_done(job, NOT_APPLICABLE, f"{job.path} has no features of {job.cell.backbone}")
        try:
            # What a user should know of the data is the same for all cells: `train heads` says it.
            with warnings.catch_warnings(action="ignore", category=LongtakeWarning):
                experiments = [open_experiment([job.path], options_of(job, way))[0] for way in job.entry.ways]
            if job.entry.choices:
                require_folds(job, experiments[0])
        except LongtakeError as error:
            return not_done(job, NOT_APPLICABLE, str(error))
        write_done(job.folder, _train(job, experiments))
        if not job.keep_heads:
            _drop_heads(job.folder)
    except MissingPackage as error:
        return not_done(job, NOT_APPLICABLE, str(error))
    except (LongtakeError, OSError) as error:
        return not_done(job, FAILED, str(error))
    return Outcome(job.cell)


def not_done(job: Job, kind: str, reason: str) -> Outcome:
    """Keep why a cell has no figures, for the table, which may be passed on: it names no folder of this machine."""
    kept = reason.replace(str(job.path), job.named).replace(f"{job.out}/", "")
    write_reason(job.folder, Reason(job.cell, kind, kept))
    return Outcome(job.cell, kind, reason)


def options_of(job: Job, way: Choice) -> Options:
    entry, split = job.entry, job.split
    every = 1 if float(str(way.settings.get("validation", 0))) else 1_000_000
    return Options(
        head=entry.head, backbone=job.cell.backbone, audio=entry.audio or None, streams=entry.streams, text=way.text or None,
        plugin=way.plugin or None, categories=job.categories, scores=job.scores, folds=split.folds, floor=False,
        evaluate_every=every, device=job.device, overrides=tuple(sorted(way.settings.items())), preset=way.preset,
        first_seed=job.cell.seed, parallel=job.parallel, group=split.group or None, memory=job.memory,
    )  # fmt: skip


def _train(job: Job, experiments: Sequence[Experiment]) -> Done:
    def into(folder: Path, experiment: Experiment) -> list[Result]:
        if not same_settings(with_recorded_settings(folder, experiment), experiment):
            raise SettingsError(
                f"{folder} was begun with another version of its preset: take another --out, or delete that folder"
            )
        with warnings.catch_warnings(action="ignore", category=LongtakeWarning):
            return list(train_into(folder, experiment, lambda *_: None, resume=True))

    first = experiments[0]
    chosen: dict[str, int] = {}
    inner = 0
    if len(experiments) == 1:
        results = into(job.folder, first)
    else:
        found = list(choose_and_train(job, experiments, into))
        write_joined(job.folder, found)
        results, chosen = [one.result for one in found], {one.name: one.choice for one in found}
        inner = len(results) * len(experiments) * job.entry.inner_folds
    closed = get_head(job.entry.head).closed_form
    trained = [result.model.job.settings for result in results]
    epochs = [settings.epochs for settings in trained]
    ranges = {(one.unit.category, one.unit.scale.name): one.task.label_range for one in results}
    return Done(
        job.cell,
        job.same["entry"],
        job.same["split"],
        job.stamp,
        tuple(ScoredUnit(*key, label_range) for key, label_range in ranges.items()),
        first.random_weights,
        len(results),
        inner,
        max(_parameters(experiment) for experiment in experiments),
        float(_mean([r.fitted.seconds_per_epoch * (1 if closed else n) for r, n in zip(results, epochs)])),
        None if closed else max(epochs),
        None if closed else max(_preset_epochs(first, way) for way in job.entry.ways),
        job.same["taken"],
        chosen,
        tuple(preset_rows(job.entry, job.stamp.dataset, dict.fromkeys(category for category, _ in ranges))),
        tuple(leak.line for leak in first.audit),
        precisions=() if closed else tuple(sorted({settings.precision for settings in trained})),
    )


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _parameters(experiment: Experiment) -> int:
    heads = {repr(unit.settings): experiment.head_builder(unit)() for unit in experiment.units}
    return max(sum(parameter.numel() for parameter in head.parameters()) for head in heads.values())


def _preset_epochs(experiment: Experiment, way: Choice) -> int:
    rows = [preset_row(way.preset, experiment.head, experiment.dataset, unit.category) for unit in experiment.units]
    return max(int(str(row.get("epochs", TrainSettings.epochs))) for row in rows)


def _drop_heads(folder: Path) -> None:
    """Delete the weights of a finished cell; figures and predictions stay."""
    for run in (folder, *folder.glob(f"{INNER}/*"), *folder.glob(f"{OUTER}/*")):
        for name in (CHECKPOINTS, RESUME):
            shutil.rmtree(run / name, ignore_errors=True)
