"""Videos, their labels, the cuts into folds, and the measures of every experiment."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from longtake.features.labels import labels_of
from longtake.features.store import open_store
from longtake.manifests.table import find_manifest
from longtake.train.data.dataset import FeatureSet
from longtake.train.metrics import fisher_mean, spearman, within_groups

FOLDS = 5
SCORES = ("tes", "pcs")
KINDS_OF_ELEMENTS = 7


@dataclass(frozen=True)
class Videos:
    """The training videos of Fis-V, a row each."""

    clips: list[np.ndarray]
    """float32 `(clips, dim)` each."""
    scores: np.ndarray
    """float64 `(videos, 2)`: TES and PCS."""
    skaters: np.ndarray
    events: np.ndarray
    orders: list[list[int]]
    """Kinds of the elements of each, in order."""
    ids: tuple[str, ...]

    @property
    def count(self) -> int:
        return len(self.scores)

    @property
    def digest(self) -> str:
        """Of all that kernels and their cuts are made of."""
        found = hashlib.sha256(
            repr((self.ids, self.orders, self.skaters.tolist(), list(map(len, self.clips)))).encode()
        )
        for clips in self.clips:
            found.update(np.ascontiguousarray(clips).tobytes())
        return found.hexdigest()[:16]


def load(store: Path) -> Videos:
    with open_store(store) as opened:
        data = FeatureSet.load(opened, None)
    rows = data.rows(split="train")
    labels = labels_of(find_manifest("fisv"))
    columns = [labels.score_names.index(f"element{number + 1}") for number in range(KINDS_OF_ELEMENTS)]
    row_of = {video: row for row, video in enumerate(labels.video_ids)}
    ids = tuple(data.video_ids[row] for row in rows)
    clips = data.clips.take(rows)
    return Videos(
        [one.numpy() for one in clips.tensor.split(clips.num_clips.tolist())],
        np.stack([data.scores[name][rows] for name in SCORES], 1),
        data.groups["skater"][rows].astype(str),
        data.groups["event"][rows].astype(str),
        [[int(kind) for kind in labels.scores[row_of[video], columns]] for video in ids],
        ids,
    )


@dataclass(frozen=True)
class Cut:
    """One way to cut the videos into folds: `skater-0` is that of `--folds 5 --group skater`, `random-0` that of `--folds 5`."""

    name: str
    fold_of: np.ndarray

    def rounds(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Rows that train and rows that test."""
        for fold in range(self.fold_of.max() + 1):
            yield np.flatnonzero(self.fold_of != fold), np.flatnonzero(self.fold_of == fold)


def cut(videos: Videos, name: str) -> Cut:
    """`skater-SEED` or `random-SEED`."""
    kind, seed = name.split("-")
    if kind == "random":
        return Cut(name, random_folds(videos.count, FOLDS, int(seed)))
    return Cut(name, folds_of_groups(videos.skaters, FOLDS, int(seed)))


def random_folds(count: int, folds: int, seed: int) -> np.ndarray:
    fold_of = np.zeros(count, int)
    for fold, rows in enumerate(np.array_split(np.random.RandomState(seed).permutation(count), folds)):
        fold_of[rows] = fold
    return fold_of


def folds_of_groups(values: np.ndarray, folds: int, seed: int) -> np.ndarray:
    """As `longtake.train.protocol.splits.fold_of_groups`, from any seed."""
    names, index, counts = np.unique(values, return_inverse=True, return_counts=True)
    order = np.random.RandomState(seed).permutation(len(names))
    fold_of, sizes = np.zeros(len(names), int), np.zeros(folds, int)
    for name in order[np.argsort(-counts[order], kind="stable")]:
        fold_of[name] = sizes.argmin()
        sizes[fold_of[name]] += counts[name]
    return fold_of[index]


@dataclass(frozen=True)
class Figures:
    """Of predictions for all videos."""

    rho: float
    """Fisher's mean over folds, then over scores, as in the tables of `train heads`."""
    mse: float
    within: tuple[float, ...]
    """Mean Spearman inside events of five and more videos of all folds, of each score."""


def measure(videos: Videos, cut: Cut, predicted: np.ndarray) -> Figures:
    true, columns = videos.scores, range(len(SCORES))
    by_fold = [[spearman(true[test, one], predicted[test, one]) for _, test in cut.rounds()] for one in columns]
    within = [within_groups(true[:, one], predicted[:, one], videos.events).spearman for one in columns]
    return Figures(fisher_mean(map(fisher_mean, by_fold)), float(((true - predicted) ** 2).mean()), tuple(within))
