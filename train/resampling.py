"""Figures of a table under resampling: the same numbers for many draws of the test videos at once.

A resample is a vector of weights, how often each video was drawn. All resamples are one matrix, and ties stay exact. Videos are drawn one by
one, or in groups where the test videos have groups: twenty videos of one skater say less than twenty of different ones (cluster bootstrap:
Davison and Hinkley 1997, section 3.8). `scipy.stats.bootstrap` knows no groups, draws the videos of several scores and categories
separately, and has scipy rank every resample again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from longtake.train.metrics import SMALLEST_GROUP

Key = tuple[str, str]
"""Category and score: a row of a table."""
RESAMPLES = 2000
_JACKKNIFE = 400
"""Most parts of the jackknife: of more units, several are left out at a time."""
_CELLS = 1_000_000
"""Resamples x videos that are computed at a time."""
_LIMIT = 1 - 1e-9


@dataclass(frozen=True, eq=False)
class ScoredVideos:
    """One model's test: the videos of a category and score by one seed, in one fold."""

    key: Key
    video_ids: Sequence[str]
    true: np.ndarray
    """`(videos,)`, in judges' units, as `predicted`."""
    predicted: np.ndarray
    label_range: float = float("nan")
    """Highest minus lowest label, for relative L2."""
    seed: int = 0
    fold: str = ""
    drawn: Sequence[str] = ()
    """The group that is drawn with each video. An empty name, or no names: the video is drawn by itself."""
    inside: Sequence[str] = ()
    """The group inside which the within-group correlation ranks each video."""

    @property
    def units(self) -> list[tuple[str, str]]:
        names = self.drawn or [""] * len(self.video_ids)
        return [("group", name) if name else ("video", video) for video, name in zip(self.video_ids, names)]


def over_folds(tests: Sequence[ScoredVideos]) -> list[ScoredVideos]:
    """One test for each row and seed, of the videos of all folds: to be ranked inside a group, of which few videos are in one fold."""
    rows: dict[tuple[Key, int], list[ScoredVideos]] = {}
    for test in tests:
        rows.setdefault((test.key, test.seed), []).append(test)
    return [
        replace(
            own[0],
            video_ids=[video for test in own for video in test.video_ids],
            true=np.concatenate([test.true for test in own]),
            predicted=np.concatenate([test.predicted for test in own]),
            fold="",
            drawn=[name for test in own for name in test.drawn],
            inside=[name for test in own for name in test.inside],
        )
        for own in rows.values()
    ]


