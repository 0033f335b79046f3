"""Runs in one table, and in one with what papers have published for the same dataset.

`papers.csv` holds the published rows as they are printed, with paper and table. Their figures are of the epoch that was best on the
test videos, and of other splits where a run was cross-validated: the table says which is which.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import zip_longest
from pathlib import Path
from typing import Any

from longtake.train.errors import DataError
from longtake.train.protocol.options import UNIFIED
from longtake.train.protocol.rows import AVERAGE
from longtake.train.protocol.significance import Difference
from longtake.train.runs.fitted import Cell, fitted_table, text_table
from longtake.train.runs.records import read_run
from longtake.train.runs.tables import few_mark, shown_error, shown_interval
from longtake.train.uncertainty import FEW, Interval

PAPERS = Path(__file__).with_name("papers.csv")
FORMATS = {"text": "simple", "markdown": "github", "html": "html"}
FIGURES = {"spearman": "rho", "mse": "MSE", "relative_l2": "R-l2 x100", "within": "rho inside groups"}
"""Of `--metrics` -> name in a table."""
COLUMNS = ("spearman", "mse", "relative_l2")
Figures = dict[tuple[str, str], float]
"""(category, score) -> value."""
Intervals = dict[tuple[str, str], Interval]


@dataclass(frozen=True)
class Line:
    """One method's figures. The average is under (`average`, empty)."""

    method: str
    features: str
    source: str
    """Where the figures are from, and of which epoch; empty in a table of figures of one kind."""
    spearman: Figures = field(default_factory=dict)
    mse: Figures = field(default_factory=dict)
    deviation: Figures = field(default_factory=dict)
    """Of the rank correlation over seeds, where there are several."""
    relative_l2: Figures = field(default_factory=dict)
    """R-l2, times 100."""
    spearman_interval: Intervals = field(default_factory=dict)
    """95%, of runs; a paper prints none."""
    mse_interval: Intervals = field(default_factory=dict)
    within: Figures = field(default_factory=dict)
    """Rank correlation inside groups, such as events, where videos have any."""
    num_videos: dict[tuple[str, str], int] = field(default_factory=dict)
    """Test videos of each figure; those of papers are not known here."""
    head: str = ""
    """Of a run."""
    folder: str = ""
    """The last part of its path."""

    def to_dict(self) -> dict[str, object]:
        """For JSON: category and score as one name."""
        return {
            name: {" ".join(filter(None, key)): _plain(one) for key, one in value.items()}
            if isinstance(value, dict)
            else value
            for name, value in vars(self).items()
        }

    @property
    def rows(self) -> frozenset[tuple[str, str]]:
        """What its average is over."""
        return frozenset(key for key in (*self.spearman, *self.mse) if key[0] != AVERAGE)

    def with_named_average(self, name: str) -> Line:
        """Its average under another name, so that it is in a column of its own."""
        renamed: dict[str, Any] = {
            one: {(name, "") if key == (AVERAGE, "") else key: figure for key, figure in value.items()}
            for one, value in vars(self).items()
            if isinstance(value, dict)
        }
        return replace(self, **renamed)


def _plain(value: object) -> object:
    return asdict(value) if isinstance(value, Interval) else value


def line_of(folder: Path) -> tuple[str, Line]:
    """(dataset, line) of a run. Raises `DataError`."""
    metrics, config = read_run(folder)
    marks = [
        "last epoch",
        config.options.fold_rule,
        "RANDOM weights" if metrics.random_weights else "",
        metrics.unfinished,
    ]
    figures: dict[str, Any] = {
        name: {
            (row.category, row.score): value for row in metrics.rows if not math.isnan(value := getattr(row, column))
        }
        for name, column in {
            **dict(zip(COLUMNS, COLUMNS)),
            "deviation": "spearman_deviation",
            "within": "within_spearman",
        }.items()
    }
    figures |= {
        f"{name}_interval": {
            (row.category, row.score): row.intervals[name] for row in metrics.rows if name in row.intervals
        }
        for name in ("spearman", "mse")
    }
    figures |= {"num_videos": {(row.category, row.score): row.num_tested for row in metrics.rows}}
    source = ", ".join(filter(None, marks))
    name = f"{metrics.head} ({folder.name})"
    line = Line(name, config.features.backbone, source, **figures, head=metrics.head, folder=folder.name)
    return metrics.dataset, line


