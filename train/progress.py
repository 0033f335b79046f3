"""Progress of training: what is said of epochs and models."""

from __future__ import annotations

from longtake.progress import Progress, Shown
from longtake.train.engine.loop import Epoch
from longtake.train.protocol.experiment import Experiment, Result, Unit


class EpochProgress(Progress):
    """Counts epochs over all models of an experiment."""

    def __init__(self, experiment: Experiment, shown: Shown = Shown.AUTO) -> None:
        super().__init__(experiment.num_epochs, "epoch", shown)
        self._seen: set[str] = set()

    def epoch(self, unit: Unit, seed: int, fold: int | None, control: bool, epoch: Epoch) -> None:
        name = _name(unit, seed, fold, control)
        self._begin(name, epoch.index - 1)
        self.step(name, loss=f"{epoch.loss:.4f}")
        test = f", test Spearman {epoch.test.spearman:.3f}" if epoch.test else ""
        self.say(
            "epoch",
            f"{name}, epoch {epoch.index}/{unit.settings.train.epochs}: loss {epoch.loss:.4f}{test}",
            detail=True,
            **_facts(unit, seed, fold, control),
            epoch=epoch.index,
            loss=epoch.loss,
            test_spearman=epoch.test.spearman if epoch.test else None,
        )

    def _begin(self, name: str, num_epochs: int) -> None:
        """A model is heard of for the first time, with so many epochs behind it."""
        if name not in self._seen:
            self._seen.add(name)
            self.skip(num_epochs)

    def result(self, result: Result) -> None:
        test = result.fitted.test
        name = _name(result.unit, result.seed, result.fold, result.control)
        ends = ", finished before" if result.kept else ""
        if result.kept:
            model = _name(result.model, result.seed, result.fold, result.control)
            self._begin(model, result.model.settings.train.epochs)
        self.say(
            "model",
            f"{name}: Spearman {test.spearman:.3f}, MSE {test.mse:.2f}, {result.fitted.seconds_per_epoch:.2f} s an epoch{ends}",
            **_facts(result.unit, result.seed, result.fold, result.control),
            spearman=test.spearman,
            mse=test.mse,
            kept=result.kept,
        )


def _facts(unit: Unit, seed: int, fold: int | None, control: bool) -> dict[str, object]:
    return {"category": unit.category, "score": unit.scale.name, "seed": seed, "fold": fold, "control": control}


def _name(unit: Unit, seed: int, fold: int | None, control: bool) -> str:
    parts = [unit.category, unit.scale.name, f"seed {seed}", "" if fold is None else f"fold {fold}"]
    return " ".join(part for part in parts if part) + (" (shuffled labels)" if control else "")
