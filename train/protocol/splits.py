"""Which videos train a model and which test it: the dataset's split, its own folds, or folds that are cut here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from longtake.errors import there_are
from longtake.train.data.dataset import FeatureSet
from longtake.train.errors import DataError, SettingsError
from longtake.train.protocol.options import GROUPS, LEAVE_ONE_OUT

OWN_FOLD = "fold"
"""How the splits of a dataset with folds of its own begin: `fold1`, `fold2`, ..."""
FEWEST_LEFT_OUT = 3
"""Training videos of leave-one-out."""


@dataclass(frozen=True)
class Split:
    """Rows of a `FeatureSet`, int `(videos,)` each."""

    fold: int | None
    """None for the dataset's split into train and test."""
    train_rows: np.ndarray
    test_rows: np.ndarray

    @property
    def rows(self) -> np.ndarray:
        return np.concatenate([self.train_rows, self.test_rows])


def splits(
    data: FeatureSet, category: str, score: str, folds: int | str, group: str | None = None, fewest_test: int = 2
) -> Iterator[Split]:
    """The dataset's split, its own folds where its splits are named `fold...`, or `folds` folds of its training split.

    With folds of its own, `train` trains in each round, and every other split is left out. Folds are cut from a permutation by
    numpy's legacy generator with seed 0, as for the ridge figures of the docs; with a `group`, as `fold_of_groups` says. An empty category takes
    the videos of all. Leave-one-out has a fold for each video, in their order. `fewest_test` is of the dataset's split alone.

    Raises `DataError` where too few videos train or test or a video's group is unknown, `SettingsError` for a number of folds that cannot be cut.
    """
    rows = data.rows(category=category or None, score=score)
    own = sorted({name for name in data.splits[rows] if name.startswith(OWN_FOLD)})
    where = f"{category} {score}".strip()
    if folds:
        train_rows = training_rows(data, category, score)
        if group:
            yield from _cut_groups(data, train_rows, folds, group, where)
        else:
            yield from _cut(train_rows, folds, where)
    elif own:
        yield from _own_folds(data, rows, own, where)
    else:
        train_rows, test_rows = (
            data.rows(split=name, category=category or None, score=score) for name in ("train", "test")
        )
        if len(train_rows) < 2 or len(test_rows) < fewest_test:
            raise DataError(
                f"{where}: {len(train_rows)} training and {len(test_rows)} test videos in the store; a result needs two or "
                f"more of each.{_other_splits(data.splits[rows])} For cross-validation inside the training videos: --folds 5"
            )
        yield Split(None, train_rows, test_rows)


def _other_splits(names: np.ndarray) -> str:
    """What the other videos are for, as a sentence; empty where there are none."""
    counts = Counter(sorted(names[~np.isin(names, ("train", "test"))]))
    if not counts:
        return ""
    said = ", ".join(f"{count} in {name!r}" if name else f"{count} in none" for name, count in counts.items())
    return f" Other splits: {said}; name splits train and test in the manifest and `features relabel` the store."


def _own_folds(data: FeatureSet, rows: np.ndarray, names: list[str], where: str) -> Iterator[Split]:
    for fold, name in enumerate(names):
        others = np.isin(data.splits[rows], ["train", *(other for other in names if other != name)])
        if others.sum() < 2:
            raise DataError(
                f"{where}: {others.sum()} training videos besides the split {name!r}, and two or more are needed: name other "
                f"splits fold1, fold2, ... or train"
            )
        yield Split(fold, rows[others], rows[data.splits[rows] == name])