def method_names(lines: Sequence[Line]) -> list[str]:
    """Short names for figures and papers: the head of a run, with what tells it from others of the same head; the method of a paper."""
    parts = [[line.head or line.method] for line in lines]
    for more in ("features", "folder"):
        alike = [[getattr(line, more) for line, other in zip(lines, parts) if other == mine] for mine in parts]
        parts = [
            [*mine, getattr(line, more)] if line.head and len(set(found)) > 1 else mine
            for line, mine, found in zip(lines, parts, alike)
        ]
    return [f"{name} ({', '.join(more)})" if more else name for name, *more in parts]


def published_lines(dataset: str) -> list[Line]:
    """What papers print for a dataset, in their order; empty for a dataset of no paper. A unified run, whose dataset is
    `A+B`, has the rows of the papers' unified models."""
    dataset = UNIFIED if "+" in dataset else dataset
    lines: dict[tuple[str, ...], Line] = {}
    with PAPERS.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row["dataset"] != dataset:
                continue
            name = row["method"], row["features"], row["paper"], row["table"]
            source = f"{row['paper']}, {row['table']}, best epoch on test"
            line = lines.setdefault(name, Line(row["method"], row["features"], source))
            for column in COLUMNS:
                if row[column]:
                    getattr(line, column)[row["category"], row["score"]] = float(row[column])
    return list(lines.values())


def compare(runs: Sequence[Path], with_papers: bool) -> list[Line]:
    """Lines of the runs, and of the papers before them. Raises `DataError` for runs on different datasets."""
    found = [line_of(run) for run in runs]
    datasets = dict.fromkeys(dataset for dataset, _ in found)
    if len(datasets) > 1:
        raise DataError(f"these runs are on different datasets: {', '.join(datasets)}")
    published = published_lines(next(iter(datasets))) if with_papers else []
    if with_papers and not published:
        raise DataError(f"no paper's table is known for the dataset {next(iter(datasets))}")
    return [*published, *(line for _, line in found)]


def with_own_averages(lines: Sequence[Line]) -> list[Line]:
    """The lines, where a run's average over other categories and scores than those of the table has a column of its own and says so: it is not
    to be compared with the others. The table's are the papers', or all that a run has."""
    published = [line for line in lines if not line.num_videos]
    whole = frozenset[tuple[str, str]]().union(*(line.rows for line in published or lines))

    def named(line: Line) -> Line:
        rows = line.rows
        if not any(score for _, score in whole):  # Of unified runs, papers have a column a dataset.
            rows = frozenset((name.partition(" ")[0], "") for name, _ in rows)
        if not line.num_videos or not whole or rows == whole:
            return line
        names = ", ".join(sorted(" ".join(filter(None, key)) for key in line.rows))
        return line.with_named_average(f"{AVERAGE} of {names} only")

    return [named(line) for line in lines]


def shown_figures(lines: Sequence[Line], asked: Sequence[str] = ()) -> tuple[str, ...]:
    """Those of `FIGURES` that a table has: those asked for; or correlation and error, R-l2 where a paper prints it instead, and the correlation
    inside groups where there is one. Raises `DataError` where no line has any that is asked for."""
    l2 = any(line.relative_l2 and not line.mse for line in lines)
    found = ["spearman", "mse", *(["relative_l2"] if l2 else []), *(["within"] if any(x.within for x in lines) else [])]
    if asked and not any(getattr(line, name) for line in lines for name in asked):
        raise DataError(f"no line of the table has {', '.join(asked)}; there are {', '.join(found)}")
    return tuple(asked or found)


