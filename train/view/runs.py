"""What the pages show of runs, sweeps and benches. Plain data, ready for JSON; what cannot be read is a row with its reason."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from longtake.errors import LongtakeError
from longtake.features.catalog.walk import Folders, Found
from longtake.files import is_url
from longtake.train.protocol.rows import Row
from longtake.train.runs.board import BOARD, read_board
from longtake.train.runs.kept import KEPT
from longtake.train.runs.records import CONFIG, METRICS, read_run
from longtake.train.runs.sweeps import DONE, read_cells
from longtake.train.runs.tables import PREDICTIONS, Predicted, read_predictions

RUN, SWEEP, BENCH = "run", "sweep", "bench"
SWEEP_FILE = "sweep.json"
MARKERS = {METRICS: RUN, SWEEP_FILE: SWEEP, BOARD: BENCH}
FILES = {RUN: (METRICS, CONFIG, PREDICTIONS, KEPT), BENCH: (BOARD,), SWEEP: (DONE, METRICS, CONFIG, PREDICTIONS)}
"""What is read of each kind; of a sweep, in the folder of each cell."""
MOST_REASON = 600


@dataclass(frozen=True)
class FigureRow:
    """A category and score of a run; null where a figure is undefined."""

    category: str
    score: str
    num_train: int
    num_test: int
    spearman: float | None
    deviation: float | None
    spearman_interval: list[float] | None
    mse: float | None
    mse_interval: list[float] | None
    floor_spearman: float | None
    floor_mse: float | None
    no_video_spearman: float | None
    within: str
    within_spearman: float | None
    best_on_test: float | None


@dataclass(frozen=True)
class RunRow:
    name: str
    place: str
    fault: str = ""
    head: str = ""
    dataset: str = ""
    features: str = ""
    recipe_id: str = ""
    date: str = ""
    rule: str = ""
    """How videos were split; empty for the dataset's own split."""
    random: bool = False
    unfinished: str = ""
    part_of: str = ""
    """The sweep or bench that the run is a cell of."""
    over: str = ""
    """What intervals are over."""
    num_models: int = 0
    rows: list[FigureRow] = field(default_factory=list)
    settings: list[list[str]] = field(default_factory=list)
    """Triples of unit, setting and value."""


@dataclass(frozen=True)
class SweepRow:
    name: str
    place: str
    fault: str = ""
    random: bool = False
    lines: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class BenchRow:
    name: str
    place: str
    fault: str = ""
    title: str = ""
    about: str = ""
    tables: list[dict[str, Any]] = field(default_factory=list)


def read_run_row(folders: Folders, found: Found) -> tuple[RunRow, Path | None]:
    """A run and the folder to read its predictions from."""
    place = str(found.place)
    if found.fault:
        return RunRow(found.name, place, found.fault), None
    folder: Path | str = place
    try:
        folder = folders.fetch(found, FILES[RUN])
        metrics, config = read_run(folder)
        ended = datetime.fromtimestamp((folder / METRICS).stat().st_mtime, UTC)
    except (LongtakeError, OSError, RecursionError) as error:
        return RunRow(found.name, place, _reason(error, place, str(folder))), None
    settings = [
        [unit, f"{part}.{name}" if isinstance(values, Mapping) else part, str(value)]
        for unit, parts in config.settings.items()
        for part, values in (parts.items() if isinstance(parts, Mapping) else ())
        for name, value in (values.items() if isinstance(values, Mapping) else (("", values),))
    ]
    row = RunRow(
        found.name, place, "", metrics.head, metrics.dataset, config.features.backbone, config.recipe_id,
        "" if is_url(found.place) else f"{ended:%Y-%m-%d %H:%M}",
        config.options.fold_rule, metrics.random_weights, metrics.unfinished, "", metrics.intervals_over,
        sum(not model.control for model in metrics.models), [_figures(one) for one in metrics.rows], settings,
    )  # fmt: skip
    return row, folder


