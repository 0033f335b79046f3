"""What can be said of performances without their videos: figures that labels and groups of the shipped tables give."""

import numpy as np
import pytest
import torch

from longtake.manifests.table import find_manifest
from longtake.train.data.dataset import _number_of
from longtake.train.errors import DataError
from longtake.train.heads.base import Batch
from longtake.train.heads.metadata import Metadata, MetadataSettings
from longtake.train.metrics import fisher_mean, spearman
from longtake.train.protocol.splits import fold_of_groups
from tests.train.heads.kit import make_batch

ALONE = MetadataSettings(length=False)


def batch_of(groups, target, lengths=None):
    lengths = torch.tensor(lengths or [3] * len(groups))
    mask = torch.arange(int(lengths.max()))[None] < lengths[:, None]
    numbers = torch.tensor([[_number_of(text) if text else 0 for text in row] for row in groups])
    return Batch(torch.zeros(*mask.shape, 2), mask, torch.tensor(target, dtype=torch.float32), (), groups=numbers)


def figures(rows, kinds, splits, score):
    """Rank correlation and squared error of each split into two bool arrays."""
    groups = [[f"{kind}={row.groups[kind]}" for kind in kinds] for row in rows]
    scores = np.array([row.scores[score] for row in rows])
    found = []
    for train, test in splits:
        head = Metadata(2, ALONE)
        head.fit_closed_form([batch_of([g for g, there in zip(groups, train) if there], scores[train].tolist())])
        predicted = head.eval()(batch_of([g for g, there in zip(groups, test) if there], scores[test].tolist())).score01
        found.append(
            (spearman(scores[test], predicted.numpy()), float(np.mean((predicted.numpy() - scores[test]) ** 2)))
        )
    return np.array(found).T


def averages(rows, kinds, splits):
    """TES and PCS: correlations and errors, and their averages, as tables have them."""
    both = [figures(rows, kinds, splits, score) for score in ("tes", "pcs")]
    rhos = [fisher_mean(rho) for rho, _ in both]
    errors = [float(mse.mean()) for _, mse in both]
    return rhos, errors, fisher_mean(rhos), float(np.mean(errors))


FISV = find_manifest("fisv").rows
IS_TRAINING = np.array([row.split == "train" for row in FISV])


@pytest.mark.parametrize(
    "kinds, rho, mse", [(("skater", "event"), 0.827, 11.9), (("skater",), 0.728, 23.2), (("event",), 0.511, 18.1)]
)
def test_the_official_split_of_fisv_without_a_picture(kinds, rho, mse):
    rhos, errors, mean_rho, mean_mse = averages(FISV, kinds, [(IS_TRAINING, ~IS_TRAINING)])
    assert (round(mean_rho, 3), round(mean_mse, 1)) == (rho, mse)
    if len(kinds) == 2:
        assert np.round(rhos, 3).tolist() == [0.708, 0.9] and np.round(errors, 1).tolist() == [18.5, 5.4]


@pytest.mark.parametrize("by_skater, rho, mse", [(False, 0.794, 14.8), (True, 0.472, 23.0)])
def test_folds_of_the_training_videos_of_fisv(by_skater, rho, mse):
    """At random by skater and event; with new skaters by event alone."""
    rows = [row for row in FISV if row.split == "train"]
    if by_skater:
        fold_of = fold_of_groups(np.array([row.groups["skater"] for row in rows], dtype=object), 5)
    else:
        fold_of = np.zeros(len(rows), int)
        for fold, part in enumerate(np.array_split(np.random.RandomState(0).permutation(len(rows)), 5)):
            fold_of[part] = fold
    splits = [(fold_of != fold, fold_of == fold) for fold in range(5)]
    _, _, mean_rho, mean_mse = averages(rows, ("event",) if by_skater else ("skater", "event"), splits)
    assert mean_rho == pytest.approx(rho, abs=1e-3) and round(mean_mse, 1) == mse


@pytest.mark.parametrize("task, rho", [("Knot Tying", 0.740), ("Needle Passing", 0.674), ("Suturing", 0.642)])
def test_the_surgeon_alone_in_the_four_folds_of_jigsaws(task, rho):
    """Averaged plainly over folds, as the published tables of this dataset are."""
    rows = [row for row in find_manifest("jigsaws").rows if row.category == task]
    fold_of = np.array([row.split for row in rows])
    splits = [(fold_of != fold, fold_of == fold) for fold in sorted(set(fold_of))]
    assert np.mean(figures(rows, ("surgeon",), splits, "total")[0]).round(3) == rho


@pytest.mark.parametrize(
    "kinds, rho",
    [(("dive",), 0.594), (("event",), 0.637), (("difficulty",), 0.576), (("dive", "event", "difficulty"), 0.693)],
)
def test_what_is_known_of_a_dive_before_it(kinds, rho):
    rows = find_manifest("mtl-aqa").rows
    train = np.array([row.split == "train" for row in rows])
    assert figures(rows, kinds, [(train, ~train)], "total")[0].round(3) == [rho]


def test_an_unknown_group_gets_the_mean_and_nothing_of_the_clips_is_read():
    training = batch_of([["skater=a", "event=x"], ["skater=a", "event=y"], ["skater=b", ""]] * 4, [0.9, 0.7, 0.2] * 4)
    head = Metadata(2, ALONE)
    head.fit_closed_form([training])
    unknown = batch_of([["skater=new", ""], ["", ""]], [0.0, 0.0])
    torch.testing.assert_close(head(unknown).score01, torch.full((2,), 0.6), atol=1e-6, rtol=0)
    assert head(training).score01[:3].argsort(descending=True).tolist() == [0, 1, 2]
    with pytest.raises(DataError, match="4 groups, and the head has room for 3: --set capacity=4"):
        Metadata(2, MetadataSettings(capacity=3)).fit_closed_form([training])
    plain = make_batch([4, 7])
    assert torch.isfinite(head(plain).score01).all(), "a store without groups"


def test_the_length_of_a_routine():
    lengths = list(range(2, 22))
    training = batch_of([["skater=a"]] * 20, [length / 40 for length in lengths], lengths)
    head = Metadata(2, MetadataSettings())
    head.fit_closed_form([training])
    torch.testing.assert_close(head(training).score01, training.target01, atol=0.01, rtol=0)
    blind = Metadata(2, ALONE)
    blind.fit_closed_form([training])
    assert float(blind(training).score01.std()) < 1e-6
    equal = batch_of([["skater=a"], ["skater=b"]] * 4, [0.2, 0.4] * 4)
    head.fit_closed_form([equal])
    assert torch.isfinite(head(training).score01).all(), "all training videos as long as each other"
