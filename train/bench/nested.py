"""Nested choice: which of a head's settings is taken, by folds inside each outer fold's training videos.

A choice by the figures that are reported is a choice on the test videos. Here each outer fold, category and score chooses for itself, from
the rank correlations of inner folds that hold no test video of it (Varma and Simon, BMC Bioinformatics 2006), and the chosen settings are
trained once more on all its training videos. The cost is `choices x inner folds` models for each that is reported.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from longtake.errors import LongtakeError
from longtake.files import write_whole
from longtake.safe_text import csv_text
from longtake.train.bench.jobs import Job
from longtake.train.engine.names import model_name
from longtake.train.errors import SettingsError
from longtake.train.metrics import fisher_mean
from longtake.train.protocol.experiment import Experiment
from longtake.train.protocol.run import Result
from longtake.train.protocol.splits import Split
from longtake.train.protocol.units import Unit
from longtake.train.runs.tables import COLUMNS, PREDICTIONS

INNER, OUTER = "inner", "outer"
"""Folders of a cell: runs that choose, and runs with what they chose."""
TrainInto = Callable[[Path, Experiment], Sequence[Result]]


@dataclass(frozen=True)
class Chosen:
    """A model of an outer fold, by the settings that its inner folds chose."""

    name: str
    choice: int
    fold: int | None
    result: Result


def inner(experiment: Experiment, unit: Unit, split: Split, folds: int) -> Experiment:
    """The folds inside an outer fold's training videos; by group where the outer folds are. `inner_folds` of an entry is their number also where
    the outer folds are one group or video each."""
    data = experiment.data.take(split.train_rows)
    data = replace(data, splits=np.full(len(data), "train", dtype=object))
    return replace(experiment, data=data, units=(unit,), options=replace(experiment.options, folds=folds))


def outer(experiment: Experiment, unit: Unit, split: Split) -> Experiment:
    """One outer fold as a split into training and test of its own."""
    data = experiment.data.take(split.rows)
    names = np.array(["train"] * len(split.train_rows) + ["test"] * len(split.test_rows), dtype=object)
    options = replace(experiment.options, folds=0, group=None)
    data = replace(data, splits=names)
    return replace(experiment, data=data, units=(unit,), options=options, fewest_test=1)


def require_folds(job: Job, experiment: Experiment) -> None:
    """Raises `DataError` or `SettingsError` where an outer fold has too few videos or groups for the inner folds, before anything is trained."""
    for unit in experiment.units:
        for split in experiment.splits[unit]:
            try:
                _ = inner(experiment, unit, split, job.entry.inner_folds).splits
            except LongtakeError as error:
                raise SettingsError(
                    f"its settings cannot be chosen in fold {split.fold}, whose {len(split.train_rows)} training videos are cut into "
                    f"{job.entry.inner_folds} inner folds (inner_folds): {error}"
                ) from error


def choose_and_train(job: Job, experiments: Sequence[Experiment], train_into: TrainInto) -> Iterator[Chosen]:
    """Of every category, score and outer fold. `experiments` are the same but for their settings."""
    first = experiments[0]
    for place, unit in enumerate(first.units):
        for split in first.splits[unit]:
            name = model_name(unit.category, unit.scale.name, job.cell.seed, split.fold)
            found = []
            for choice, experiment in enumerate(experiments):
                folder = job.folder / INNER / f"{name}-choice{choice}"
                results = train_into(folder, inner(experiment, experiment.units[place], split, job.entry.inner_folds))
                tests = [one.fitted.test for one in results]
                found.append(fisher_mean((t.spearman for t in tests), (t.num_videos for t in tests)))
            best = best_of(found)
            taken = experiments[best]
            (result,) = train_into(job.folder / OUTER / name, outer(taken, taken.units[place], split))
            yield Chosen(name, best, split.fold, result)


def best_of(correlations: Sequence[float]) -> int:
    """The first of the highest; an undefined one is the lowest."""
    return max(
        range(len(correlations)),
        key=lambda place: (-math.inf if math.isnan(correlations[place]) else correlations[place], -place),
    )


def write_joined(folder: Path, chosen: Sequence[Chosen]) -> None:
    """predictions.csv of the cell, as that of a run with folds."""
    lines: list[list[object]] = []
    for one in chosen:
        task, model = one.result.task, one.result.model
        names = one.result.unit.scale.name, model.seed, one.fold, 0
        for row, true, predicted in zip(task.test_rows, task.scores(task.test_rows), one.result.fitted.predicted):
            lines.append([task.data.video_ids[row], task.data.categories[row], *names, f"{true:g}", f"{predicted:.6f}"])
    write_whole(folder / PREDICTIONS, csv_text(COLUMNS, lines))
