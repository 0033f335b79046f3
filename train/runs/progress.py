"""Progress of training: what is reported of epochs and models."""

from __future__ import annotations

from longtake.progress import Progress, Shown
from longtake.train.engine.state import Epoch
from longtake.train.protocol.experiment import Experiment, Model
from longtake.train.protocol.run import Result
from longtake.train.protocol.units import Unit
from longtake.train.runs.tables import few_mark, figure_cell, shown_correlation, shown_error


class EpochProgress(Progress):
    """Counts epochs over all models of an experiment."""

    def __init__(self, experiment: Experiment, shown: Shown = Shown.AUTO) -> None:
        super().__init__(experiment.num_epochs, "epoch", shown)
        self._seen: set[str] = set()

    def epoch(self, model: Model, epoch: Epoch) -> None:
        name = _name(model, model.unit)
        self._begin(name, epoch.index - 1)
        self.step(name, loss=f"{epoch.loss:.4f}")
        spearman = epoch.test.spearman if epoch.test else None
        test = "" if spearman is None else f", test Spearman {shown_correlation(spearman)}"
        line = f"{name}, epoch {epoch.index}/{model.job.settings.epochs}: loss {epoch.loss:.4f}{test}"
        facts = {**model.facts(model.unit), "epoch": epoch.index, "loss": epoch.loss, "test_spearman": spearman}
        self.say("epoch", line, detail=True, **facts)

    def _begin(self, name: str, num_epochs: int) -> None:
        """At the first report of a model, count the epochs that it has done before."""
        if name not in self._seen:
            self._seen.add(name)
            self.skip(num_epochs)

    def result(self, result: Result) -> None:
        test, model = result.fitted.test, result.model
        correlation = figure_cell(shown_correlation(test.spearman), "", few_mark(test.num_videos))
        figures = f"Spearman {correlation}" if test.num_videos > 1 else "one test video"
        seconds = f"{result.fitted.seconds_per_epoch:.2f} s an epoch"
        line = f"{_name(model, result.unit)}: {figures}, MSE {shown_error(test.mse)}, {seconds}"
        if result.kept:
            self._begin(_name(model, model.unit), model.job.settings.epochs)
            line += ", finished before"
        facts = {**model.facts(result.unit), "spearman": test.spearman, "mse": test.mse, "kept": result.kept}
        self.say("model", line, **facts)


def _name(model: Model, unit: Unit) -> str:
    fold = "" if model.fold is None else f" fold {model.fold}"
    return f"{unit.name} seed {model.seed}{fold}" + (" (shuffled labels)" if model.control else "")
