"""The figures for papers, drawn from plain numbers by matplotlib, without a display."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from longtake.train.runs.plots.style import COLOURS, DASHES, MARKERS, PALE, SHADES, WIDTHS

ACROSS = {1: 2, 2: 4}
"""Columns of a page -> the most panels in a row."""
LETTERS = 14
"""Of a title in an inch."""
GREY = "#888888"
WARNING = "#cc3311"
QUERY_LOOKS = (("#0077bb", "D"), ("#222222", "o"), ("#b35900", "s"))
"""Colour and shape of each kind of queries."""


@dataclass(frozen=True)
class Scatter:
    """Predicted against true scores of one run, category and score."""

    title: str
    note: str
    """Its figures, in the corner."""
    true: np.ndarray
    predicted: np.ndarray


@dataclass(frozen=True)
class Strip:
    """Where the grades looked in one video."""

    title: str
    edges: np.ndarray
    """Of its clips, one more than clips."""
    by_grade: np.ndarray
    """`(grades, clips)`, worst first; each row sums to 1."""
    unit: str
    """Of the edges: seconds, or clips."""


@dataclass(frozen=True)
class Cloud:
    """Patterns in two dimensions."""

    title: str
    points: np.ndarray
    """`(n, 2)`."""
    groups: np.ndarray
    names: tuple[str, ...]
    axes: str


@dataclass(frozen=True)
class Space:
    """Clips and queries in two dimensions."""

    title: str
    clips: np.ndarray
    """`(n, 2)`."""
    clusters: np.ndarray
    """Of the clips, `(n,)`."""
    centres: np.ndarray
    """Of the clusters, `(clusters, 2)`."""
    queries: Mapping[str, np.ndarray]
    """Name -> `(queries, 2)`, from the worst grade to the best."""
    axes: str


@dataclass(frozen=True)
class Standing:
    """A row of a leaderboard; nan where it has no interval."""

    name: str
    value: float
    low: float
    high: float
    note: str = ""


def scatter(panels: Sequence[Scatter], columns: int) -> Figure:
    """Square panels of equal axes, with the line on which scores agree."""
    across = min(len(panels), ACROSS[columns])
    down = math.ceil(len(panels) / across)
    size = WIDTHS[columns] / across
    titles = [_title(panel.title, size) for panel in panels]
    lines = max(title.count("\n") for title in titles)
    figure = _figure(WIDTHS[columns], down * (size + 0.2 + 0.12 * lines) + 0.2)
    for axes, panel, title in zip(figure.subplots(down, across, squeeze=False).flat, panels, titles):
        both = np.concatenate([panel.true, panel.predicted])
        low, high = float(both.min()), float(both.max())
        margin = 0.06 * (high - low or 1.0)
        limits = low - margin, high + margin
        axes.plot(limits, limits, color=GREY, linewidth=0.6, zorder=1)
        axes.scatter(panel.true, panel.predicted, s=9, color=COLOURS[0], alpha=0.65, linewidths=0, zorder=2)
        axes.set(xlim=limits, ylim=limits, title=title)
        axes.set_box_aspect(1)
        axes.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
        axes.set_yticks([tick for tick in axes.get_xticks() if limits[0] <= tick <= limits[1]])
        axes.set_xticks(axes.get_yticks())
        axes.text(0.03, 0.97, panel.note, transform=axes.transAxes, va="top", fontsize=6)
    _hide_rest(figure, len(panels))
    figure.supxlabel("score of the judges", fontsize=7)
    figure.supylabel("predicted score", fontsize=7)
    return figure


def curves(panels: Mapping[str, Mapping[str, Mapping[str, Sequence[Mapping[int, float]]]]], columns: int) -> Figure:
    """Title -> what is measured -> run -> epoch -> value of each of its models: thin lines are models, thick ones their mean."""
    names = list(dict.fromkeys(name for kinds in panels.values() for name in kinds))
    width = WIDTHS[columns]
    figure = _figure(width, len(panels) * max(width / len(names) * 0.72, 1.3) + 0.25)
    grid = figure.subplots(len(panels), len(names), squeeze=False)
    runs = list(dict.fromkeys(run for kinds in panels.values() for lines in kinds.values() for run in lines))
    for row, (title, kinds) in zip(grid, panels.items()):
        for axes, name in zip(row, names):
            for run, models in kinds.get(name, {}).items():
                index = runs.index(run)
                colour, dash = COLOURS[index % len(COLOURS)], DASHES[index % len(DASHES)]
                epochs = sorted(set.intersection(*(set(line) for line in models)))
                mark = "." if len(epochs) == 1 else None
                for line in models if len(models) > 1 else ():
                    axes.plot(list(line), list(line.values()), color=colour, linewidth=0.5, alpha=0.35)
                mean = [np.mean([line[epoch] for line in models]) for epoch in epochs]
                axes.plot(epochs, mean, color=colour, linestyle=dash, label=run, marker=mark)
            axes.set(title=_title(title, width / len(names)), xlabel="epoch", ylabel=name)
            axes.locator_params(axis="x", integer=True)
    if len(runs) > 1:
        lines, labels = _legend_of(grid)
        figure.legend(lines, labels, ncols=min(len(runs), 2 * columns), loc="outside lower center")
    return figure


def attention(strips: Sequence[Strip], columns: int) -> Figure:
    """A strip for each grade over the time of a video, the best grade on top (QGVL, Figs. 6 and 7)."""
    grades = max(len(strip.by_grade) for strip in strips)
    figure = _figure(WIDTHS[columns], len(strips) * (0.5 + 0.14 * grades) + 0.4)
    grid = figure.subplots(len(strips), 1, squeeze=False)[:, 0]
    largest = max(float(strip.by_grade.max()) for strip in strips)
    for axes, strip in zip(grid, strips):
        count = len(strip.by_grade)
        drawn = axes.pcolormesh(
            strip.edges,
            np.arange(count + 1),
            100 * strip.by_grade,
            cmap=SHADES,
            vmin=0,
            vmax=100 * largest,
            linewidth=0,
        )
        names = [str(index + 1) for index in range(count)]
        names[0], names[-1] = f"{names[0]} worst", f"{names[-1]} best"
        axes.set(xlabel=strip.unit, ylabel="grade")
        axes.set_title(strip.title, loc="left", fontsize=6.5)
        axes.set_yticks(np.arange(count) + 0.5, names)
        axes.tick_params(axis="y", length=0)
    figure.colorbar(drawn, ax=list(grid), label="attention, %", fraction=0.05, pad=0.02)
    return figure


def embedding(panels: Sequence[Cloud | Space], columns: int) -> Figure:
    """Patterns by their grade, with the mean of each grade; or clips by their cluster, with its centre and the queries, numbered by grade."""
    across = min(len(panels), ACROSS[columns])
    down = math.ceil(len(panels) / across)
    size = WIDTHS[columns] / across
    figure = _figure(WIDTHS[columns], down * (size + 0.4) + 0.5)
    grid = figure.subplots(down, across, squeeze=False)
    for axes, panel in zip(grid.flat, panels):
        if isinstance(panel, Cloud):
            _draw_cloud(axes, panel)
        else:
            _draw_space(axes, panel)
        axes.set(xticks=[], yticks=[], title=_title(panel.title, size), xlabel=panel.axes)
        axes.spines[["top", "right"]].set_visible(True)
        axes.set_box_aspect(1)
    _hide_rest(figure, len(panels))
    points, labels = _legend_of(grid)
    figure.legend(points, labels, ncols=min(len(labels), 2 * columns), loc="outside lower center", columnspacing=1)
    return figure


def _draw_cloud(axes: Any, panel: Cloud) -> None:
    for index, name in enumerate(panel.names):
        mine = panel.points[panel.groups == index]
        colour = COLOURS[index % len(COLOURS)]
        look: dict[str, Any] = {"color": colour, "marker": MARKERS[index % len(MARKERS)], "linewidths": 0}
        axes.scatter(*mine.T, s=8, alpha=0.6, label=name, **look)
        axes.scatter(*mine.mean(axis=0), s=45, color=colour, marker="X", edgecolors="white", linewidths=0.6, zorder=3)


def _draw_space(axes: Any, panel: Space) -> None:
    for index in np.unique(panel.clusters):
        look: dict[str, Any] = {"color": PALE[index % len(PALE)], "marker": MARKERS[index % len(MARKERS)]}
        name = f"clips, cluster {index + 1}"
        axes.scatter(*panel.clips[panel.clusters == index].T, s=6, linewidths=0, label=name, **look)
    axes.scatter(
        *panel.centres.T, s=32, marker="x", color=WARNING, linewidths=1.4, zorder=3, label="centres of clusters"
    )
    for (name, points), (colour, shape) in zip(panel.queries.items(), QUERY_LOOKS):
        axes.scatter(
            *points.T, s=26, color=colour, marker=shape, edgecolors="white", linewidths=0.5, zorder=4, label=name
        )
        for number, point in enumerate(points, 1):
            axes.annotate(
                str(number),
                point,
                (3, 2),
                textcoords="offset points",
                fontsize=6,
                color=colour,
                fontweight="bold",
                zorder=5,
            )


def leaderboard(tables: Mapping[str, Sequence[Standing]], label: str, columns: int) -> Figure:
    """Title -> rows: figures with their 95% intervals, the first row on top. All tables have one scale."""
    counts = [len(rows) for rows in tables.values()]
    titles = [_title(title, WIDTHS[columns]) for title in tables]
    lines = sum(title.count("\n") + 1 for title in titles)
    figure = _figure(WIDTHS[columns], 0.18 * sum(counts) + 0.15 * (len(counts) + lines) + 0.3)
    grid = figure.subplots(len(counts), 1, squeeze=False, sharex=True, height_ratios=[count + 0.5 for count in counts])[
        :, 0
    ]
    for axes, title, rows in zip(grid, titles, tables.values()):
        places = np.arange(len(rows))[::-1]
        for row, place in zip(rows, places):
            if math.isfinite(row.low):
                axes.plot([row.low, row.high], [place, place], color=COLOURS[0], linewidth=1.4, solid_capstyle="butt")
            axes.plot(row.value, place, marker="o", markersize=3.2, color=COLOURS[0])
        axes.set_yticks(places, [row.name + (f" ({row.note})" if row.note else "") for row in rows])
        axes.set(title=title, ylim=(-0.7, len(rows) - 0.3))
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x", color="#dddddd", linewidth=0.5)
        axes.set_axisbelow(True)
    grid[-1].set_xlabel(label)
    return figure


def mark(figure: Figure, text: str) -> None:
    """What a reader must know of the numbers, above all panels."""
    if text:
        figure.suptitle(text, fontsize=6.5, color=WARNING, fontweight="bold")


def _title(text: str, inches: float) -> str:
    """In lines that fit above a panel; what is behind the third one is left out."""
    return textwrap.fill(text, max(int(inches * LETTERS), 8), max_lines=3, placeholder=" …")


def _figure(width: float, height: float) -> Figure:
    return Figure(figsize=(width, height), layout="constrained")


def _hide_rest(figure: Figure, count: int) -> None:
    for axes in figure.axes[count:]:
        axes.set_visible(False)


def _legend_of(grid: np.ndarray) -> tuple[list[Any], list[str]]:
    """Each name once, over all panels."""
    found: dict[str, Any] = {}
    for axes in grid.flat:
        for artist, name in zip(*axes.get_legend_handles_labels()):
            found.setdefault(name, artist)
    return list(found.values()), list(found)
