"""What the figures of a routine mean, in sentences for readers without training in statistics."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from longtake.train.pages.facts import KnownRoutine, Routine, RoutineScore
from longtake.train.pages.strips import clock

FEW = 30
"""Fewer known routines than this say little."""
EVEN = 0.4
"""Where this share of the clips has half of the attention, it is nearly even."""
MOST_MOMENTS = 6


NOTHING = 0.0005
"""Scores nearer to 0 are 0.00: a reader who trains or judges does not read 5e-05."""


def points(value: float) -> str:
    """A score: two digits after the point, more for small scales."""
    if abs(value) < NOTHING:
        return "0.00"
    return f"{value:.2g}" if abs(value) < 0.1 else f"{value:.2f}"


def grade_name(index: int, count: int) -> str:
    end = " (weakest)" if index == 0 else " (strongest)" if index == count - 1 else ""
    return f"grade {index + 1} of {count}{end}"


def expected(score: RoutineScore) -> str:
    """Where the judges' score is expected."""
    if score.interval is None:
        why = f": {score.why_no_interval}" if score.why_no_interval else ""
        return f"How far the judges may be from it is unknown{why}."
    one = score.interval
    text = (
        f"The judges' score is expected between {points(one.low)} and {points(one.high)}: "
        f"this is meant to be right for {in_ten(one.level)} such routines"
    )
    if one.coverage is not None:
        text += f", and was for {one.coverage:.0%}" + (f" of the {len(score.known)} known ones" if score.known else "")
    return text + "."


def in_ten(share: float) -> str:
    return f"{share * 10:.0f} of 10" if abs(share * 10 - round(share * 10)) < 1e-9 else f"{share * 100:g} of 100"


def place(score: RoutineScore) -> str:
    """The rank among the known routines, by their judges' scores."""
    others = score.others
    if not others or score.predicted is None:
        return ""
    judged, total = [one.judges for one in others], len(others) + 1
    text = f"Among the {len(others)} other known routines and this one, it would be in place {_rank(judged, score.predicted)} of {total}"
    if score.interval is not None:
        best, worst = _rank(judged, score.interval.high), _rank(judged, score.interval.low)
        text += f"; by the expected range, in any place from {best} to {worst}" if best < worst else ""
    return text + "." + (f" They are few: {few(len(others))}." if len(others) < FEW else "")


def few(count: int) -> str:
    return f"with {count} routines, a place says little"


def _rank(judged: Sequence[float], score: float) -> int:
    return 1 + sum(one > score for one in judged)


def grades(score: RoutineScore) -> str:
    """The grades that count most, in a sentence."""
    if not len(score.grades):
        return ""
    order = sorted(range(len(score.grades)), key=lambda index: -score.grades[index])
    said = [f"{grade_name(index, len(score.grades))} ({score.grades[index]:.0%})" for index in order[:2]]
    return f"The model finds most of {said[0]}" + (f", then of {said[1]}." if len(said) > 1 else ".")


def agreement(known: Sequence[KnownRoutine]) -> str:
    """How often the heads order two routines as the judges do."""
    right = pairs_right(known)
    if right is None:
        return ""
    typical = float(np.median([abs(one.judges - one.predicted) for one in known]))
    mark = f" These are few (n={len(known)}): the true figures may be far from it." if len(known) < FEW else ""
    return (
        f"Of two routines that it has not learnt from, it puts the better one first in {right * 100:.0f} of 100 cases (chance: 50), "
        f"and half of its scores are within {points(typical)} of the judges'; measured on {len(known)} routines.{mark}"
    )


def pairs_right(known: Sequence[KnownRoutine]) -> float | None:
    """The share of pairs with different judges' scores whose order is right, with equal predictions as half; None where there is no pair."""
    judges, predicted = (np.array([getattr(one, name) for one in known]) for name in ("judges", "predicted"))
    first, second = np.array(list(combinations(range(len(known)), 2)), int).reshape(-1, 2).T
    differ = judges[first] != judges[second]
    if not differ.any():
        return None
    signs = np.sign(judges[first] - judges[second]) * np.sign(predicted[first] - predicted[second])
    return float(((signs[differ] + 1) / 2).mean())


def looked(routine: Routine, score: RoutineScore) -> str:
    """Where the attention is, in a sentence; empty for a head without."""
    if not len(score.shares):
        return ""
    shares = np.sort(np.array(score.shares, float))[::-1]
    number = int(np.searchsorted(np.cumsum(shares), shares.sum() / 2) + 1)
    part = number / len(shares)
    if part > EVEN:
        return "It looked at all parts of the routine about equally, so the strip says little."
    if not routine.times:
        return f"Half of its attention went to {number} of {len(shares)} clips."
    length = routine.times[-1][1] - routine.times[0][0]
    if length < 60:
        return f"Half of its attention went to {part * length:.0f} of {length:.0f} seconds."
    return f"Half of its attention went to {clock(part * length)} of {clock(length)} minutes."


def moments(score: RoutineScore, most: int = MOST_MOMENTS) -> list[int]:
    """Indices of the clips with the most attention, none next to another, in order of time."""
    chosen: list[int] = []
    for index in np.argsort(-np.array(score.shares, float), kind="stable").tolist():
        if len(chosen) < most and score.shares[index] > 0 and all(abs(index - one) > 1 for one in chosen):
            chosen.append(index)
    return sorted(chosen)


def when(routine: Routine, clip: int) -> str:
    """The time of a clip, or its number where times are unknown."""
    if not routine.times:
        return f"clip {clip + 1}"
    start, end = routine.times[clip]
    return f"{clock(start)} to {clock(end)}" if clock(start) != clock(end) else clock(start)


def versus(one: Routine, other: Routine) -> list[str]:
    """What can be said of the scores that two routines share."""
    found = []
    theirs = {score.name: score for score in other.scores}
    for mine in one.scores:
        second = theirs.get(mine.name)
        if second is None or mine.predicted is None or second.predicted is None:
            continue
        gap = mine.predicted - second.predicted
        better, worse = (one, other) if gap >= 0 else (other, one)
        text = f"{mine.name}: {better.name} is {points(abs(gap))} above {worse.name}."
        if mine.interval is None or second.interval is None:
            text += " Whether that is more than chance is unknown."
        elif mine.interval.low > second.interval.high or second.interval.low > mine.interval.high:
            text += " Their expected ranges are apart: judges would probably agree about the order."
        else:
            text += " Their expected ranges overlap: judges may see it the other way round."
        found.append(text)
    return found
