"""Heat strips: attention over the time of a routine, a cell a clip, dark where there is much of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

MOST_CELLS = 480
"""Narrower cells would not be seen; clips that share a cell show the strongest of them."""
LAST_TICK = 0.88
"""Share of the axis behind which no mark begins: its text would be cut on a phone."""
FULL_HEAT = 4
"""Full colour is at least this many times the attention that each clip would have if all had the same."""
TICKS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200)
"""Distances of the marks of an axis that may be shown, in seconds."""


@dataclass(frozen=True)
class Cell:
    """Part of a strip; left and width as shares of the strip's length."""

    left: float
    width: float
    heat: float
    """0 to 1; 1 is the strongest clip of all rows where it stands out, see `FULL_HEAT`."""


@dataclass(frozen=True)
class Strip:
    """Rows of cells over one axis of time, or over clip numbers where times are unknown."""

    rows: Sequence[tuple[str, Sequence[Cell]]]
    """(name, cells)"""
    ticks: Sequence[tuple[float, str]]
    """(share of the length, text)"""
    start_seconds: float | None
    """Of the left end; None where times are unknown."""
    end_seconds: float | None
    label: str
    """What it shows, in one sentence."""


def strip(
    names: Sequence[str],
    rows: Sequence[Sequence[float]],
    times: Sequence[tuple[float, float]],
    label: str,
    num_ticks: int = 5,
) -> Strip:
    """`rows` are shares of attention over the clips, by `names`; `times` are their starts and ends, or empty where they are unknown."""
    values = np.array(rows, float)
    count = values.shape[1]
    spans = (
        np.array(times, float) if len(times) else np.stack([np.arange(count), np.arange(1, count + 1)], 1).astype(float)
    )
    first, last = float(spans[0, 0]), float(spans[:, 1].max())
    starts = spans[:, 0]
    # Clips may overlap or leave gaps: each counts until the next one begins.
    ends = np.minimum(spans[:, 1], np.append(starts[1:], last))
    # Where attention is nearly even, the strip is pale and even: no clip is dark for a small difference.
    highest = max(float(values.max()), FULL_HEAT * float(values.sum(axis=1).max()) / count) or 1.0
    shown = [(name, _cells(row / highest, starts, ends, first, last - first)) for name, row in zip(names, values)]
    if len(times):
        return Strip(shown, _clock_ticks(first, last, num_ticks), first, last, label)
    return Strip(shown, _clip_ticks(count, num_ticks), None, None, label)


def _cells(heat: np.ndarray, starts: np.ndarray, ends: np.ndarray, first: float, length: float) -> list[Cell]:
    groups = np.array_split(np.arange(len(heat)), min(len(heat), MOST_CELLS))
    return [
        Cell((starts[g[0]] - first) / length, (ends[g[-1]] - starts[g[0]]) / length, float(heat[g].max()))
        for g in groups
        if ends[g[-1]] > starts[g[0]]
    ]


def _clock_ticks(first: float, last: float, most: int) -> list[tuple[float, str]]:
    # Times that no video has, out of a damaged file, get no more ticks than others.
    step = next(
        (one for one in TICKS if (last - first) / one < most), TICKS[-1] * np.ceil((last - first) / TICKS[-1] / most)
    )
    at = np.arange(np.ceil(first / step) * step, last, step)
    # The end of the axis has no room for a text.
    return [((s - first) / (last - first), clock(s)) for s in at if (s - first) / (last - first) < LAST_TICK]


def _clip_ticks(count: int, most: int) -> list[tuple[float, str]]:
    step = next((one for one in (1, 2, 5, 10, 20, 50, 100, 200, 500) if count / one < most), 1000)
    numbers = [1, *range(step, count + 1, step)] if step > 1 else range(1, count + 1)
    return [((n - 1) / count, f"clip {n}" if n == 1 else str(n)) for n in numbers if (n - 1) / count < LAST_TICK]


def clock(seconds: float, digits: int = 0) -> str:
    """`1:05`, or `1:05.2`; hours where there are any."""
    whole = round(max(seconds, 0.0), digits)
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(int(minutes), 60)
    text = f"{rest:0{3 + digits if digits else 2}.{digits}f}"
    return f"{hours}:{minutes:02d}:{text}" if hours else f"{minutes}:{text}"
