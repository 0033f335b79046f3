"""Which videos train and which test."""

from dataclasses import replace

import numpy as np
import pytest

from longtake.features.store import open_store
from longtake.train.errors import DataError, SettingsError
from longtake.train.protocol.experiment import prepare
from longtake.train.protocol.options import Options
from longtake.train.protocol.splits import fold_of_groups, labelled_rows, splits
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


@pytest.fixture
def grouped(tmp_path):
    """24 training videos of 7 skaters and 3 events in turns, and 6 test videos."""
    path = planted_store(tmp_path / "g.h5", num_train=24, num_test=6, groups={"skater": 7, "event": 3})
    with open_store(path) as store:
        return prepare(store, Options(head="ridge")).data


@pytest.mark.parametrize("folds", [2, 5, 7, "groups"])
def test_no_group_is_in_training_and_test(grouped, folds):
    skaters, tested = grouped.groups["skater"], []
    for split in splits(grouped, "A", "total", folds, "skater"):
        assert not set(skaters[split.train_rows]) & set(skaters[split.test_rows])
        assert sorted(split.rows) == grouped.rows(split="train").tolist()
        assert len(set(skaters[split.test_rows])) == 1 or folds in (2, 5)
        tested += split.test_rows.tolist()
    assert sorted(tested) == grouped.rows(split="train").tolist()


def test_folds_by_group_are_balanced_and_the_documented_ones():
    values = np.repeat(np.array(list("abcdefgh"), dtype=object), [9, 1, 3, 3, 2, 2, 2, 2])
    found = fold_of_groups(values, 3)
    assert np.bincount(found).tolist() == [9, 8, 7]
    names, sizes = sorted(set(values)), {0: 0, 1: 0, 2: 0}
    order = [names[place] for place in np.random.RandomState(0).permutation(len(names))]
    for name in sorted(order, key=lambda name: -sum(values == name)):
        fold = min(sizes, key=lambda number: (sizes[number], number))
        assert set(found[values == name]) == {fold}
        sizes[fold] += sum(values == name)
    shuffled = np.random.RandomState(5).permutation(len(values))
    np.testing.assert_array_equal(
        fold_of_groups(values[shuffled], 3), found[shuffled], "the order of videos is no matter"
    )


def test_groups_by_which_folds_cannot_be_cut(grouped):
    for options, message in (
        ((8, "skater"), "--folds 8 --group skater: A total has 7 of skater, for 2 to 7 folds"),
        ((2, "skaters"), "--group skaters: no video has a group 'skaters'; did you mean skater"),
    ):
        with pytest.raises((DataError, SettingsError), match=message):
            list(splits(grouped, "A", "total", *options))
    some = np.where(np.arange(30) < 2, "", grouped.groups["skater"]).astype(object)
    data = replace(grouped, groups={"skater": some})
    with pytest.raises(
        DataError, match=r"of 2 of 24 videos it is unknown which skater they are of \(A_000, A_001\); put it into"
    ):
        list(splits(data, "A", "total", 2, "skater"))


def test_the_ids_of_runs_by_group(tmp_path):
    path = planted_store(tmp_path / "g.h5", num_train=24, num_test=6, groups={"skater": 7})
    plain = planted_store(tmp_path / "p.h5", num_train=24, num_test=6)
    with open_store(path) as store, open_store(plain) as other:
        made = [prepare(store, Options(head="ridge", folds=3, group=group)) for group in (None, "skater")]
        assert made[0].run_id == prepare(other, Options(head="ridge", folds=3)).run_id, "groups that are not used"
        assert made[0].data_id == made[1].data_id and made[0].run_id != made[1].run_id
    moved = replace(made[1].data, groups={"skater": np.roll(made[1].data.groups["skater"], 1)})
    assert replace(made[1], data=moved).run_id != made[1].run_id, "other groups cut other folds"


@pytest.mark.parametrize("names, said", [
    (["trainval", "trainval", "tst"], " Other splits: 8 in 'trainval', 4 in 'tst'; name splits train and test"),
    (["", "train", "train"], " Other splits: 4 in none; name splits train and test"),
    (["train"] * 3, " For cross-validation"),
])  # fmt: skip
def test_splits_of_other_names_are_named(tmp_path, names, said):
    with open_store(planted_store(tmp_path / "s.h5", num_train=9, num_test=3)) as store:
        experiment = prepare(store, Options(head="ridge"))
    data = replace(experiment.data, splits=np.array(names * 4, dtype=object))
    with pytest.raises(DataError) as caught:
        list(splits(data, "", "total", 0))
    assert f"two or more of each.{said}" in str(caught.value)
