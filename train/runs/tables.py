"""Tables of results, as text and as CSV."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from longtake.files import require_regular, write_whole
from longtake.manifests.table import GROUP_PREFIX
from longtake.safe_text import csv_text, read_cell
from longtake.train.errors import DataError
from longtake.train.protocol.options import BASELINE
from longtake.train.protocol.rows import Row
from longtake.train.runs.fitted import Cell, fitted_table, text_table
from longtake.train.uncertainty import FEW, Interval, few_note

if TYPE_CHECKING:  # Both need torch, and tables are read where it is not installed.
    from longtake.train.data.dataset import FeatureSet
    from longtake.train.protocol.run import Result

K = TypeVar("K", bound=Hashable)
KEYS = ("category", "score")
"""Columns that name a row of the table."""
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
    seed: int = 0


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
            if missing := [name for name in COLUMNS if name not in (reader.fieldnames or ())]:
                raise ValueError(f"no column {', '.join(missing)}")
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
                yield Predicted(
                    **names, control=control, true=true, predicted=predicted, groups=groups, seed=int(row["seed"])
                )
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


def tested_as(named: str, category: str, dataset: str, trained_on: str) -> bool:
    """Whether the category `named` in predictions.csv is that of a head, for videos of `dataset`; `trained_on` are the run's datasets, joined by `+`.
    Unified runs name the dataset before the category. One model of other runs may serve all categories."""
    return named in (category, f"{dataset} {category}".strip()) or (not category and "+" not in trained_on)


def format_table(rows: Sequence[Row], form: str = "simple", with_intervals: bool = True) -> str:
    """The table that `train heads` prints, in a format of tabulate; columns without a number are left out. On a terminal it fits."""
    columns = _columns(rows, form, with_intervals)
    cells = list(zip(*columns.values()))
    if form != "simple":
        return text_table(list(columns), cells, form)
    tall = list(zip(*_columns(rows, form, with_intervals, tall=True).values()))
    keys = [index for index, name in enumerate(columns) if name in KEYS]
    return fitted_table(list(columns), cells, tall, keys)


def _columns(rows: Sequence[Row], form: str, with_intervals: bool, tall: bool = False) -> dict[str, list[Cell]]:
    def column(name: str, digits: int = 3) -> list[Cell]:
        return [_cell(row, name, digits, with_intervals, tall) for row in rows]

    within = next((row.within for row in rows if row.within), "")
    columns: dict[str, list[Cell]] = {
        "category": [row.category for row in rows],
        "score": [row.score for row in rows],
        "train/test": [f"{row.num_train}/{row.num_test}" for row in rows],
        "Spearman": column("spearman"),
        "MSE": column("mse", 2),
        "R-l2 x100": column("relative_l2", 2),
        "AIoU\n@0.5": column("aiou_50"),
        "AIoU\n@0.75": column("aiou_75"),
        "mean of seeds\nSpearman": column("ensemble_spearman"),
        "mean of seeds\nMSE": column("ensemble_mse", 2),
        f"{BASELINE} floor\nSpearman": column("floor_spearman"),
        f"{BASELINE} floor\nMSE": column("floor_mse", 2),
        "no video\nSpearman": column("no_video_spearman"),
        "no video\nMSE": column("no_video_mse", 2),
        f"within {within}\nSpearman": column("within_spearman"),
        f"{BASELINE} floor\nwithin": column("floor_within"),
        "no video\nwithin": column("no_video_within"),
        "shuffled labels\nSpearman": column("control_spearman"),
        "validation-\nselected": column("validation_selected"),
        "best_on_test\n(as published;\noptimistic)": column("best_on_test"),
    }
    # Only a terminal needs narrow columns.
    return {
        n if form == "simple" else n.replace("-\n", "-").replace("\n", " "): v for n, v in columns.items() if any(v)
    }


def notes(rows: Sequence[Row], drawn: str = "") -> list[str]:
    """What a reader of the table must know: what brackets are, and where the test videos are too few. `drawn` is the group that intervals
    are over."""
    lines = [interval_note(drawn)] if any(row.intervals for row in rows) else []
    return lines + few_notes(row.num_tested for row in rows)


def interval_note(drawn: str) -> str:
    what = f"the groups of test videos by {drawn}" if drawn else "the test videos"
    return f"[low, high]: 95% interval over {what} (BCa bootstrap)."


def few_notes(numbers: Iterable[int]) -> list[str]:
    return [f"{few_note(number)}." for number in sorted(set(numbers)) if few_note(number)]


POOLED_NOTE = (
    "Leave-one-out: a correlation is over the scores of all folds at once. There, guessing the mean of the training videos has -1 and not 0. The "
    "epoch that is best on one test video is unknown."
)


def undefined_note(tests: Sequence[float], pooled: bool = False) -> str:
    """What to say of rank correlations that are undefined, which averages over folds and seeds leave out; empty where there are none. Where
    the scores of all folds are `pooled`, the folds have none."""
    if pooled:
        return POOLED_NOTE
    number = sum(map(math.isnan, tests))
    why = "all scores of its videos, or all predictions, are equal"
    return (
        f"{number} of {len(tests)} tests have no rank correlation ({why}); means are over the others." if number else ""
    )


def shown_correlation(value: float | None) -> str:
    return "undefined" if value is None or math.isnan(value) else f"{value:.3f}"


def shown_interval(interval: Interval | None, digits: int) -> str:
    """Empty where there is none. An interval has a digit less than its figure."""
    if not interval:
        return ""
    ends = interval.low, interval.high
    return "[" + ", ".join(shown_error(end, 1) if digits < 3 else f"{end:.2f}" for end in ends) + "]"


def shown_error(value: float, digits: int = 2) -> str:
    """Errors of small scores, which would be 0.00, have two significant digits."""
    return f"{value:.2g}" if 0 < abs(value) < 0.1 else f"{value:.{digits}f}"


def few_mark(num_videos: int) -> str:
    """Next to a correlation of so few test videos that it ranks no methods."""
    return f"n={num_videos}: few" if num_videos < FEW else ""


def figure_cell(value: str, interval: str, mark: str, tall: bool = False) -> Cell:
    """A figure, its interval and its mark, side by side or one below the other."""
    if not value:
        return ""
    if tall:
        return tuple(filter(None, (value, interval, mark)))
    return " ".join(filter(None, (value, interval, f"({mark})" if mark else "")))


def _cell(row: Row, name: str, digits: int, with_intervals: bool, tall: bool) -> Cell:
    value = _number(getattr(row, name), digits)
    if name == "spearman":
        deviation = _number(row.spearman_deviation)
        if not value:
            return "-"
        value += f" ± {deviation}" if deviation else ""
    interval = shown_interval(row.intervals.get(name), digits) if with_intervals else ""
    return figure_cell(value, interval, few_mark(row.num_tested) if digits == 3 else "", tall)


def _number(value: float, digits: int = 3) -> str:
    if not math.isfinite(value):
        return ""
    return shown_error(value, digits) if digits < 3 else f"{value:.{digits}f}"
