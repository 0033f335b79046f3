"""Learning curves of a run: `epochs.csv`, a row per model and epoch, written while the run trains."""

from __future__ import annotations

import csv
import io
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from longtake.files import require_regular, write_whole
from longtake.safe_text import csv_text, read_cell
from longtake.train.engine.names import model_name
from longtake.train.engine.state import Epoch
from longtake.train.errors import DataError
from longtake.train.protocol.experiment import Model

logger = logging.getLogger(__name__)
EPOCHS = "epochs.csv"
MODEL = ("category", "score", "seed", "fold", "control")
"""Columns that name a model, as in predictions.csv."""
COLUMNS = (*MODEL, "epoch", "lr", "loss", "test_spearman", "test_mse")
"""Then `loss_<term>` for each term of the loss before weighting. Test columns are empty where the head was not tested."""
Row = dict[str, str]


@dataclass(frozen=True)
class Curves:
    """Of one model: epoch, counted from 1 -> value."""

    loss: dict[int, float] = field(default_factory=dict)
    test_spearman: dict[int, float] = field(default_factory=dict)


class EpochLog:
    """Appends to the file of a run. A resumed run keeps the rows of earlier epochs, and replaces those it trains again."""

    def __init__(self, folder: Path, resume: bool) -> None:
        self._path = folder / EPOCHS
        self._columns, rows = _read(self._path) if resume else (list(COLUMNS), [])
        self._last = {_model_of(row): int(row["epoch"]) for row in rows}
        """Model of an earlier training -> its last epoch in the file."""
        self._failed = False
        self._rewrite(rows)

    def epoch(self, model: Model, epoch: Epoch) -> None:
        """A full disk is a warning and does not end the training; the rest of the curves is then missing."""
        if self._failed:
            return
        try:
            self._append(_row(model, epoch))
        except OSError as error:
            logger.warning("%s cannot be written, so the learning curves end here: %s", self._path, error)
            self._failed = True

    def _append(self, row: Row) -> None:
        model, index = _model_of(row), int(row["epoch"])
        again = self._last.pop(model, 0) >= index
        new = [name for name in row if name not in self._columns]
        if again or new:
            rows = _read(self._path)[1]
            self._columns += new
            self._rewrite([one for one in rows if not again or _model_of(one) != model or int(one["epoch"]) < index])
        with self._path.open("a", encoding="utf-8", newline="") as file:
            file.write(csv_text(None, self._cells([row])))

    def _rewrite(self, rows: Sequence[Row]) -> None:
        write_whole(self._path, csv_text(self._columns, self._cells(rows)))

    def _cells(self, rows: Sequence[Row]) -> list[list[str]]:
        return [[row.get(name, "") for name in self._columns] for row in rows]


def read_curves(run: Path) -> dict[str, Curves]:
    """Name of a model, as its files have it -> its curves. Raises `DataError` for a damaged file."""
    found: dict[str, Curves] = {}
    for row in _read(run / EPOCHS)[1]:
        fold = int(row["fold"]) if row["fold"] else None
        name = model_name(row["category"], row["score"], int(row["seed"]), fold, row["control"] == "1")
        curves, epoch = found.setdefault(name, Curves()), int(row["epoch"])
        curves.loss[epoch] = float(row["loss"])
        if row["test_spearman"]:
            curves.test_spearman[epoch] = float(row["test_spearman"])
    return found


def _row(model: Model, epoch: Epoch) -> Row:
    values: dict[str, object] = {
        **model.facts(model.unit),
        "control": int(model.control),
        "epoch": epoch.index,
        "lr": epoch.lr,
        "loss": epoch.loss,
        "test_spearman": epoch.test.spearman if epoch.test else None,
        "test_mse": epoch.test.mse if epoch.test else None,
        **{f"loss_{name}": value for name, value in epoch.terms.items()},
    }
    # An undefined correlation is nan, which does not equal itself.
    return {name: "" if value is None or value != value else str(value) for name, value in values.items()}


def _model_of(row: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(row[name] for name in MODEL)


def _read(path: Path) -> tuple[list[str], list[Row]]:
    """Columns and rows; without the last row where an interruption cut it. Raises `DataError` for a damaged file."""
    try:
        with require_regular(path).open(encoding="utf-8", newline="") as file:
            text = file.read()
        columns, *lines = csv.reader(io.StringIO(text, newline=""), strict=False)
        if lines and (len(lines[-1]) < len(columns) or not text.endswith("\n")):
            lines.pop()
        rows = [dict(zip(columns, map(read_cell, line), strict=True)) for line in lines]
        for row in rows:
            int(row["epoch"]), int(row["seed"]), int(row["fold"] or 0), float(row["loss"])
            float(row["test_spearman"] or 0), _model_of(row)
        return columns, rows
    except FileNotFoundError:
        return list(COLUMNS), []
    except (OSError, ValueError, KeyError, csv.Error) as error:
        raise DataError(f"{path} is damaged: {error!r}. Delete it to go without the learning curves in it") from error
