"""What is to be trained, settled before any training."""

from dataclasses import replace

import pytest
import torch

from longtake.features.store import open_store
from longtake.train.data.dataset import Widths
from longtake.train.errors import DataError, SettingsError
from longtake.train.heads import get_head
from longtake.train.protocol.experiment import build, choose_device, prepare
from longtake.train.protocol.options import Options
from tests.train.planted import planted_store

GDLT = Options(head="gdlt", overrides=(("width", 16), ("epochs", 3)))


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    path = tmp_path_factory.mktemp("experiment") / "s.h5"
    return planted_store(path, categories=("A", "B"), num_train=16, num_test=8)


def prepared(store, options):
    with open_store(store) as opened:
        return prepare(opened, options)


def test_models_are_in_the_order_of_the_table(store):
    made = prepared(store, replace(GDLT, seeds=2, first_seed=5, folds=2, control=True))
    found = [(model.unit.category, model.fold, model.seed, model.control) for model in made.models]
    assert found == [(c, f, s, x) for c in "AB" for f in (0, 1) for s in (5, 6) for x in (False, True)]
    assert len({model.name for model in made.models}) == len(found) == 16 and made.num_epochs == 16 * 3
    for model in made.models:
        task = model.job.task
        assert task.shuffle_labels == model.control and not set(task.train_rows) & set(task.test_rows)


def test_the_default_head_depends_on_the_texts_of_the_store(store, tmp_path):
    assert prepared(store, Options(overrides=(("scores", 11),))).head == "gslm"
    without = planted_store(tmp_path / "w.h5", num_train=8, num_test=4, with_text=False)
    assert prepared(without, Options()).head == "gdlt"


def test_a_run_is_identified_by_what_its_models_become(store):
    """Not by the number of seeds, which a resumed run may raise."""
    made = prepared(store, GDLT)
    assert prepared(store, replace(GDLT, seeds=3, device="cpu", parallel="stacked")).run_id == made.run_id
    others = [
        replace(GDLT, overrides=(("width", 32), ("epochs", 3))),
        replace(GDLT, folds=2),
        replace(GDLT, evaluate_every=3),
        replace(GDLT, categories=("A",)),
    ]
    assert len({prepared(store, one).run_id for one in others} | {made.run_id}) == 5
    assert prepared(store, others[0]).data_id == made.data_id, "other settings, the same data"


def test_what_a_head_needs_and_the_store_lacks(store):
    for head, message in (("avcf", "needs sound"), ("tsa", "learns 2 boundaries of stages")):
        with pytest.raises((DataError, SettingsError), match=message):
            prepared(store, Options(head=head, overrides=(("boundaries", "predicted"),) if head == "tsa" else ()))


def test_sizes_that_do_not_fit_each_other():
    with pytest.raises(SettingsError, match="head gdlt cannot be built with these settings: embed_dim must be divis"):
        build("gdlt", Widths(8, 0, {}), get_head("gdlt").Settings(width=16, heads=5), None)


def test_devices():
    assert choose_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    with pytest.raises(SettingsError, match="--device cuda:99: .*This machine offers cpu"):
        choose_device("cuda:99")
