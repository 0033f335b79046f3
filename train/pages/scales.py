"""Where a score is on its range, for the figure next to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from longtake.train.pages.facts import RoutineScore


@dataclass(frozen=True)
class Range:
    """All places are shares of the length of the figure."""

    low: float
    """In judges' units, the left end."""
    high: float
    stated: bool
    """Whether the ends are those that scores can have; else they are those of the routines shown."""
    score: float
    interval: tuple[float, float] | None
    """Left end and width."""
    known: Sequence[float]
    judges: float | None


def range_of(score: RoutineScore, shown_with: Sequence[RoutineScore] = ()) -> Range | None:
    """None where there is no score, or nothing to compare it with. `shown_with` are scores of the same name on the page, which get the same ends."""
    if score.predicted is None:
        return None
    values = [value for one in (score, *shown_with) for value in _values(one)]
    if score.limits is None and len(set(values)) < 2:
        return None
    low, high = score.limits or (min(values), max(values))
    # A head may leave the range that scores can have.
    low, high = min(low, *values), max(high, *values)

    def at(value: float) -> float:
        return (value - low) / (high - low)

    interval = (at(score.interval.low), at(score.interval.high) - at(score.interval.low)) if score.interval else None
    return Range(
        low, high, score.limits == (low, high), at(score.predicted), interval,
        sorted({round(at(one.judges), 4) for one in score.others}),
        None if score.judges is None else at(score.judges),
    )  # fmt: skip


def _values(score: RoutineScore) -> list[float]:
    """All that the figure shows."""
    ends = [score.interval.low, score.interval.high] if score.interval else []
    own = [value for value in (score.predicted, score.judges) if value is not None]
    return [*own, *ends, *(one.judges for one in score.others)]
