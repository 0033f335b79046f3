"""Run an experiment: train every model, test it, and compare it with the baseline.

What keeps a result honest is computed with it: the ridge baseline, and the figure that choosing the epoch on the test set would give.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

import numpy as np

from longtake.train.engine.job import Job, Task
from longtake.train.engine.loop import fit
from longtake.train.engine.names import CHECKPOINTS
from longtake.train.engine.parallel import train_all
from longtake.train.engine.resume import FOLDER as RESUME
from longtake.train.engine.resume import ResumePoint
from longtake.train.engine.settings import TrainSettings
from longtake.train.engine.state import Epoch, Fitted
from longtake.train.metrics import measure
from longtake.train.protocol.experiment import Experiment, Model
from longtake.train.protocol.options import BASELINE
from longtake.train.protocol.units import Part, Unit

OnEpoch = Callable[[Model, Epoch], None]


@dataclass(frozen=True)
class Result:
    """One trained model and its test; of a unified model, its test on one part."""

    model: Model
    part: Part
    task: Task
    fitted: Fitted
    baselines: Mapping[str, Fitted]
    """Of `BASELINE` and `NO_VIDEO` those that were fitted, without their heads."""
    kept: bool = False
    """It was finished before the run was resumed."""

    @property
    def unit(self) -> Unit:
        return self.part.unit

    @property
    def baseline(self) -> Fitted | None:
        return self.baselines.get(BASELINE)


def run(experiment: Experiment, on_epoch: OnEpoch, folder: Path | None = None) -> Iterator[Result]:
    """Train and test every model, yielding each when it is done. Models that are finished in the folder of a run come first, and those in
    training continue from the last saved epoch (`longtake.train.engine.resume`); stacks start again.

    A unified model learns from the training videos of all its parts, and gives a result for each.
    """
    models = list(experiment.models)
    if folder is not None:
        models = [_with_saved(model, folder, experiment.run_id) for model in models]
    kept: dict[int, Fitted] = {}
    for place, model in enumerate(models):
        resume_point = model.job.resume_point
        fitted = resume_point.finished(len(model.job.task.test_rows)) if resume_point else None
        if fitted is not None:
            kept[place] = fitted
    waiting = [place for place in range(len(models)) if place not in kept]
    baselines: dict[int, list[dict[str, Fitted]]] = {}

    def after_epoch(index: int, epoch: Epoch) -> None:
        on_epoch(models[waiting[index]], epoch)

    jobs = [models[place].job for place in waiting]
    trained = train_all(jobs, experiment.options.parallel, after_epoch)
    for place, fitted in chain(kept.items(), ((waiting[index], fitted) for index, fitted in trained)):
        model = models[place]
        of_parts = list(_by_part(fitted, model.tasks)) if experiment.parts else [fitted]
        key = id(model.tasks)  # Shared by the seeds and the control of a fold.
        if key not in baselines:
            baselines[key] = [_baselines(experiment, task) for task in model.tasks]
        for index, (part, task, own) in enumerate(zip(model.parts, model.tasks, of_parts)):
            yield Result(model, part, task, own, {} if model.control else baselines[key][index], place in kept)
        if model.job.resume_point and place not in kept:
            model.job.resume_point.finish(fitted)


def _with_saved(model: Model, folder: Path, run_id: str) -> Model:
    checkpoint = None if model.control else folder / CHECKPOINTS / f"{model.name}.safetensors"
    resume_point = ResumePoint(folder / RESUME / model.name, run_id, checkpoint)
    return replace(model, job=replace(model.job, resume_point=resume_point))


def _baselines(experiment: Experiment, task: Task) -> dict[str, Fitted]:
    """The baselines of a part learn from that part's training videos only."""
    jobs = {
        head: Job(task, experiment.baseline_builder(head), TrainSettings(), seed=0) for head in experiment.baselines
    }
    return {head: replace(fit(job), head=None) for head, job in jobs.items()}


def _by_part(fitted: Fitted, tasks: Sequence[Task]) -> Iterator[Fitted]:
    """A unified model's scores in the units of each part. No epoch is best for all of them, so none is named."""
    ends = np.cumsum([len(task.test_rows) for task in tasks])
    for task, scores01 in zip(tasks, np.split(fitted.predicted, ends[:-1])):
        predicted = task.scale.to_units(scores01)
        test = measure(task.data.scores[task.scale.name][task.test_rows], predicted, task.label_range)
        yield replace(fitted, predicted=predicted, test=test, best_on_test=None, validation_selected=None)