def columns_of(lines: Sequence[Line]) -> list[tuple[str, str]]:
    """Category and score of each column, averages last."""
    keys = list(dict.fromkeys(key for line in reversed(lines) for key in (*line.spearman, *line.mse)))
    return sorted(keys, key=lambda key: (key[0].startswith(f"{AVERAGE} of "), key[0] == AVERAGE))


def format_lines(
    lines: Sequence[Line],
    form: str,
    method: str = "method",
    with_intervals: bool = True,
    metrics: Sequence[str] = (),
) -> str:
    """Figures of every category and score that any line has, the average last. `method` is the name of the first column. On a terminal, the
    table fits."""
    figures = shown_figures(lines, metrics)
    lines = with_own_averages(lines)
    headers, cells = _lines(lines, method, with_intervals, figures, tall=False)
    if form != "text":
        return text_table(headers, cells, FORMATS[form])
    _, tall = _lines(lines, method, with_intervals, figures, tall=True)
    narrow = [name.replace(" rho", "\nrho", 1) if " rho" in name else name for name in headers]
    return fitted_table(narrow, cells, tall)


def _lines(
    lines: Sequence[Line], method: str, with_intervals: bool, figures: Sequence[str], tall: bool
) -> tuple[list[str], list[list[Cell]]]:
    keys, columns = columns_of(lines), [name for name in figures if name != "within"]
    table = []
    for line in lines:
        cells: list[Cell] = [line.method, line.features]
        for key in keys if columns else []:
            values = [_figure(line, name, key) for name in columns]
            ends = [_interval(line, name, key) if with_intervals else "" for name in columns]
            cells.append(_cell(values, ends, few_mark(line.num_videos.get(key, FEW)), tall))
        if "within" in figures:
            found = line.within.get((AVERAGE, ""), next(iter(line.within.values()), None))
            cells.append("" if found is None else f"{found:.3f}")
        table.append([*cells, line.source] if line.source else cells)
    shown = " / ".join(FIGURES[name] for name in columns)
    headers = [method, "features", *(f"{' '.join(filter(None, key))} {shown}" for key in keys if columns)]
    headers += [*([FIGURES["within"]] if "within" in figures else []), "figures of"]
    headers = headers[: max(map(len, table), default=0)]
    return headers, [[*cells, *[""] * (len(headers) - len(cells))] for cells in table]


def _figure(line: Line, name: str, key: tuple[str, str]) -> str:
    value = getattr(line, name).get(key)
    if value is None:
        return ""
    spread = f" ± {line.deviation[key]:.3f}" if name == "spearman" and key in line.deviation else ""
    return shown_error(value) if name == "mse" else f"{value:.3f}{spread}"


def _interval(line: Line, name: str, key: tuple[str, str]) -> str:
    found: Intervals = getattr(line, f"{name}_interval", {})
    return shown_interval(found.get(key), 2 if name == "mse" else 3)


def _cell(figures: Sequence[str], intervals: Sequence[str], mark: str, tall: bool) -> Cell:
    """Figures of one column, with their intervals and the mark of few videos."""
    if not any(figures):
        return ""
    if tall:
        lines = (" / ".join(one or "-" for one in figures), " / ".join(filter(None, intervals)), mark)
        return tuple(filter(None, lines))
    pairs = [f"{one or '-'} {interval}".strip() for one, interval in zip_longest(figures, intervals, fillvalue="")]
    return " / ".join(pairs) + (f" ({mark})" if mark else "")


def format_difference(one: Difference) -> str:
    interval = f"[{one.spearman_low:+.3f}, {one.spearman_high:+.3f}], p {one.spearman_p:.3g}"
    if math.isnan(one.spearman_low):
        interval = "without an interval"
    rho = "undefined" if math.isnan(one.spearman) else f"{one.spearman:+.3f} {interval}"
    few = ", few" if one.num_videos < FEW else ""
    return (
        f"{Path(one.run).name} against {Path(one.against).name}, {one.num_videos} videos{few}: rho {rho}; "
        f"squared error x {one.mse_ratio:.2f}, p {one.error_p:.3g}"
    )
