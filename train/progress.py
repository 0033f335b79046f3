"""Progress of training: a bar on a terminal, a line per model elsewhere."""

from __future__ import annotations

import sys

import click
from tqdm import tqdm

from train.fitting import Epoch
from train.protocol import Experiment, Result, Unit


class EpochProgress:
    """Counts epochs over all models of an experiment."""

    def __init__(self, experiment: Experiment) -> None:
        models = experiment.options.seeds * max(experiment.options.folds, 1) * (2 if experiment.options.control else 1)
        total = sum(unit.settings.train.epochs for unit in experiment.units) * models
        self._bar = tqdm(total=total, unit="epoch", disable=not sys.stderr.isatty())

    def __enter__(self) -> EpochProgress:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def epoch(self, unit: Unit, seed: int, fold: int | None, control: bool, epoch: Epoch) -> None:
        self._bar.set_description(_name(unit, seed, fold, control), refresh=False)
        self._bar.set_postfix(loss=f"{epoch.loss:.4f}", refresh=False)
        self._bar.update()

    def result(self, result: Result) -> None:
        if self._bar.disable:
            test = result.fitted.test
            name = _name(result.unit, result.seed, result.fold, result.control)
            click.echo(
                f"{name}: Spearman {test.spearman:.3f}, MSE {test.mse:.2f}, "
                f"{result.fitted.seconds_per_epoch:.2f} s an epoch",
                err=True,
            )


def _name(unit: Unit, seed: int, fold: int | None, control: bool) -> str:
    parts = [unit.category, unit.scale.name, f"seed {seed}", "" if fold is None else f"fold {fold}"]
    return " ".join(part for part in parts if part) + (" (shuffled labels)" if control else "")
