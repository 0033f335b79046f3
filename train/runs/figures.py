"""Figures of a report, as SVG that takes its text colour and font from the page around it. Drawn by matplotlib, without a display."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from io import StringIO
from textwrap import fill
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.style import context

INK = "#010203"
"""A colour that no figure uses for data; it becomes the page's own text colour."""
COLOURS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#bbbbbb")
"""Paul Tol's bright scheme, which people with colour-blindness can tell apart, and which is clear on white and on black."""
TITLE_LETTERS = 40
"""Of a line of a title."""
STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "longtake",
    "font.family": "sans-serif",
    "font.size": 9,
    "text.color": INK,
    # A `$` in a name of the user's is a `$`.
    "text.parse_math": False,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "legend.fontsize": 8,
}


def scatter(title: str, true: np.ndarray, predicted: np.ndarray, unit: str) -> str:
    """Predicted against true scores, with the line on which they agree."""
    with context(STYLE):
        figure, axes = _figure(3.4, 3.0, title, f"true, {unit}", f"predicted, {unit}")
        both = np.concatenate([true, predicted])
        low, high = float(both.min()), float(both.max())
        margin = 0.05 * (high - low or 1.0)
        limits = low - margin, high + margin
        axes.plot(limits, limits, color=INK, linewidth=0.8, alpha=0.4)
        axes.scatter(true, predicted, s=16, color=COLOURS[0], alpha=0.7, linewidths=0)
        axes.set(xlim=limits, ylim=limits)
        return _svg(figure, f"{title}: predicted against true scores of {len(true)} videos")


def curves(title: str, label: str, lines: Mapping[str, Mapping[int, float]]) -> str:
    """One line per model over epochs: epoch -> value."""
    with context(STYLE):
        figure, axes = _figure(3.4, 3.0, title, "epoch", label)
        for index, (name, line) in enumerate(lines.items()):
            mark, colour = "." if len(line) == 1 else None, COLOURS[index % len(COLOURS)]
            axes.plot(list(line), list(line.values()), color=colour, linewidth=1.2, label=name, marker=mark)
        if 1 < len(lines) <= len(COLOURS):
            axes.legend()
        return _svg(figure, f"{title} over epochs")


def embedding(title: str, points: np.ndarray, groups: np.ndarray, names: Sequence[str], explained: float) -> str:
    """Grade patterns `(n, 2)` with their grade, on their first two principal components (QGVL, Fig. 5, uses t-SNE)."""
    with context(STYLE):
        figure, axes = _figure(3.4, 3.0, title, f"principal components, {explained:.0%} of the variance", "")
        for index, name in enumerate(names):
            mine = points[groups == index]
            axes.scatter(
                mine[:, 0], mine[:, 1], s=12, alpha=0.7, color=COLOURS[index % len(COLOURS)], linewidths=0, label=name
            )
        axes.set(xticks=[], yticks=[])
        axes.legend()
        return _svg(figure, f"{title}: patterns of {len(names)} grades")


def _figure(width: float, height: float, title: str, x: str, y: str) -> tuple[Any, Any]:
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot()
    axes.set(xlabel=x, ylabel=y)
    # Long names are wrapped: the page has no room beyond the figure.
    axes.set_title(fill(title, TITLE_LETTERS))
    return figure, axes


def _svg(figure: Figure, description: str) -> str:
    """One `<svg>` element that fills the width it is given."""
    file = StringIO()
    figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None, "Title": description})
    text = file.getvalue()
    text = text[text.index("<svg") :].replace(INK, "currentColor")
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.S)
    # Names of groups repeat from figure to figure, and nothing refers to them; the page's font has other names.
    text = re.sub(r'<g id="[^"]*"', "<g", text)
    text = re.sub(r"font-family: [^;\"]*; ?", "", text)
    return re.sub(r'<svg ([^>]*?)(?: ?width="[^"]*"| ?height="[^"]*")([^>]*?)(?: ?width="[^"]*"| ?height="[^"]*")',
                  r'<svg role="img" \1\2', text, count=1)  # fmt: skip
