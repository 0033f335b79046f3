r"""Tables as papers have them: booktabs, a column for each metric, the best figure of a block in bold, names of methods, a caption."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from longtake.errors import printable
from longtake.train.heads import TABLE
from longtake.train.runs.compare import (
    FIGURES,
    Intervals,
    Line,
    columns_of,
    method_names,
    shown_figures,
    with_own_averages,
)
from longtake.train.runs.tables import shown_error, shown_interval
from longtake.train.uncertainty import FEW

METRICS = {
    "spearman": (r"$\rho$", True),
    "within": (r"$\rho_g$", True),
    "within_group": (r"$\rho_g$", True),
    "mse": ("MSE", False),
    "relative_l2": (r"R-$\ell_2$", False),
}
"""Metric -> its name, and whether higher is better."""
INSIDE = r"$\rho_g$: inside groups, such as events."
WIDE = 4
"""More columns of figures than this go over both columns of a page."""
_SPECIAL = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%", "_": r"\_",
    "^": r"\textasciicircum{}", "~": r"\textasciitilde{}", "<": r"\textless{}", ">": r"\textgreater{}",
    # At the beginning of a row, these would be options of the line before.
    "[": "{[}", "]": "{]}", "*": "{*}",
}  # fmt: skip


@dataclass(frozen=True)
class Value:
    """A figure of a table; the intervals and deviations of those without any are empty."""

    number: float
    text: str
    deviation: str = ""
    interval: str = ""
    few: bool = False


@dataclass(frozen=True)
class Entry:
    """A row of a table."""

    names: tuple[str, ...]
    values: Mapping[tuple[str, str], Value]
    """(column, metric) -> its figure."""
    block: str
    """Rows of one block have figures of one kind, and lines between blocks; the best is that of its block."""
    remark: str = ""
    """A mark after its name, in mathematics."""
    comment: str = ""
    """In the file alone."""


@dataclass(frozen=True)
class Paper:
    """A whole table."""

    headers: tuple[str, ...]
    """Of the names of a row."""
    columns: tuple[str, ...]
    metrics: tuple[str, ...]
    entries: tuple[Entry, ...]
    caption: str
    """LaTeX."""
    label: str


def escaped(text: str) -> str:
    """Untrusted text as LaTeX that prints it."""
    return "".join(_SPECIAL.get(one, one) for one in printable(text))


def method_name(head: str) -> str:
    """As papers write it: `core` is CoRe, `m-bert` is M-BERT."""
    name = TABLE.get(head, "").rpartition(":")[2]
    if name.lower() != head.replace("-", ""):
        return head.upper() if head in TABLE else head
    letters = iter(name)
    return "".join(one if one == "-" else next(letters) for one in head)


def latex_table(paper: Paper) -> str:
    r"""A `table`, or `table*` where it is wide. The document needs \usepackage{booktabs}."""
    names, metrics = len(paper.headers), paper.metrics
    count = len(paper.columns) * len(metrics)
    kind = "table*" if count > WIDE else "table"
    best = {key: text for key, text in _best(paper.entries)}
    lines = [
        r"% \usepackage{booktabs}",
        rf"\begin{{{kind}}}[t]",
        r"\centering\small" if count <= WIDE else r"\centering\footnotesize\setlength{\tabcolsep}{3pt}",
        rf"\caption{{{paper.caption}}}",
        rf"\label{{tab:{re.sub('[^A-Za-z0-9:-]', '-', paper.label)}}}",
        rf"\begin{{tabular}}{{{'l' * names}{'r' * count}}}",
        r"\toprule",
        *_headers(paper, names),
        r"\midrule",
    ]
    before = paper.entries[0].block if paper.entries else ""
    for entry in paper.entries:
        if entry.block != before:
            lines.append(r"\midrule")
            before = entry.block
        lines += _rows(paper, entry, best)
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", rf"\end{{{kind}}}"])


def _headers(paper: Paper, names: int) -> Iterator[str]:
    arrows = [f"{METRICS[name][0]} $\\{'uparrow' if METRICS[name][1] else 'downarrow'}$" for name in paper.metrics]
    first, span = [escaped(name) for name in paper.headers], len(paper.metrics)
    columns = [escaped(name) for name in paper.columns]
    if not any(columns):
        yield _joined([*first, *arrows])
    elif span == 1:
        yield _joined([*first, *columns])
    else:
        yield _joined([*[""] * names, *(rf"\multicolumn{{{span}}}{{c}}{{{name}}}" for name in columns)])
        starts = [names + 1 + index * span for index in range(len(columns))]
        yield "".join(rf"\cmidrule(lr){{{start}-{start + span - 1}}}" for start in starts)
        yield _joined([*first, *arrows * len(columns)])


def _rows(paper: Paper, entry: Entry, best: Mapping[tuple[str, str, str], str]) -> Iterator[str]:
    keys = [(column, metric) for column in paper.columns for metric in paper.metrics]
    found = [entry.values.get(key) for key in keys]
    cells = [_shown(value, best.get((entry.block, *key)) if value else None) for key, value in zip(keys, found)]
    first, *others = [escaped(name) for name in entry.names]
    mark = rf"$^{{{entry.remark}}}$" if entry.remark else ""
    comment = f" % {' '.join(printable(entry.comment).split())}" if entry.comment else ""
    yield _joined([first + mark, *others, *cells]) + comment
    intervals = [rf"\tiny{{{value.interval}}}" if value and value.interval else "" for value in found]
    if any(intervals):
        # Braces keep the bracket from being the optional argument of the line before.
        yield _joined([*["{}"] * min(len(entry.names), 1), *[""] * (len(entry.names) - 1), *intervals])


def _shown(value: Value | None, best: str | None) -> str:
    if value is None:
        return ""
    text = value.text.replace("-", "$-$", 1) if value.text.startswith("-") else value.text
    text = rf"\textbf{{{text}}}" if value.text == best else text
    text += rf"\tiny{{ $\pm$ {value.deviation}}}" if value.deviation else ""
    return text + (r"$^{\dagger}$" if value.few else "")


def _joined(cells: Sequence[str]) -> str:
    return " & ".join(cells) + r" \\"


def _best(entries: Sequence[Entry]) -> Iterator[tuple[tuple[str, str, str], str]]:
    """(block, column, metric) -> the best figure as it is printed, where there are several."""
    found: dict[tuple[str, str, str], list[Value]] = {}
    for entry in entries:
        for (column, metric), value in entry.values.items():
            if math.isfinite(value.number):
                found.setdefault((entry.block, column, metric), []).append(value)
    for key, values in found.items():
        if len(values) > 1:
            choose: Callable[..., Value] = max if METRICS[key[2]][1] else min
            yield key, choose(values, key=lambda value: value.number).text


PAPERS_BLOCK = "papers"


def latex_lines(lines: Sequence[Line], dataset: str, with_intervals: bool = True, metrics: Sequence[str] = ()) -> str:
    """Runs, and before them what papers print, as a table for a paper."""
    figures = shown_figures(lines, metrics)
    lines = with_own_averages(lines)
    names = method_names([_named(line) for line in lines])
    keys = columns_of(lines)
    one_score = len({score for _, score in keys if score}) == 1 and any(category for category, score in keys if score)
    columns = {key: " ".join(filter(None, (key[0], "" if one_score else key[1]))) for key in keys}
    if len(keys) == 1:
        columns = dict.fromkeys(keys, "")
    entries = [_entry(line, name, columns, figures, with_intervals) for line, name in zip(lines, names)]
    entries.sort(key=lambda entry: entry.block != PAPERS_BLOCK)
    few = any(value.few for entry in entries for value in entry.values.values())
    shown = any(value.interval for entry in entries for value in entry.values.values())
    if not any(entry.names[1] for entry in entries):
        entries = [Entry(entry.names[:1], entry.values, entry.block, entry.remark, entry.comment) for entry in entries]
    sentences = [
        f"{', '.join(METRICS[name][0] for name in figures)} on {escaped(dataset)}, after the last epoch.",
        "Figures of papers, in the upper block, are of the epoch that was best on the test videos." if entries[0].block == PAPERS_BLOCK else "",
        INSIDE if "within" in figures else "",
        "Bold: the best of its block." if len(entries) > 1 else "",
        "Brackets: 95\\% intervals (BCa bootstrap)." if shown else "",
        rf"$^{{\dagger}}$: fewer than {FEW} test videos." if few else "",
        "*: RANDOM weights, which say nothing of a method, or an unfinished run." if any(e.remark for e in entries) else "",
    ]  # fmt: skip
    headers = ("Method", "Features")[: len(entries[0].names)]
    caption = " ".join(filter(None, sentences))
    return latex_table(Paper(headers, tuple(columns.values()), figures, tuple(entries), caption, dataset))


def _named(line: Line) -> Line:
    return Line(line.method, line.features, "", head=method_name(line.head) if line.head else "", folder=line.folder)


def _entry(
    line: Line, name: str, columns: Mapping[tuple[str, str], str], figures: Sequence[str], with_intervals: bool
) -> Entry:
    values = {}
    for metric in figures:
        for key, column in columns.items():
            number = getattr(line, metric).get(key)
            if number is None:
                continue
            text = shown_error(number) if metric == "mse" else f"{number:.3f}"
            deviation = f"{line.deviation[key]:.3f}" if metric == "spearman" and key in line.deviation else ""
            limits: Intervals = getattr(line, f"{metric}_interval", {}) if with_intervals else {}
            digits = 2 if metric == "mse" else 3
            few = line.num_videos.get(key, FEW) < FEW and FIGURES[metric].startswith("rho")
            values[column, metric] = Value(number, text, deviation, shown_interval(limits.get(key), digits), few)
    doubtful = "RANDOM" in line.source or "UNFINISHED" in line.source
    block = "runs" if line.num_videos else PAPERS_BLOCK
    return Entry((name, line.features), values, block, "*" if doubtful else "", line.source)
