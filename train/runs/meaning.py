"""What a run's results mean, in two sentences for a reader who has no time."""

from __future__ import annotations

import math
from collections.abc import Sequence

from longtake.train.pages.facts import KnownRoutine
from longtake.train.pages.words import pairs_right
from longtake.train.protocol.options import BASELINE
from longtake.train.protocol.rows import AVERAGE, Row
from longtake.train.uncertainty import FEW, few_note


def meaning(head: str, rows: Sequence[Row], tested: Sequence[Sequence[KnownRoutine]]) -> list[str]:
    """`tested` are the test videos of each category and score. The first sentence says how often the order is right, the second compares with the
    baseline."""
    whole = next((row for row in reversed(rows) if row.category == AVERAGE), rows[-1] if rows else None)
    if whole is None or not tested:
        return ["No test video was scored, so nothing is known about this run.", ""]
    return [_order(head, whole, tested), _against_baseline(head, whole)]


def _order(head: str, row: Row, tested: Sequence[Sequence[KnownRoutine]]) -> str:
    shares = [share for share in map(pairs_right, tested) if share is not None]
    if not shares or math.isnan(row.spearman):
        return f"The order of the test videos by {head} cannot be judged: all scores, or all predictions, are equal."
    share = sum(shares) / len(shares)
    interval = row.intervals.get("spearman")
    ends = f", 95% interval {interval.low:.2f} to {interval.high:.2f}" if interval else ", without an interval"
    mark = f"; {few_note(row.num_tested)}" if row.num_tested < FEW else ""
    return (
        f"Of two test videos, {head} puts the better one first in {share * 100:.0f} of 100 cases (chance: 50): "
        f"rank correlation {row.spearman:.2f} (n={row.num_tested}{ends}{mark})."
    )


def _against_baseline(head: str, row: Row) -> str:
    floor = row.floor_spearman
    if head == BASELINE:
        return f"This is the baseline itself, {BASELINE} regression on the mean of each video's clips."
    if math.isnan(floor):
        return "It was not compared with a simple baseline, so it is unknown whether the head is needed."
    said = f"The simple baseline, {BASELINE} regression on the mean of each video's clips, has {floor:.2f}"
    interval = row.intervals.get("spearman")
    if not interval:
        return f"{said}; with so few test videos, nothing says which is better."
    if floor < interval.low:
        return f"{said}, which is below that interval: the head seems to see more than the mean."
    if floor > interval.high:
        return f"{said}, which is above that interval: on these videos, the baseline seems to be better."
    return f"{said}, which is inside that interval: these videos do not show that the head is better."
