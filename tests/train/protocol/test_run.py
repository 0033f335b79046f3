"""Every model trained and tested, and what is trained with it."""

import numpy as np
import pytest

from longtake.features.store import open_store
from longtake.train.errors import DataError
from longtake.train.protocol.experiment import prepare
from longtake.train.protocol.options import Options
from longtake.train.protocol.run import run
from tests.train.planted import planted_store

OPTIONS = {"head": "i3d-mlp", "overrides": (("width", 8), ("epochs", 2))}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    path = tmp_path_factory.mktemp("run") / "s.h5"
    return planted_store(path, categories=("A", "B"), num_train=12, num_test=6, with_text=False)


def results(store, epochs=None, folder=None, **options):
    with open_store(store) as opened:
        experiment = prepare(opened, Options(**{**OPTIONS, **options}))
    seen = [] if epochs is None else epochs
    return list(run(experiment, lambda model, epoch: seen.append((model.name, epoch.index)), folder))


def test_every_model_gives_a_result_and_reports_its_epochs(store):
    epochs = []
    found = results(store, epochs, seeds=2, floor=False)
    assert [(one.unit.category, one.model.seed) for one in found] == [("A", 0), ("A", 1), ("B", 0), ("B", 1)]
    assert epochs == [(one.model.name, index) for one in found for index in (1, 2)]
    for one in found:
        assert one.fitted.predicted.shape == (6,) and np.isfinite(one.fitted.predicted).all()
        assert one.baseline is None and not one.kept and one.model.fold is None


def test_the_baseline_is_that_of_the_unit_and_a_control_has_none(store):
    found = results(store, seeds=2, control=True)
    alone = {one.unit.category: one.fitted.test for one in results(store, head="ridge", overrides=())}
    assert len(found) == 8
    for one in found:
        assert (one.baseline and one.baseline.test) == (None if one.model.control else alone[one.unit.category])
        assert "metadata" not in one.baselines, "videos of no group"


def test_what_can_be_said_without_the_video_is_a_baseline_where_there_are_groups(tmp_path):
    path = planted_store(tmp_path / "g.h5", num_train=24, num_test=6, groups={"skater": 3})
    (one,) = results(path, head="ridge", overrides=())
    (alone,) = results(path, head="metadata", overrides=())
    assert set(one.baselines) == {"metadata"} and set(alone.baselines) == {"ridge"}
    assert one.baselines["metadata"].test == alone.fitted.test and one.baselines["metadata"].head is None
    assert alone.baseline.test == one.fitted.test
    with pytest.raises(DataError, match="reads the group 'event', which no video has"):
        results(path, head="metadata", overrides=(("groups", "event"),))


def test_models_that_are_finished_in_the_folder_are_kept(store, tmp_path):
    options = {"floor": False, "control": True, "folder": tmp_path}
    first, epochs = results(store, **options, categories=("A",)), []
    again = results(store, epochs, **options, categories=("A",))
    assert [one.model.control for one in again if one.kept] == [True], (
        "a model whose checkpoint was not written is trained again"
    )
    assert {name for name, _ in epochs} == {one.model.name for one in again if not one.kept}
    assert again[0].kept and np.array_equal(again[0].fitted.predicted, first[1].fitted.predicted)
