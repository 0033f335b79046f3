"""Predictions as text and as CSV."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from longtake.files import write_whole
from longtake.safe_text import csv_text
from longtake.train.runs.calibration import Bounds
from longtake.train.runs.prediction import Moment, Prediction, Timeline, shown_bounds, shown_score
from longtake.train.runs.tables import RANDOM_NOTE, shown_error

UNKNOWN_TIMES = "When the clips were is unknown, so they are counted: import features with --fps, --clip-length and --clip-stride to see seconds."


def format_predictions(predictions: Sequence[Prediction]) -> str:
    """What `train predict` prints."""
    lines = []
    for one in predictions:
        spread = f" ± {shown_error(one.deviation)} over {one.num_heads} heads" if one.num_heads > 1 else ""
        score = f"{shown_score(one.predicted)}{shown_bounds(one.bounds)}{spread}"
        lines.append(f"{one.video_id}: {one.name} " + (f"no score: {one.abstained}" if one.abstained else score))
        if one.grades:
            lines.append("    grades from worst to best: " + ", ".join(f"{share:.2f}" for share in one.grades))
        if one.unmatched:
            lines.append("    no training video is known to be of its kind: it is compared with any")
        if one.moments:
            moments = ", ".join(f"{_when(one.timeline, moment)} ({moment.share:.0%})" for moment in one.moments)
            lines.append(f"    looked at most: {moments}")
        if one.learnt_by:
            which = "the heads" if one.learnt_by == one.num_heads else f"{one.learnt_by} of {one.num_heads} heads"
            lines.append(f"    {which} learnt from this video: the score says nothing about new ones")
    lines += list(dict.fromkeys(_interval_note(one, one.bounds) for one in predictions if one.bounds))
    lines += list(dict.fromkeys(f"no intervals: {one.unbounded}" for one in predictions if one.unbounded))
    if any(one.moments and not one.timeline.times_known for one in predictions):
        lines.append(UNKNOWN_TIMES)
    if any(one.random_weights for one in predictions):
        lines.append(RANDOM_NOTE)
    return "\n".join(lines)


def _when(timeline: Timeline, moment: Moment) -> str:
    """Clips are counted from 1, as on pages."""
    if not timeline.times_known:
        return f"clip {moment.clip + 1} of {len(timeline.start_seconds)}"
    digits = 1 if moment.end_seconds - moment.start_seconds >= 0.1 else 2  # of clips of one frame
    return f"{moment.start_seconds:.{digits}f}-{moment.end_seconds:.{digits}f} s"


def _interval_note(one: Prediction, bounds: Bounds) -> str:
    measured = "" if math.isnan(bounds.coverage) else f"; measured on the run's test videos: {bounds.coverage:.0%}"
    return f"[low, high] of {one.name} is to hold the judges' score of {bounds.level:.0%} of such videos{measured}."


def write_scores(path: Path, predictions: Sequence[Prediction]) -> None:
    """The scores of `train predict` as CSV, whose texts `longtake.safe_text.read_cell` reads back."""
    rows = []
    for one in predictions:
        deviation = "" if math.isnan(one.deviation) else f"{one.deviation:.6f}"
        score = "" if one.abstained else f"{one.predicted:.6f}"
        ends = [f"{one.bounds.low:.6f}", f"{one.bounds.high:.6f}"] if one.bounds else ["", ""]
        names = one.video_id, one.category, one.score
        learnt_by = "" if one.learnt_by is None else one.learnt_by
        rows.append([*names, score, deviation, one.num_heads, *ends, one.abstained, learnt_by])
    header = "video_id", "category", "score", "predicted", "deviation", "heads", "low", "high", "abstained", "learnt_by"
    write_whole(path, csv_text(header, rows))
