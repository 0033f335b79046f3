"""How sure a figure is: 95% intervals by the bootstrap, and methods compared over the same resamples.

Intervals are BCa (Efron, JASA 1987; acceleration by the jackknife), of the figure that the table shows: the test videos, or their groups, are
drawn again, and the trained models stay. So an interval says how far the figure may be from that of many more videos of the same kind. It
does not say what other training videos or seeds would change.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import ndtr, ndtri, stdtrit

from longtake.train.errors import DataError
from longtake.train.resampling import CORRELATIONS, FIGURES, RESAMPLES, Draws, Key, ScoredVideos, average

LEVEL = 0.95
FEW = 30
"""Fewer test videos than this rank no methods: the interval of a correlation of 0.7 is wider than 0.4."""
FEWEST = 8
"""Of fewer videos, or groups where these are drawn, there is no interval: it would be too narrow by far."""
UNDEFINED = 0.05
"""Where a larger share of the resamples has no figure, the others are no fair sample, and there is no interval."""
ALL: Key = ("average", "")


@dataclass(frozen=True)
class Interval:
    """nan, both ends, where there are too few videos or groups, or the figure is undefined or the same in all resamples."""

    low: float
    high: float

    def __bool__(self) -> bool:
        return bool(np.isfinite(self.low) and np.isfinite(self.high))


NONE = Interval(float("nan"), float("nan"))


@dataclass(frozen=True, eq=False)
class Spread:
    """A figure of the sample, of its resamples, and of the sample without each part."""

    point: float
    drawn: np.ndarray
    without: np.ndarray
    stratum: np.ndarray
    """int, of each entry of `without`."""
    enough: bool
    """Whether there are as many videos or groups as an interval needs."""
    expanded: bool
    """Whether t replaces the normal distribution. Without it, intervals of means and of few groups are too narrow (simulated: 10 groups cover
    0.88 in place of 0.95, with it 0.94; errors of 15 videos 0.90 and 0.93); those of rank correlations of videos are right as they are."""

    def minus(self, other: Spread) -> Spread:
        """The difference of two figures of the same draws."""
        return replace(
            self,
            point=self.point - other.point,
            drawn=self.drawn - other.drawn,
            without=self.without - other.without,
            enough=self.enough and other.enough,
        )

    @property
    def interval(self) -> Interval:
        drawn = self.drawn[np.isfinite(self.drawn)]
        if not self.enough or not np.isfinite(self.point) or len(drawn) < (1 - UNDEFINED) * len(self.drawn):
            return NONE
        if np.ptp(drawn) < 1e-12:
            return NONE
        z = self._quantiles()
        below = (np.mean(drawn < self.point - 1e-12) + np.mean(drawn <= self.point + 1e-12)) / 2
        bias, acceleration = ndtri(below), self._acceleration()
        shares = ndtr(bias + (bias + z) / (1 - acceleration * (bias + z)))
        if not np.isfinite(shares).all():
            return NONE
        low, high = np.quantile(drawn, shares)
        return Interval(float(low), float(high))

    def _quantiles(self) -> np.ndarray:
        """Hesterberg, The American Statistician 2015, section 5: t, and the deviation of so many units by n - 1 in place of n."""
        shares = np.array([(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        if not self.expanded:
            return np.asarray(ndtri(shares))
        number = len(self.stratum)
        free = number - len(np.unique(self.stratum))
        return np.asarray(np.sqrt(number / free) * stdtrit(free, shares))

    def _acceleration(self) -> float:
        """Of several strata: Davison and Hinkley 1997, equation 5.24 and section 5.4."""
        cubes = squares = 0.0
        for stratum in np.unique(self.stratum):
            values = self.without[self.stratum == stratum]
            influence = (len(values) - 1) * (values.mean() - values) / len(values)
            cubes, squares = cubes + float((influence**3).sum()), squares + float((influence**2).sum())
        return cubes / (6 * squares**1.5) if squares > 1e-24 else 0.0


def spreads(tests: Sequence[ScoredVideos], figure: str = "spearman", draws: Draws | None = None) -> dict[Key, Spread]:
    """Of a table's rows and, where there are several, of their average (`ALL`). `figure` is one of `FIGURES`. Give `draws` to compute several
    figures or methods from the same resamples."""
    draws = draws or Draws.of(tests)
    values = draws.values(tests, figure)
    counts = [len({name for test in tests if test.key == key for name in test.video_ids}) for key in values]
    found = {key: spread(row, draws, figure, [key]) for key, row in values.items()}
    if len(values) > 1:
        found[ALL] = spread(average(list(values.values()), figure, counts), draws, figure, list(values))
    return found


def spread(values: np.ndarray, draws: Draws, figure: str, keys: Sequence[Key]) -> Spread:
    """Of the values of a row of the table, or of the average over several, as `Draws.values` gives them."""
    end = 1 + draws.resamples
    mine = np.isin(draws.stratum, [draws.of_key[key] for key in keys])
    enough = min(draws.num_units[key] for key in keys) >= FEWEST
    expanded = figure not in CORRELATIONS or draws.grouped
    return Spread(float(values[0]), values[1:end], values[end:][mine], draws.stratum[mine], enough, expanded)


def intervals(
    tests: Sequence[ScoredVideos], figures: Sequence[str] = tuple(FIGURES), draws: Draws | None = None
) -> dict[Key, dict[str, Interval]]:
    """Row of a table, or `ALL` for their average -> figure -> its interval."""
    draws = draws or Draws.of(tests)
    found: dict[Key, dict[str, Interval]] = {}
    for figure in figures:
        for key, spread in spreads(tests, figure, draws).items():
            found.setdefault(key, {})[figure] = spread.interval
    return found


@dataclass(frozen=True)
class Standing:
    """One of several methods on the same test videos."""

    method: str
    value: float
    interval: Interval
    difference: float
    """Of the value to that of the reference."""
    difference_interval: Interval
    p: float
    """Two-sided, that the difference is chance, from the same resamples; no smaller than one over their number."""
    rank: int
    """1 is the best; methods of equal value share it."""
    rank_low: int
    """With `rank_high`: the ranks that the test videos cannot exclude."""
    rank_high: int


def paired(
    methods: Mapping[str, Sequence[ScoredVideos]],
    figure: str = "spearman",
    reference: str | None = None,
    resamples: int = RESAMPLES,
) -> dict[Key, list[Standing]]:
    """Methods that scored the same test videos, by the same resamples; for each row of their table and the average, in the order of `methods`.

    `reference` is the method that differences are to, the best one of the row where none is named. A rank's interval has the methods that
    are surely better or worse taken off: 95% confidence for all comparisons of a method at once (Mogstad, Romano, Shaikh and Wilhelm,
    Review of Economic Studies 2024, section 3). Raises `DataError` for methods that were not tested on the same videos.
    """
    require_same_videos(methods)
    draws = Draws.of([test for tests in methods.values() for test in tests], resamples)
    of_methods = {name: spreads(tests, figure, draws) for name, tests in methods.items()}
    names = list(of_methods)
    found = {}
    for key in of_methods[names[0]]:
        rows = {name: of_methods[name][key] for name in names}
        sign = 1 if figure in CORRELATIONS else -1
        values = {name: sign * row.point for name, row in rows.items() if np.isfinite(row.point)}
        against = reference or max(values, key=lambda name: values[name], default=names[0])
        low, high = _ranks([rows[name] for name in names], sign)
        found[key] = [
            _standing(name, rows[name], rows[against], _rank(name, values, len(names)), low[place], high[place])
            for place, name in enumerate(names)
        ]
    return found


def _standing(name: str, mine: Spread, other: Spread, rank: int, low: int, high: int) -> Standing:
    gap = mine.minus(other)
    return Standing(name, mine.point, mine.interval, gap.point, gap.interval, chance(gap), rank, low, high)


def _rank(name: str, values: Mapping[str, float], last: int) -> int:
    """A method without a value is last."""
    return 1 + sum(value > values[name] for value in values.values()) if name in values else last


def chance(gap: Spread) -> float:
    """Two-sided p of a difference; nan where it is undefined, or of too few videos or groups."""
    drawn = gap.drawn[np.isfinite(gap.drawn)]
    if not gap.enough or not np.isfinite(gap.point) or len(drawn) < (1 - UNDEFINED) * len(gap.drawn):
        return float("nan")
    p = 2 * min(float(np.mean(drawn <= 1e-12)), float(np.mean(drawn >= -1e-12)))
    return float(np.clip(p, 1 / len(gap.drawn), 1.0))


def _ranks(rows: Sequence[Spread], sign: int) -> tuple[list[int], list[int]]:
    """Lowest and highest rank of each method."""
    number, low, high = len(rows), [], []
    points, drawn = np.array([row.point for row in rows]) * sign, np.stack([row.drawn for row in rows]) * sign
    for mine in range(number):
        gaps, moved = points - points[mine], drawn - drawn[mine]
        known = (
            np.isfinite(gaps) & (np.isfinite(moved).mean(1) >= 1 - UNDEFINED) & np.array([row.enough for row in rows])
        )
        known[mine] = False
        deviation = np.zeros(number)
        deviation[known] = np.nanstd(moved[known], axis=1)
        known &= deviation > 1e-12
        if not known.any() or not rows[mine].enough:
            low.append(1)
            high.append(number)
            continue
        ratio = np.abs(moved[known] - gaps[known, None]) / deviation[known, None]
        limit = np.nanquantile(np.nanmax(ratio, axis=0), LEVEL)
        surely = gaps[known] / deviation[known]
        low.append(1 + int((surely > limit).sum()))
        high.append(number - int((surely < -limit).sum()))
    return low, high


def require_same_videos(methods: Mapping[str, Sequence[ScoredVideos]]) -> None:
    """Raises `DataError` where the methods were not tested on the same videos, or on other true scores of them."""
    first, *others = methods
    mine = _true(methods[first])
    for other in others:
        theirs = _true(methods[other])
        if mine.keys() != theirs.keys():
            raise DataError(f"{other} and {first} were not tested on the same videos, scores and folds")
        different = [name for name, value in mine.items() if abs(theirs[name] - value) > ROUNDING]
        if different:
            shown = ", ".join(sorted(video for *_, video in different)[:3])
            raise DataError(
                f"{other} and {first} were tested on other true scores of {len(different)} videos ({shown})"
            )


ROUNDING = 1e-4
"""Of scores in a run's table."""


def _true(tests: Sequence[ScoredVideos]) -> dict[tuple[Key, str, str], float]:
    return {
        (test.key, test.fold, video): float(value) for test in tests for video, value in zip(test.video_ids, test.true)
    }


def few_note(num_videos: int) -> str:
    """The mark of a test set that is too small; empty for others."""
    return f"{num_videos} test videos: too few to rank methods" if num_videos < FEW else ""
