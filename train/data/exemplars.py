"""Exemplars: the training videos that a video is compared with, and the only home of the rule that chooses them.

A video's candidates agree with it in a column of the manifest (`ExemplarRule`). A video with which no other training video agrees is
compared with any of them; such videos are counted, see `unmatched`. In training, one candidate is drawn at random; a tested video has
up to `voters` of them, those in the middles of equal parts of the candidates in the order of their scores, so that they are the same
each time and represent the whole range.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from longtake.errors import there_are
from longtake.train.data.dataset import FeatureSet
from longtake.train.errors import DataError
from longtake.train.heads.base import ANY, CATEGORY, ExemplarRule, Needs

MOST_COMPARED = 1000
"""Videos of a group whose differences are taken in pairs."""


@dataclass(frozen=True)
class ExemplarPool:
    """The training videos that may serve as exemplars, in groups that agree with each other."""

    needs: Needs
    """Of the head that compares."""
    data: FeatureSet
    rows: np.ndarray
    """int, `(pool,)`: rows of `data`."""
    targets01: np.ndarray
    """float, `(pool,)`."""
    groups: Mapping[str, np.ndarray]
    """What videos agree in -> their places in the pool, worst score first."""
    everyone: np.ndarray
    """All places in the pool, worst score first: for videos that fit no group."""

    @classmethod
    def of(cls, needs: Needs, data: FeatureSet, rows: np.ndarray, targets01: np.ndarray) -> ExemplarPool:
        """For a head that needs exemplars. Raises `DataError` when the data lack the rule's column."""
        rule = needs.exemplars
        assert rule is not None
        if rule.score is not None and rule.score not in data.scores:
            raise DataError(
                f"exemplars={rule.match} needs the score {rule.score!r}, which the store lacks{there_are(rule.score, data.scores)}; "
                f"exemplars={CATEGORY} and exemplars={ANY} do without"
            )
        ids = np.array(data.video_ids, dtype=object)[rows]
        order = np.lexsort((ids.astype(str), targets01))
        keys = np.array(agreement(rule, data, rows), dtype=object)[order]
        groups = {key: order[keys == key] for key in dict.fromkeys(keys.tolist()) if key is not None}
        return cls(needs, data, rows, np.asarray(targets01, float), groups, order)

    @property
    def rule(self) -> ExemplarRule:
        assert self.needs.exemplars is not None
        return self.needs.exemplars

    @property
    def scores(self) -> np.ndarray:
        """float32, `(pool, columns)`: the scores that the head needs."""
        return self.data.columns(self.rows, self.needs.columns)

    def differences(self, values: np.ndarray) -> np.ndarray:
        """Absolute differences of `values`, `(pool,)`, in all pairs that may be compared, in rising order; a group of more than
        `MOST_COMPARED` is represented by as many of its videos at even distances. Of all pairs, where no two videos agree."""
        groups = [group for group in self.groups.values() if len(group) > 1] or [self.everyone]
        found = []
        for group in groups:
            mine = some(np.sort(values[group]), MOST_COMPARED)
            found.append(np.subtract.outer(mine, mine)[np.tril_indices(len(mine), -1)])
        return np.sort(np.concatenate(found))

    def voting(self) -> ExemplarPool:
        """Only those that can vote: at most `voters` of each group and of all. It gives the scores that the whole pool does."""
        chosen = {key: some(group, self.rule.voters) for key, group in self.groups.items()}
        everyone = some(self.everyone, self.rule.voters)
        kept = np.unique(np.concatenate([everyone, *chosen.values()]))
        chosen = {key: np.searchsorted(kept, group) for key, group in chosen.items()}
        data = self.data.take(self.rows[kept])
        return ExemplarPool(
            self.needs, data, np.arange(len(kept)), self.targets01[kept], chosen, np.searchsorted(kept, everyone)
        )


