"""Tables of results, as text and as CSV."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from tabulate import tabulate

from longtake.errors import printable
from longtake.files import require_regular, write_whole
from longtake.manifests.table import GROUP_PREFIX
from longtake.safe_text import csv_text, in_markdown, read_cell
from longtake.train.data.dataset import FeatureSet
from longtake.train.errors import DataError
from longtake.train.protocol.options import BASELINE
from longtake.train.protocol.run import Result
from longtake.train.protocol.summary import Row

K = TypeVar("K", bound=Hashable)
RANDOM_NOTE = "Made from RANDOM backbone or text weights: these numbers say nothing about a method's quality."
PREDICTIONS = "predictions.csv"
COLUMNS = ("video_id", "category", "score", "seed", "fold", "control", "true", "predicted")
"""Of predictions.csv; after them a column `group_<name>` for each group of the labels, as in a manifest."""


@dataclass(frozen=True)
class Predicted:
    """A row of predictions.csv: a test video by one model."""

    video_id: str
    category: str
    score: str
    fold: str
    """Empty where there are no folds."""
    control: bool
    true: float
    predicted: float
    groups: Mapping[str, str] = field(default_factory=dict)
    """Name of a group -> which one; an unknown one has no entry."""


def write_predictions(folder: Path, data: FeatureSet, results: Sequence[Result]) -> None:
    """predictions.csv: a line for each test video of each model, in judges' units."""
    lines: list[list[object]] = []
    for result in results:
        rows, model = result.task.test_rows, result.model
        names = result.unit.scale.name, model.seed, model.fold, int(model.control)
        for row, true, predicted in zip(rows, result.task.scores(rows), result.fitted.predicted):
            groups = [values[row] for values in data.groups.values()]
            lines.append([data.video_ids[row], data.categories[row], *names, f"{true:g}", f"{predicted:.6f}", *groups])
    write_whole(folder / PREDICTIONS, csv_text([*COLUMNS, *(GROUP_PREFIX + name for name in data.groups)], lines))


def read_predictions(folder: Path) -> Iterator[Predicted]:
    """The lines of a run's predictions.csv, in order. Raises `DataError`, naming the line that cannot be read."""
    path = folder / PREDICTIONS
    reader = None
    try:
        with require_regular(path).open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            for row in reader:
                true, predicted = float(row["true"]), float(row["predicted"])
                if not (math.isfinite(true) and math.isfinite(predicted)):
                    raise ValueError("a score must be a finite number")
                control = row["control"] == "1"
                names = {name: read_cell(row[name]) for name in ("video_id", "category", "score", "fold")}
                groups = {
                    name.removeprefix(GROUP_PREFIX): read_cell(value)
                    for name, value in row.items()
                    if value and str(name).startswith(GROUP_PREFIX)
                }
                yield Predicted(**names, control=control, true=true, predicted=predicted, groups=groups)
    except FileNotFoundError as error:
        raise DataError(f"{folder} is not a finished run of `train heads`: no {PREDICTIONS} in it") from error
    except (OSError, KeyError, ValueError, TypeError, csv.Error) as error:
        where = f" in line {reader.line_num}" if reader else ""
        raise DataError(
            f"{folder} is not a finished run of `train heads`: {error!r}{where} of its {PREDICTIONS}"
        ) from error


def by_video(rows: Iterable[Predicted], group: Callable[[Predicted], K]) -> dict[K, dict[str, tuple[float, float]]]:
    """Group -> video -> true score, and the mean of those that all models but shuffled-label controls predict."""
    found: dict[K, dict[str, list[tuple[float, float]]]] = {}
    for row in rows:
        if not row.control:
            found.setdefault(group(row), {}).setdefault(row.video_id, []).append((row.true, row.predicted))
    return {
        key: {video: (pairs[0][0], float(np.mean([p for _, p in pairs]))) for video, pairs in videos.items()}
        for key, videos in found.items()
    }


def format_table(rows: Sequence[Row], form: str = "simple") -> str:
    """The table that `train heads` prints, in a format of tabulate; columns without a number are left out."""
    columns = {
        "category": [row.category for row in rows],
        "score": [row.score for row in rows],
        "train/test": [f"{row.num_train}/{row.num_test}" for row in rows],
        "Spearman": [_with_deviation(row) for row in rows],
        "MSE": [_number(row.mse, 2) for row in rows],
        "R-l2 x100": [_number(row.relative_l2, 2) for row in rows],
        "AIoU\n@0.5": [_number(row.aiou_50) for row in rows],
        "AIoU\n@0.75": [_number(row.aiou_75) for row in rows],
        "mean of seeds\nSpearman": [_number(row.ensemble_spearman) for row in rows],
        "mean of seeds\nMSE": [_number(row.ensemble_mse, 2) for row in rows],
        f"{BASELINE} floor\nSpearman": [_number(row.floor_spearman) for row in rows],
        f"{BASELINE} floor\nMSE": [_number(row.floor_mse, 2) for row in rows],
        "shuffled labels\nSpearman": [_number(row.control_spearman) for row in rows],
        "validation-\nselected": [_number(row.validation_selected) for row in rows],
        "best_on_test\n(as published;\noptimistic)": [_number(row.best_on_test) for row in rows],
    }
    # Only a terminal needs narrow columns.
    shown = {
        n if form == "simple" else n.replace("-\n", "-").replace("\n", " "): v for n, v in columns.items() if any(v)
    }
    return text_table(list(shown), list(zip(*shown.values())), form)


def text_table(headers: Sequence[str], rows: Iterable[Iterable[object]], form: str = "simple") -> str:
    """A table in a format of tabulate, with names from untrusted files."""
    shown: Callable[[str], Any] = in_markdown if form == "github" else printable
    cells = [[shown(cell) if isinstance(cell, str) else cell for cell in row] for row in rows]
    lines = [shown(name) if form == "github" else "\n".join(map(printable, name.split("\n"))) for name in headers]
    return tabulate(cells, lines, tablefmt=form, disable_numparse=True)


def undefined_note(tests: Sequence[float]) -> str:
    """What to say of rank correlations that are undefined, which averages over folds and seeds leave out; empty where there are none."""
    number = sum(map(math.isnan, tests))
    why = "all scores of its videos, or all predictions, are equal"
    return (
        f"{number} of {len(tests)} tests have no rank correlation ({why}); means are over the others." if number else ""
    )


def shown_correlation(value: float | None) -> str:
    return "undefined" if value is None or math.isnan(value) else f"{value:.3f}"


def _number(value: float, digits: int = 3) -> str:
    return f"{value:.{digits}f}" if math.isfinite(value) else ""


def _with_deviation(row: Row) -> str:
    deviation = _number(row.spearman_deviation)
    return (_number(row.spearman) or "-") + (f" ± {deviation}" if deviation else "")
