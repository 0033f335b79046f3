"""Which videos train and which test."""

from dataclasses import replace

import numpy as np
import pytest

from longtake.features.store import open_store
from longtake.train.errors import DataError
from longtake.train.protocol.experiment import prepare
from longtake.train.protocol.options import Options
from longtake.train.protocol.splits import labelled_rows, splits
from tests.train.planted import planted_store


def test_a_datasets_own_folds_are_disjoint_and_complete(tmp_path):
    with open_store(planted_store(tmp_path / "s.h5", num_train=9, num_test=3)) as store:
        experiment = prepare(store, Options(head="ridge"))
    data = replace(experiment.data, splits=np.array([f"fold{number % 4 + 1}" for number in range(12)], dtype=object))
    found = list(splits(data, "A", "total", folds=0))
    assert [split.fold for split in found] == [0, 1, 2, 3]
    assert sorted(np.concatenate([split.test_rows for split in found]).tolist()) == list(range(12))
    for split in found:
        assert not set(split.train_rows) & set(split.test_rows) and len(split.rows) == 12
    # Cross-validation of another kind can still be asked for.
    assert len(list(splits(data, "A", "total", folds=3))) == 3


@pytest.mark.parametrize(
    "names, folds, taught",
    [
        (("train", "fold1", "fold2", "test", "holdout", ""), 0, {"train", "fold1", "fold2"}),
        (("test", "holdout", "", "fold1"), 3, {"", "fold1"}),
        (("train", "test", "holdout", ""), 3, {"train"}),
    ],
)
def test_what_is_kept_from_training_never_teaches(tmp_path, names, folds, taught):
    with open_store(planted_store(tmp_path / "s.h5", num_train=18, num_test=6)) as store:
        experiment = prepare(store, Options(head="ridge"))
    named = np.array([names[number % len(names)] for number in range(24)], dtype=object)
    data = replace(experiment.data, splits=named)
    met = set()
    for split in splits(data, "A", "total", folds):
        assert not set(split.train_rows) & set(split.test_rows)
        met |= {*named[split.rows]}
    assert met == taught
    alone = replace(data, splits=np.array(["fold1", "test"] * 12, dtype=object))
    with pytest.raises(DataError, match="0 training videos besides the split 'fold1'"):
        next(splits(alone, "A", "total", 0))


@pytest.mark.parametrize(
    "names",
    [("train", "test", "other"), ("fold1", "fold2", "fold3"), ("train", "fold1", "fold2"), ("test", "later", "")],
)
@pytest.mark.parametrize("folds", [0, 3])
def test_the_labels_of_a_round(tmp_path, names, folds):
    """Those that a model of it learns or is tested on, however videos are split."""
    with open_store(planted_store(tmp_path / "s.h5", num_train=18, num_test=6, categories=("A", "B"))) as store:
        experiment = prepare(store, Options(head="ridge"))
    data = replace(experiment.data, splits=np.array([names[number % 3] for number in range(48)], dtype=object))
    if "later" in names and not folds:
        assert labelled_rows(data, "A", "total", 0).size == 0, "nothing to learn from"
        return
    for split in splits(data, "A", "total", folds):
        assert set(labelled_rows(data, "A", "total", folds)) == set(split.rows)


def test_folds_are_disjoint_complete_and_the_documented_ones(tmp_path):
    path = planted_store(tmp_path / "s.h5", num_train=16, num_test=8, categories=("A", "B"))
    with open_store(path) as opened:
        experiment = prepare(opened, Options(head="gdlt", folds=3))
    everything = experiment.data.rows(split="train", category="A")
    held_out = []
    expected = np.array_split(np.random.RandomState(0).permutation(len(everything)), 3)
    for split, part in zip(splits(experiment.data, "A", "total", 3), expected):
        assert set(split.rows) == set(everything) and not set(split.train_rows) & set(split.test_rows)
        assert set(split.test_rows) == set(everything[part])
        held_out += split.test_rows.tolist()
    assert sorted(held_out) == everything.tolist()