@dataclass(frozen=True)
class Candidates:
    """A pool, and which of its videos each video of a data set may be compared with."""

    pool: ExemplarPool
    order: np.ndarray
    """int: places in the pool, group after group, then everyone."""
    first: np.ndarray
    """int, `(videos,)`: where in `order` a video's candidates begin."""
    count: np.ndarray
    """int, `(videos,)`: how many they are, the video itself included where it is among them."""
    own: np.ndarray
    """int, `(videos,)`: its place among them; `count` where it is not."""
    unmatched: np.ndarray
    """bool, `(videos,)`: no other training video agrees with it."""

    @classmethod
    def of(cls, pool: ExemplarPool, data: FeatureSet) -> Candidates:
        members = [*pool.groups.values(), pool.everyone]
        begins = np.cumsum([0, *map(len, members)])
        number = {key: index for index, key in enumerate(pool.groups)}
        ids = [pool.data.video_ids[row] for row in pool.rows]
        places = [{ids[place]: index for index, place in enumerate(group)} for group in members]
        keys = agreement(pool.rule, data, np.arange(len(data)))
        columns = np.zeros((4, len(data)), int)
        for row, (video_id, key) in enumerate(zip(data.video_ids, keys)):
            group = -1 if key is None else number.get(key, -1)
            # Where all training videos agree, a video of which nothing is known may well be one of them.
            unmatched = group < 0 and not (len(number) == 1 and not key)
            if group >= 0 and len(members[group]) == 1 and video_id in places[group]:
                group, unmatched = -1, True
            count = len(members[group])
            columns[:, row] = begins[group % len(members)], count, places[group].get(video_id, count), unmatched
        return cls(pool, np.concatenate(members), columns[0], columns[1], columns[2], columns[3].astype(bool))

    def draw(self, rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """One place in the pool for each row, `(rows, 1)`; the video itself only where the pool has no other."""
        own, count = self.own[rows], self.count[rows]
        others = np.maximum(count - (own < count), 1)
        drawn = np.minimum((rng.uniform(size=len(rows)) * others).astype(int), others - 1)
        drawn += (drawn >= own) & (count > 1)
        return self.order[self.first[rows] + drawn][:, None]

    def vote(self, rows: np.ndarray) -> np.ndarray:
        """Places in the pool, `(rows, voters)`; -1 where there are fewer candidates. The video itself is left out, as above."""
        own, count = self.own[rows], self.count[rows]
        others = count - (own < count)
        own = np.where(others == 0, count, own)[:, None]
        voters = np.arange(self.pool.rule.voters)
        chosen = evenly(np.maximum(others, 1)[:, None], len(voters))
        chosen = chosen + (chosen >= own)
        there = voters < np.maximum(others, 1)[:, None]
        return np.where(there, self.order[np.where(there, self.first[rows][:, None] + chosen, 0)], -1)


def evenly(count: int | np.ndarray, wanted: int) -> np.ndarray:
    """`wanted` of `count` places, `(..., wanted)`: the middles of as many equal parts; of fewer places, all in order."""
    places = np.arange(wanted)
    return np.where(np.asarray(count) > wanted, ((places + 0.5) * count / wanted).astype(int), places)


def some(places: np.ndarray, wanted: int) -> np.ndarray:
    """All of them, or `wanted` at even distances."""
    return places[evenly(len(places), min(wanted, len(places)))]


def agreement(rule: ExemplarRule, data: FeatureSet, rows: np.ndarray) -> list[str | None]:
    """The value of the rule's column for each row; None where there is none."""
    if rule.match == ANY:
        return [""] * len(rows)
    if rule.score is None:
        return [str(category) for category in data.categories[rows]]
    values = data.scores.get(rule.score, np.full(len(data), np.nan))
    return [None if np.isnan(value) else f"{value:.10g}" for value in values[rows]]


def describe_unmatched(match: str, unmatched: int, total: int, what: str) -> str:
    """For the user, where the rule does not fit all videos."""
    return f"{unmatched} of {total} {what} have a {match} that no other training video has; they are compared with any"
