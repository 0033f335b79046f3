"""Runs side by side, and beside what papers have published for the same dataset.

`papers.csv` holds the published rows as they are printed, with paper and table. Their figures are of the epoch that was best on the
test videos, and of other splits where a run was cross-validated: the table says which is which.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tabulate import tabulate

from longtake.train.errors import DataError
from longtake.train.protocol.summary import AVERAGE, unfinished
from longtake.train.protocol.unified import UNIFIED

PAPERS = Path(__file__).with_name("papers.csv")
FORMATS = {"text": "simple", "markdown": "github", "latex": "latex_booktabs", "html": "html"}


@dataclass(frozen=True)
class Line:
    """One method's figures: (category, score) -> value. The average is under (`average`, empty)."""

    method: str
    features: str
    source: str
    """Where the figures are from, and of which epoch."""
    spearman: dict[tuple[str, str], float]
    mse: dict[tuple[str, str], float]
    deviation: dict[tuple[str, str], float] = field(default_factory=dict)
    """Of the rank correlation over seeds, where there are several."""
    relative_l2: dict[tuple[str, str], float] = field(default_factory=dict)
    """R-l2, times 100."""


def read_run(folder: Path) -> tuple[str, Line]:
    """(dataset, line) of a run. Raises `DataError`."""
    try:
        metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        rows = metrics["table"]
        keys = [(row["category"], row["score"]) for row in rows]
        spearman = {key: row["spearman"] for key, row in zip(keys, rows) if row["spearman"] is not None}
        deviation = {
            k: row["spearman_deviation"] for k, row in zip(keys, rows) if row["spearman_deviation"] is not None
        }
        mse = {key: row["mse"] for key, row in zip(keys, rows) if row["mse"] is not None}
        l2 = {key: row["relative_l2"] for key, row in zip(keys, rows) if row["relative_l2"] is not None}
        folds, random = config["options"]["folds"], metrics["random_weights"]
        marks = [
            "last epoch",
            f"{folds}-fold" if folds else "",
            "RANDOM weights" if random else "",
            unfinished(metrics),
        ]
        return metrics["dataset"], Line(
            f"{metrics['head']} ({folder.name})",
            config["features"]["backbone"],
            ", ".join(filter(None, marks)),
            spearman,
            mse,
            deviation,
            l2,
        )
    except OSError as error:
        raise DataError(
            f"{folder} is not a finished run of `train heads`: no {Path(error.filename).name} in it"
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        reason = f"no entry {error} in its files" if isinstance(error, KeyError) else str(error)
        raise DataError(f"{folder} is not a finished run of `train heads`: {reason}") from error


def read_runs(folder: Path) -> list[tuple[str, Line]]:
    """Every run in a folder, the newest last; what is not a finished run is passed over."""
    found = []
    for path in sorted(folder.glob("*/metrics.json"), key=lambda path: path.stat().st_mtime_ns):
        try:
            found.append(read_run(path.parent))
        except DataError:
            continue
    return found


def summary_of(line: Line) -> dict[str, float | None]:
    """The average row, or the only one."""
    key = (AVERAGE, "") if (AVERAGE, "") in line.mse else next(iter(line.mse), None)
    return {"spearman": line.spearman.get(key), "mse": line.mse.get(key)}


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
            line = lines.setdefault(name, Line(row["method"], row["features"], source, {}, {}))
            columns = {"spearman": line.spearman, "mse": line.mse, "relative_l2": line.relative_l2}
            for column, values in columns.items():
                if row[column]:
                    values[row["category"], row["score"]] = float(row[column])
    return list(lines.values())


def compare(runs: Sequence[Path], with_papers: bool) -> list[Line]:
    """Lines of the runs, and of the papers before them. Raises `DataError` for runs on different datasets."""
    found = [read_run(run) for run in runs]
    datasets = dict.fromkeys(dataset for dataset, _ in found)
    if len(datasets) > 1:
        raise DataError(f"these runs are on different datasets: {', '.join(datasets)}")
    published = published_lines(next(iter(datasets))) if with_papers else []
    if with_papers and not published:
        raise DataError(f"no paper's table is known for the dataset {next(iter(datasets))}")
    return [*published, *(line for _, line in found)]


def format_lines(lines: Sequence[Line], form: str) -> str:
    """Spearman / MSE for every category and score that any line has, the average last; and R-l2 where a paper prints it instead."""
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
        table.append([*cells, line.source])
    names = [" ".join(part for part in key if part) for key in keys]
    figures = "rho / MSE / R-l2 x100" if with_l2 else "rho / MSE"
    headers = ["method", "features", *(f"{name} {figures}" for name in names), "figures of"]
    return tabulate(table, headers, tablefmt=FORMATS[form], disable_numparse=True)
