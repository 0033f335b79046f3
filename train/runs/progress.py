"""Progress of training: what is reported of epochs and models."""

from __future__ import annotations

from typing import Any

from longtake.progress import Progress, Shown
from longtake.train.engine.state import Epoch
from longtake.train.protocol.experiment import Experiment, Model
from longtake.train.protocol.run import Result
from longtake.train.protocol.units import Unit


class EpochProgress(Progress):
    """Counts epochs over all models of an experiment."""

    def __init__(self, experiment: Experiment, shown: Shown = Shown.AUTO) -> None:
        super().__init__(experiment.num_epochs, "epoch", shown)
        self._seen: set[str] = set()

    def epoch(self, model: Model, epoch: Epoch) -> None:
        name = _name(model, model.unit)
        self._begin(name, epoch.index - 1)
        self.step(name, loss=f"{epoch.loss:.4f}")
        test = f", test Spearman {epoch.test.spearman:.3f}" if epoch.test else ""
        self.say(
            "epoch",
            f"{name}, epoch {epoch.index}/{model.job.settings.epochs}: loss {epoch.loss:.4f}{test}",
            detail=True,
            **_facts(model, model.unit),
            epoch=epoch.index,
            loss=epoch.loss,
            test_spearman=epoch.test.spearman if epoch.test else None,
        )

    def _begin(self, name: str, num_epochs: int) -> None:
        """At the first report of a model, count the epochs that it has done before."""
        if name not in self._seen:
            self._seen.add(name)
            self.skip(num_epochs)

    def result(self, result: Result) -> None:
        test, model = result.fitted.test, result.model
        ends = ", finished before" if result.kept else ""
        if result.kept:
            self._begin(_name(model, model.unit), model.job.settings.epochs)
        self.say(
            "model",
            f"{_name(model, result.unit)}: Spearman {test.spearman:.3f}, MSE {test.mse:.2f}, {result.fitted.seconds_per_epoch:.2f} s an epoch{ends}",
            **_facts(model, result.unit),
            spearman=test.spearman,
            mse=test.mse,
            kept=result.kept,
        )


def _facts(model: Model, unit: Unit) -> dict[str, Any]:
    return {
        "category": unit.category,
        "score": unit.scale.name,
        "seed": model.seed,
        "fold": model.fold,
        "control": model.control,
    }


def _name(model: Model, unit: Unit) -> str:
    fold = "" if model.fold is None else f" fold {model.fold}"
    return f"{unit.name} seed {model.seed}{fold}" + (" (shuffled labels)" if model.control else "")
