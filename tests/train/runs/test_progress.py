"""What is reported of epochs and models."""

import json
from types import SimpleNamespace

from longtake.features.store import open_store
from longtake.progress import Shown
from longtake.train.engine.state import Epoch
from longtake.train.metrics import Metrics
from longtake.train.protocol.experiment import prepare
from longtake.train.protocol.options import Options
from longtake.train.runs.progress import EpochProgress
from tests.train.planted import planted_store


def test_epochs_are_counted_over_all_models(tmp_path, capsys):
    path = planted_store(tmp_path / "s.h5", num_train=9, num_test=3, with_text=False)
    options = Options(head="gdlt", seeds=2, folds=3, control=True, overrides=(("epochs", 5), ("width", 16)))
    with open_store(path) as store:
        experiment = prepare(store, options)
    assert len(experiment.models) == 2 * 3 * 2 and experiment.num_epochs == 12 * 5
    first, second = experiment.models[:2]
    with EpochProgress(experiment, Shown.EVENTS) as progress:
        progress.epoch(first, Epoch(3, 0.5, {}, 0.1, None))
        progress.epoch(first, Epoch(4, 0.5, {}, 0.1, None))
        fitted = SimpleNamespace(test=Metrics(0.5, 2.0, 3.0, 3), seconds_per_epoch=0.0)
        progress.result(SimpleNamespace(model=second, unit=second.unit, fitted=fitted, kept=True))
    said = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [(one["event"], one["done"], one["of"]) for one in said] == [
        ("epoch", 3, 60),  # two were finished before this run
        ("epoch", 4, 60),
        ("model", 9, 60),  # a model that was kept counts as a whole
    ]
    assert said[-1]["kept"] and said[-1]["fold"] == second.fold


def test_a_test_set_of_two_videos_is_marked(tmp_path, capsys):
    path = planted_store(tmp_path / "s.h5", num_train=9, num_test=3, with_text=False)
    with open_store(path) as store:
        experiment = prepare(store, Options(head="gdlt", overrides=(("epochs", 1), ("width", 16))))
    (model,) = experiment.models
    with EpochProgress(experiment, Shown.VERBOSE) as progress:
        for number in (2, 200):
            fitted = SimpleNamespace(test=Metrics(1.0, 2.0, 3.0, number), seconds_per_epoch=0.0)
            progress.result(SimpleNamespace(model=model, unit=model.unit, fitted=fitted, kept=False))
    said = capsys.readouterr().err
    assert "Spearman 1.000 (n=2: few), MSE" in said and "Spearman 1.000, MSE" in said