def _cut(train_rows: np.ndarray, folds: int | str, where: str) -> Iterator[Split]:
    if folds == LEAVE_ONE_OUT:
        if len(train_rows) < FEWEST_LEFT_OUT:
            raise SettingsError(
                f"--folds {folds}: {where} has {len(train_rows)} training videos, and leave-one-out needs {FEWEST_LEFT_OUT} or more: two to "
                f"train, one to test"
            )
        yield from _rounds(train_rows, np.arange(len(train_rows)), len(train_rows))
        return
    folds, most = int(folds), len(train_rows) // 2
    if not 2 <= folds <= most:
        counts = "2 folds" if most == 2 else f"2 to {most} folds"
        possible = f"{counts}, each with two test videos or more" if most >= 2 else "too few for folds"
        possible += (
            f". For one video at a time: --folds {LEAVE_ONE_OUT}" if folds >= len(train_rows) >= FEWEST_LEFT_OUT else ""
        )
        raise SettingsError(f"--folds {folds}: {where} has {len(train_rows)} training videos: {possible}")
    parts = np.array_split(np.random.RandomState(0).permutation(len(train_rows)), folds)
    fold_of = np.zeros(len(train_rows), int)
    for fold, held_out in enumerate(parts):
        fold_of[held_out] = fold
    yield from _rounds(train_rows, fold_of, folds)


def _cut_groups(data: FeatureSet, train_rows: np.ndarray, folds: int | str, group: str, where: str) -> Iterator[Split]:
    values = groups_of(data, train_rows, group)
    number = len(set(values))
    folds = number if folds == GROUPS else int(folds)
    if not 2 <= folds <= number:
        raise SettingsError(
            f"--folds {folds} --group {group}: {where} has {number} of {group}, for 2 to {number} folds"
        )
    yield from _rounds(train_rows, fold_of_groups(values, folds), folds)


def _rounds(train_rows: np.ndarray, fold_of: np.ndarray, folds: int) -> Iterator[Split]:
    for fold in range(folds):
        yield Split(fold, train_rows[fold_of != fold], train_rows[fold_of == fold])


def groups_of(data: FeatureSet, rows: np.ndarray, group: str) -> np.ndarray:
    """Which one of a group each video is of, object `(rows,)`. Raises `DataError` where one is unknown."""
    remedy = f"put it into the column group_{group} of the manifest and `features relabel` the store"
    if group not in data.groups:
        raise DataError(f"--group {group}: no video has a group {group!r}{there_are(group, data.groups)}; {remedy}")
    values = data.groups[group][rows]
    unknown = [data.video_ids[row] for row in rows[values == ""]]
    if unknown:
        raise DataError(
            f"--group {group}: of {len(unknown)} of {len(rows)} videos it is unknown which {group} they are of "
            f"({', '.join(unknown[:3])}{', ...' if len(unknown) > 3 else ''}); {remedy}"
        )
    return values


def fold_of_groups(values: np.ndarray, folds: int) -> np.ndarray:
    """Fold of each video, int `(videos,)`: no group is in two folds, and folds have about equal numbers of videos.

    Groups in the order of a permutation by numpy's legacy generator with seed 0, sorted by their number of videos, the largest first; each goes
    to the fold that has the fewest videos so far, the first of such.
    """
    names, index, counts = np.unique(values.astype(str), return_inverse=True, return_counts=True)
    order = np.random.RandomState(0).permutation(len(names))
    fold_of, sizes = np.zeros(len(names), int), np.zeros(folds, int)
    for name in order[np.argsort(-counts[order], kind="stable")]:
        fold_of[name] = sizes.argmin()
        sizes[fold_of[name]] += counts[name]
    return fold_of[index]


def training_rows(data: FeatureSet, category: str, score: str) -> np.ndarray:
    """The training split; without one, videos of no split or of the dataset's own folds. A video of any other split was meant to stay out of
    training."""
    train_rows = data.rows(split="train", category=category or None, score=score)
    if len(train_rows):
        return train_rows
    rows = data.rows(category=category or None, score=score)
    return rows[[not name or name.startswith(OWN_FOLD) for name in data.splits[rows]]]


def labelled_rows(data: FeatureSet, category: str, score: str, folds: int) -> np.ndarray:
    """The videos that train or test a model of `splits`, the same for all folds: the range of their labels is that of R-l2. Empty
    where the store has no such splits."""
    if folds:
        return training_rows(data, category, score)
    try:
        return next(splits(data, category, score, 0)).rows
    except DataError:
        return np.zeros(0, int)