def _figures(row: Row) -> FigureRow:
    def ends(name: str) -> list[float] | None:
        interval = row.intervals.get(name)
        return [interval.low, interval.high] if interval else None

    return FigureRow(
        row.category, row.score, row.num_train, row.num_tested, row.spearman, row.spearman_deviation, ends("spearman"), row.mse, ends("mse"),
        row.floor_spearman, row.floor_mse, row.no_video_spearman, row.within, row.within_spearman, row.best_on_test,
    )  # fmt: skip


def read_sweep_row(folders: Folders, found: Found) -> SweepRow:
    place = str(found.place)
    if found.fault:
        return SweepRow(found.name, place, found.fault)
    cells: list[Path] = []
    try:
        cells = folders.fetch_below(found, FILES[SWEEP])
        lines, random = read_cells(cells)
    except (LongtakeError, OSError, RecursionError, ValueError) as error:
        return SweepRow(found.name, place, _reason(error, place, *(str(cell) for cell in cells)))
    if not lines:
        return SweepRow(found.name, place, "no cell of this sweep is finished yet")
    return SweepRow(found.name, place, "", random, [asdict(line) for line in lines])


def read_bench_row(folders: Folders, found: Found) -> BenchRow:
    place = str(found.place)
    if found.fault:
        return BenchRow(found.name, place, found.fault)
    folder: Path | str = place
    try:
        folder = folders.fetch(found, FILES[BENCH])
        made = read_board(folder)
    except (LongtakeError, OSError, RecursionError) as error:
        return BenchRow(found.name, place, _reason(error, place, str(folder)))
    return BenchRow(found.name, place, "", made.title, made.about, [asdict(table) for table in made.tables])


def _reason(error: BaseException, *places: str) -> str:
    """Without the folders of this machine, which say nothing to others."""
    text = str(error) or type(error).__name__
    for place in places:
        text = text.replace(f"{place}/", "").replace(place, Path(place).name)
    return text[:MOST_REASON]


@dataclass(frozen=True)
class ScoredVideo:
    """A test video of a run by all of its heads that did not learn from it."""

    video_id: str
    category: str
    score: str
    true: float
    predicted: float
    """Mean over the heads."""
    num_heads: int


def scored_videos(folder: Path) -> list[ScoredVideo]:
    """From predictions.csv, without those of shuffled-label controls. Raises `DataError`."""
    found: dict[tuple[str, str, str], list[Predicted]] = {}
    for row in read_predictions(folder):
        if not row.control:
            found.setdefault((row.video_id, row.category, row.score), []).append(row)
    return [
        ScoredVideo(*key, rows[0].true, sum(row.predicted for row in rows) / len(rows), len(rows))
        for key, rows in found.items()
    ]


class Predictions:
    """The predictions of runs, read when they are asked for; the last ones are kept."""

    def __init__(self, folders: Sequence[Path | None]) -> None:
        self.folders = folders
        self.of = lru_cache(maxsize=64)(self._of)

    def _of(self, run: int) -> tuple[list[ScoredVideo], str]:
        """With the reason where they cannot be read."""
        folder = self.folders[run]
        if folder is None:
            return [], "the run cannot be read"
        try:
            return scored_videos(folder), ""
        except (LongtakeError, OSError) as error:
            return [], _reason(error, str(folder))

    def of_run(self, run: int) -> dict[str, Any]:
        """The data `run-N`."""
        videos, fault = self.of(run)
        return {"fault": fault, "videos": [[*vars(one).values()] for one in videos]}

    def of_store(self, ids: Sequence[str], runs: Sequence[int]) -> list[list[Any]]:
        """The data `scored-N`: for each of the runs, which are of the dataset of a store, its number and what it says of the store's videos, as
        (row, category, score, true, predicted)."""
        row_of = {video_id: row for row, video_id in enumerate(ids)}
        found = []
        for run in runs:
            mine = [
                [row_of[one.video_id], one.category, one.score, one.true, one.predicted]
                for one in self.of(run)[0]
                if one.video_id in row_of
            ]
            if mine:
                found.append([run, mine])
        return found


def runs_on(dataset: str, runs: Sequence[RunRow]) -> list[int]:
    """A unified run is of the datasets `A+B`."""
    return [number for number, run in enumerate(runs) if dataset and dataset in run.dataset.split("+")]
