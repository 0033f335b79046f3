"""Runs in one table, and in one with what papers have published for the same dataset.

`papers.csv` holds the published rows as they are printed, with paper and table. Their figures are of the epoch that was best on the
test videos, and of other splits where a run was cross-validated: the table says which is which.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from longtake.train.errors import DataError
from longtake.train.protocol.significance import Difference, Group, difference
from longtake.train.protocol.summary import AVERAGE
from longtake.train.protocol.unified import UNIFIED
from longtake.train.runs.records import METRICS, read_metrics, read_run
from longtake.train.runs.tables import by_video, read_predictions, text_table

PAPERS = Path(__file__).with_name("papers.csv")
FORMATS = {"text": "simple", "markdown": "github", "latex": "latex_booktabs", "html": "html"}
COLUMNS = ("spearman", "mse", "relative_l2")
Figures = dict[tuple[str, str], float]
"""(category, score) -> value."""


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

    def to_dict(self) -> dict[str, object]:
        """For JSON: category and score as one name."""
        return {
            name: {" ".join(filter(None, key)): one for key, one in value.items()} if isinstance(value, dict) else value
            for name, value in vars(self).items()
        }


def line_of(folder: Path) -> tuple[str, Line]:
    """(dataset, line) of a run. Raises `DataError`."""
    metrics, config = read_run(folder)
    marks = [
        "last epoch",
        config.options.fold_rule,
        "RANDOM weights" if metrics.random_weights else "",
        metrics.unfinished,
    ]
    figures: dict[str, Figures] = {
        name: {
            (row.category, row.score): value for row in metrics.rows if not math.isnan(value := getattr(row, column))
        }
        for name, column in {**dict(zip(COLUMNS, COLUMNS)), "deviation": "spearman_deviation"}.items()
    }
    source = ", ".join(filter(None, marks))
    return metrics.dataset, Line(f"{metrics.head} ({folder.name})", config.features.backbone, source, **figures)


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


def format_lines(lines: Sequence[Line], form: str, method: str = "method") -> str:
    """Spearman / MSE for every category and score that any line has, the average last; and R-l2 where a paper prints it instead. `method`
    is the name of the first column."""
    keys = list(dict.fromkeys(key for line in reversed(lines) for key in (*line.spearman, *line.mse)))
    with_l2 = any(line.relative_l2 and not line.mse for line in lines)
    keys.sort(key=lambda key: key[0] == AVERAGE)
    table = []
    for line in lines:
        cells = [line.method, line.features]
        for key in keys:
            rho, mse = line.spearman.get(key), line.mse.get(key)
            spread = f" ± {line.deviation[key]:.3f}" if key in line.deviation else ""
            both = [f"{rho:.3f}{spread}" if rho is not None else "", f"{mse:.2f}" if mse is not None else ""]
            if with_l2:
                l2 = line.relative_l2.get(key)
                both.append("" if l2 is None else f"{l2:.3f}")
            cells.append(" / ".join(one or "-" for one in both) if any(both) else "")
        table.append([*cells, line.source] if line.source else cells)
    names = [" ".join(part for part in key if part) for key in keys]
    figures = "rho / MSE / R-l2 x100" if with_l2 else "rho / MSE"
    headers = [method, "features", *(f"{name} {figures}" for name in names), "figures of"]
    headers = headers[: max(map(len, table), default=0)]
    return text_table(headers, table, FORMATS[form])


def format_difference(one: Difference) -> str:
    interval = f"[{one.spearman_low:+.3f}, {one.spearman_high:+.3f}], p {one.spearman_p:.3g}"
    rho = "undefined" if math.isnan(one.spearman) else f"{one.spearman:+.3f} {interval}"
    return (
        f"{Path(one.run).name} against {Path(one.against).name}, {one.num_videos} videos: rho {rho}; "
        f"squared error x {one.mse_ratio:.2f}, p {one.error_p:.3g}"
    )


def compare_pair(run: Path, against: Path) -> Difference:
    """Raises `DataError` when the two were not tested on the same videos of the same folds."""
    of_all = _scores_of_all(run) | _scores_of_all(against)
    return difference(str(run), str(against), _predictions(run, of_all), _predictions(against, of_all))


def _scores_of_all(folder: Path) -> set[str]:
    """Scores with one model for the videos of all categories."""
    if not (folder / METRICS).exists():
        return set()
    return {model.score for model in read_metrics(folder).models if not model.category}


def _predictions(folder: Path, of_all: set[str]) -> dict[Group, dict[str, tuple[float, float]]]:
    """Of each group, averaged over seeds; `of_all` are the scores of which one model serves all categories."""
    return by_video(
        read_predictions(folder), lambda row: ("" if row.score in of_all else row.category, row.score, row.fold)
    )