@dataclass(frozen=True, eq=False)
class Draws:
    """What is drawn, and how often in each resample. Rows that share a video or group are drawn together; rows that share none, such as the
    categories of a dataset, separately, each with as many as it has."""

    weights: np.ndarray
    """uint16, `(1 + resamples + jackknife, units)`: the sample itself, the resamples, and the sample without each part."""
    place: Mapping[tuple[str, str], int]
    stratum: np.ndarray
    """int, `(jackknife,)`: which units a part is of."""
    of_key: Mapping[Key, int]
    """The stratum of a row."""
    num_units: Mapping[Key, int]
    """Different units of each row."""
    resamples: int

    @property
    def grouped(self) -> bool:
        return any(kind == "group" for kind, _ in self.place)

    @classmethod
    def of(cls, tests: Sequence[ScoredVideos], resamples: int = RESAMPLES, seed: int = 0) -> Draws:
        """The same tests and seed give the same draws, on every machine."""
        units_of: dict[Key, set[tuple[str, str]]] = {}
        for test in tests:
            units_of.setdefault(test.key, set()).update(test.units)
        names = sorted(set().union(*units_of.values()))
        place, keys = {name: index for index, name in enumerate(names)}, list(units_of)
        pairs = np.array([(row, place[unit]) for row, key in enumerate(keys) for unit in units_of[key]])
        size = len(keys) + len(names)
        links = coo_array((np.ones(len(pairs)), (pairs[:, 0], len(keys) + pairs[:, 1])), shape=(size, size))
        labels = connected_components(links, directed=False)[1]
        rng = np.random.default_rng(seed)
        drawn = np.zeros((resamples, len(names)), np.uint16)
        parts, strata = [], []
        for label in np.unique(labels):
            members = np.flatnonzero(labels[len(keys) :] == label)
            number = len(members)
            choice = rng.integers(0, number, (resamples, number)) + np.arange(resamples)[:, None] * number
            drawn[:, members] = np.bincount(choice.ravel(), minlength=resamples * number).reshape(resamples, number)
            for part in np.array_split(rng.permutation(members), min(number, _JACKKNIFE)):
                parts.append(part)
                strata.append(label)
        without = np.ones((len(parts), len(names)), np.uint16)
        for row, part in enumerate(parts):
            without[row, part] = 0
        return cls(
            np.concatenate([np.ones((1, len(names)), np.uint16), drawn, without]), place, np.array(strata),
            dict(zip(keys, labels.tolist())), {key: len(units) for key, units in units_of.items()}, resamples,
        )  # fmt: skip

    def values(self, tests: Sequence[ScoredVideos], figure: str) -> dict[Key, np.ndarray]:
        """Each row's figure under all weights, `(1 + resamples + jackknife,)`, as the table has it: a correlation is averaged through Fisher's
        z over folds, then over seeds, an error over both. A fold counts by how many of its videos were drawn. nan where it is undefined."""
        numbers = Counter(test.key for test in tests)
        seeds: dict[Key, dict[int, list[tuple[np.ndarray, np.ndarray]]]] = {}
        signs: dict[Key, set[float]] = {}
        for test in tests:
            found, mass = self._of_test(test, FIGURES[figure])
            if figure in CORRELATIONS and numbers[test.key] > 1:
                known = found[~np.isnan(found)]
                kinds = np.where(np.abs(known) < _LIMIT, 0.0, np.sign(known))
                signs.setdefault(test.key, set()).update(np.unique(kinds).tolist())
                found = _to_z(found, len(test.true))
            seeds.setdefault(test.key, {}).setdefault(test.seed, []).append((found, mass))
        averages = {}
        for key, of_seeds in seeds.items():
            means = np.stack([_mean(np.stack(v), np.stack(m)) for v, m in (zip(*pairs) for pairs in of_seeds.values())])
            mean = _mean(means, np.ones_like(means))
            averages[key] = mean
            if figure in CORRELATIONS and numbers[key] > 1:
                # Folds that are all ranked perfectly say nothing of how sure that is, though their z differ by their sizes.
                same = signs[key] in ({1.0}, {-1.0})
                averages[key] = np.tanh(np.where(np.isnan(mean), mean, mean[0]) if same else mean)
        return averages

    def _of_test(self, test: ScoredVideos, figure: Figure) -> tuple[np.ndarray, np.ndarray]:
        columns = np.array([self.place[unit] for unit in test.units])
        chunks = np.array_split(self.weights, -(-len(self.weights) * len(columns) // _CELLS))
        weights = (chunk[:, columns].astype(float) for chunk in chunks)
        found, totals = zip(*((figure(chunk, test), chunk.sum(1)) for chunk in weights))
        return np.concatenate(found), np.concatenate(totals) / len(columns)


def average(values: Sequence[np.ndarray], figure: str, num_videos: Sequence[int]) -> np.ndarray:
    """The average over rows, undefined where one of them is."""
    if figure not in CORRELATIONS:
        return np.mean(values, axis=0)
    return np.tanh(np.mean([_to_z(row, count) for row, count in zip(values, num_videos)], axis=0))


def _to_z(correlations: np.ndarray, num_videos: int) -> np.ndarray:
    """A perfect correlation is as far from 1 as in `longtake.train.metrics.fisher_mean`."""
    limit = min(1 - 6 / max(num_videos**3 - num_videos, 1), _LIMIT) if num_videos > 2 else 0.0
    perfect = np.abs(correlations) >= _LIMIT
    return np.arctanh(np.where(perfect, np.sign(correlations) * limit, correlations))


def _mean(values: np.ndarray, mass: np.ndarray) -> np.ndarray:
    """Over the first axis, of those that are defined."""
    mass = np.where(np.isnan(values), 0.0, mass)
    with np.errstate(invalid="ignore"):
        return np.asarray((np.nan_to_num(values) * mass).sum(0) / mass.sum(0))


def _ranks(weights: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Mean ranks in each resample, less their mean, `(resamples, videos)`. Equal values share theirs."""
    different, place = np.unique(values, return_inverse=True)
    order = np.argsort(place, kind="stable")
    starts = np.searchsorted(place[order], np.arange(len(different)))
    counts = np.add.reduceat(weights[:, order], starts, axis=1)
    last = np.cumsum(counts, axis=1)
    return np.asarray((last - counts / 2 - last[:, -1:] / 2)[:, place])


def _spearman(weights: np.ndarray, true: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    if not np.isfinite(predicted).all():
        return np.full(len(weights), np.nan)
    a, b = _ranks(weights, true), _ranks(weights, predicted)
    weighted = weights * a
    scale = (weighted * a).sum(1) * (weights * b * b).sum(1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(scale > 0, (weighted * b).sum(1) / np.sqrt(scale), np.nan))


def _within(weights: np.ndarray, test: ScoredVideos) -> np.ndarray:
    found, sizes = [], []
    names = np.array(test.inside or [""] * len(test.true))
    for name in np.unique(names):
        rows = np.flatnonzero(names == name)
        if name and len(rows) >= SMALLEST_GROUP:
            found.append(_spearman(weights[:, rows], test.true[rows], test.predicted[rows]))
            sizes.append(weights[:, rows].sum(1))
    return _mean(np.stack(found), np.stack(sizes)) if found else np.full(len(weights), np.nan)


def _squared_error(weights: np.ndarray, test: ScoredVideos) -> np.ndarray:
    with np.errstate(invalid="ignore"):
        return np.asarray(weights @ (test.predicted - test.true) ** 2 / weights.sum(1))


def _relative_l2(weights: np.ndarray, test: ScoredVideos) -> np.ndarray:
    scale = 100 / test.label_range**2 if test.label_range > 0 else float("nan")
    return _squared_error(weights, test) * scale


Figure = Callable[[np.ndarray, ScoredVideos], np.ndarray]
FIGURES: Mapping[str, Figure] = {
    "spearman": lambda weights, test: _spearman(weights, test.true, test.predicted),
    "within_group": _within,
    "mse": _squared_error,
    "relative_l2": _relative_l2,
}
"""Weights `(resamples, videos)` and a test -> `(resamples,)`."""
CORRELATIONS = ("spearman", "within_group")
"""Figures that are better when they are higher, and averaged through Fisher's z."""
