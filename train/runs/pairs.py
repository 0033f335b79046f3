"""Runs against each other, video by video, from their predictions. It needs no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from longtake.train.protocol.options import are_pooled
from longtake.train.protocol.significance import Difference, Prepared, difference, prepared
from longtake.train.resampling import Key
from longtake.train.runs.records import CONFIG, METRICS, read_config, read_metrics
from longtake.train.runs.tables import Predicted, by_video, read_predictions

MOST_KEPT = 256
"""Prepared runs that stay in memory."""


def compare_pair(run: Path, against: Path) -> Difference:
    """Raises `DataError` when the two were not tested on the same videos of the same folds."""
    return Pairs([run, against]).of(0, 1)


class Pairs:
    """Pairs of these runs. What each needs is computed once; so a pair more costs little."""

    def __init__(self, runs: Sequence[Path]) -> None:
        self.runs = runs
        self._drawn: list[Mapping[str, str]] = []
        self._prepared = lru_cache(maxsize=MOST_KEPT)(self._prepare)
        self._facts = lru_cache(maxsize=MOST_KEPT)(_facts)

    def of(self, run: int, against: int) -> Difference:
        """Of two by their places. Raises `DataError` as `compare_pair` does. Videos are drawn as the intervals of the first one have it."""
        (of_all, groups), (of_all_too, _) = (self._facts(self.runs[one]) for one in (run, against))
        if groups not in self._drawn:
            self._drawn.append(groups)
        how = of_all | of_all_too, self._drawn.index(groups)
        ours, theirs = (self._prepared(one, *how) for one in (run, against))
        return difference(str(self.runs[run]), str(self.runs[against]), ours, theirs)

    def _prepare(self, run: int, of_all: frozenset[str], drawn: int) -> Prepared:
        return prepared(_predictions(self.runs[run], of_all), self._drawn[drawn])


def _facts(folder: Path) -> tuple[frozenset[str], Mapping[str, str]]:
    """Scores with one model for the videos of all categories; and the group of each video, where the run's intervals are over groups."""
    if not (folder / METRICS).exists():
        return frozenset(), {}
    metrics = read_metrics(folder)
    of_all = frozenset(model.score for model in metrics.models if not model.category)
    group = metrics.group
    drawn = {row.video_id: row.groups.get(group, "") for row in read_predictions(folder)} if group else {}
    return of_all, drawn


def _predictions(folder: Path, of_all: frozenset[str]) -> dict[tuple[str, str, str], dict[str, tuple[float, float]]]:
    """Of each group, averaged over seeds; `of_all` are the scores of which one model serves all categories."""
    pooled = (folder / CONFIG).exists() and are_pooled(read_config(folder).options.folds)

    def group(row: Predicted) -> tuple[str, str, str]:
        category, score = _key(row, of_all)
        return category, score, "" if pooled else row.fold

    return by_video(read_predictions(folder), group)


def _key(row: Predicted, of_all: frozenset[str]) -> Key:
    return ("" if row.score in of_all else row.category, row.score)
