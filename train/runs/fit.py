"""`train heads` without the command line: open the stores, train every model, write the run's folder."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, fields
from datetime import datetime
from html import escape
from itertools import chain, count
from pathlib import Path
from typing import Any

import numpy as np

from longtake.errors import LongtakeWarning
from longtake.features.store import open_store
from longtake.memory import shown_size
from longtake.notebooks import data_frame
from longtake.train.engine.names import unit_name
from longtake.train.engine.state import Epoch
from longtake.train.errors import SettingsError
from longtake.train.protocol.checks import require_heads, require_trainable, warnings_of
from longtake.train.protocol.experiment import Experiment, Model, prepare
from longtake.train.protocol.options import Options
from longtake.train.protocol.run import OnEpoch, Result, run
from longtake.train.protocol.summary import Row
from longtake.train.protocol.unified import overlaps, prepare_unified
from longtake.train.runs.epochs import EpochLog
from longtake.train.runs.folder import RunFolder, locked
from longtake.train.runs.records import read_metrics
from longtake.train.runs.resumed import with_recorded_settings
from longtake.train.runs.tables import RANDOM_NOTE, few_mark, figure_cell, format_table, notes, shown_correlation
from longtake.train.runs.tensorboard import TensorBoardLog


def open_experiment(paths: Sequence[Path | str], options: Options) -> tuple[Experiment, list[str]]:
    """What is to be trained on the stores, several of which make one model, and warnings. Raises a `LongtakeError` for what cannot be
    trained."""
    with ExitStack() as stack:
        stores = [stack.enter_context(open_store(path)) for path in paths]
        if len(stores) == 1:
            experiment, shared = prepare(stores[0], options), []
        else:
            experiment, shared = prepare_unified(stores, options), overlaps(stores)
    require_trainable(experiment)
    require_heads(experiment)
    return experiment, [*shared, *warnings_of(experiment)]


def require_folder(out: Path) -> None:
    """Raises `SettingsError` where a run cannot be written because there is a file."""
    for path in (out, *out.parents):
        if path.exists():
            if not path.is_dir():
                raise SettingsError(f"--out takes a folder for the run, and {path} is a file")
            return


def described(experiment: Experiment) -> str:
    """For the user: what will be trained, on what."""
    data, num_models = experiment.data, sum(not model.control for model in experiment.models)
    ranges = [
        f"score {scale.name}: no card states its range, so that of the labels is taken: {scale.minimum:g} to {scale.maximum:g}"
        for scale in (unit.scale for unit in experiment.tested)
        if not scale.stated
    ]
    what = f"head {experiment.head} on {len(data)} videos, {len(data.clips.features)} clips x {data.header.dim} of {data.header.backbone}@{data.header.recipe_id}"
    disk = [
        f"{shown_size(data.num_bytes)} of features do not fit in the memory for them, of which --memory allows more: batches are read from the disk"
    ]
    return "\n".join(
        [
            f"{what}; {num_models} model{'s' * (num_models != 1)} on {experiment.device}",
            *(disk if data.on_disk else []),
            *ranges,
        ]
    )


def default_folder(experiment: Experiment) -> Path:
    """A new folder in runs/, different from that of a run that starts in the same second."""
    name = f"{unit_name(experiment.dataset, experiment.head)}-{datetime.now():%Y%m%d-%H%M%S}"
    Path("runs").mkdir(exist_ok=True)
    for ending in chain([""], map("-{}".format, count(2))):
        folder = Path("runs") / f"{name}{ending}"
        try:
            folder.mkdir()
            break
        except FileExistsError:
            continue
    return folder


def train_into(out: Path, experiment: Experiment, on_epoch: OnEpoch, resume: bool = False) -> Iterator[Result]:
    """Each model's result, without its head, when it is on disk.

    With `resume`, continue what an interruption left in the folder: finished models are kept and come first, and others continue from
    the last saved epoch. Otherwise every model is trained from the start.
    """
    require_folder(out)
    with locked(out), TensorBoardLog(out) as scalars:
        if resume:
            experiment = with_recorded_settings(out, experiment)
        folder, epochs = RunFolder(out, experiment, resume), EpochLog(out, resume)

        def log(model: Model, epoch: Epoch) -> None:
            for report in (epochs.epoch, scalars.epoch, on_epoch):
                report(model, epoch)

        for result in run(experiment, log, out):
            scalars.done(result.model)
            yield folder.add(result)
        folder.close()


@dataclass(frozen=True)
class Run:
    """A finished run. Printing it shows the table, a notebook shows it as HTML."""

    folder: Path
    """With checkpoints, metrics and predictions: what `predict` and the command `train report` take."""
    table: tuple[Row, ...]
    """One row per category and score, and their average. Correlations and errors are those after the last epoch."""
    predictions: dict[tuple[str, str], dict[str, float]]
    """(category, score) -> test video -> score in judges' units, the mean over seeds. Categories of a unified model have the dataset's name
    before them, as in predictions.csv."""
    random_weights: bool
    intervals_over: str = ""
    """The group that intervals are over; empty for test videos."""

    def __repr__(self) -> str:
        scores = []
        for row in self.table:
            figure = figure_cell(shown_correlation(row.spearman), "", few_mark(row.num_tested))
            scores.append(" ".join(filter(None, (row.category, row.score, str(figure)))))
        return f"Run({str(self.folder)!r}: Spearman {', '.join(scores)})"

    def _notes(self) -> list[str]:
        return [*notes(self.table, self.intervals_over), *([RANDOM_NOTE] if self.random_weights else [])]

    def __str__(self) -> str:
        return "\n".join([format_table(self.table), *self._notes()])

    def _repr_html_(self) -> str:
        return format_table(self.table, "html") + "".join(f"<p>{escape(note)}</p>" for note in self._notes())

    def plot(self, kind: str = "scatter", *, out: Path | str | None = None, **choices: Any) -> Any:
        """A figure for a paper, as a matplotlib Figure: `scatter`, `curves`, `attention`, `embedding` or `leaderboard`. `out` also writes it,
        as PDF, SVG or PNG. `choices` are those of `train figure`: `store` (its `--features`), `category`, `score`, `videos`, `method`,
        `metric`, `columns`."""
        # matplotlib takes a while to load, and few runs are drawn.
        from longtake.train.runs.plots.plot import plot

        return plot([self.folder], kind, out=out, **choices)

    def to_pandas(self) -> Any:
        """The table, one row per category and score: a pandas DataFrame. Raises `LongtakeError` if pandas is not installed."""
        return data_frame({field.name: [getattr(row, field.name) for row in self.table] for field in fields(Row)})


def fit(
    features: Path | str | Sequence[Path | str], *, out: Path | str | None = None, resume: bool = False, **choices: Any
) -> Run:
    """Train a head for every category and score of a store, by the published protocol.

    `features` is a store or several, for one model of all. `choices` are fields of `Options`, such as `head="gslm"`, `seeds=3`,
    `folds=5`, `preset="tuned"`; any other name is a setting, as `train heads --set` takes it: `epochs=50`, `lr=0.01`. Settings that share
    their name with such a field, as `scores` of `gslm` does, are given as `settings={"scores": 11}`.

    Without `out`, the run is written to a new folder in runs/. With `resume`, an interrupted run in `out` is continued. Raises a
    `LongtakeError` where something cannot be trained.
    """
    if resume and out is None:
        raise SettingsError("resume=True needs out=FOLDER, the folder of the run to resume")
    paths = [features] if isinstance(features, (str, Path)) else list(features)
    experiment, notes = open_experiment(paths, options_of(choices))
    for line in notes:
        warnings.warn(line, LongtakeWarning, stacklevel=2)
    folder = default_folder(experiment) if out is None else Path(out)
    results = list(train_into(folder, experiment, lambda *_: None, resume))
    found = read_metrics(folder)
    return Run(folder, tuple(found.rows), _predictions(experiment, results), experiment.random_weights, found.group)


def options_of(choices: Mapping[str, Any]) -> Options:
    """The options among the arguments of `fit`, with the rest as overrides. Raises `SettingsError`."""
    known = {field.name for field in fields(Options)} - {"overrides", "unified"}
    chosen = {name: value for name, value in choices.items() if name in known}
    named = choices.get("settings") or {}
    if not isinstance(named, Mapping):
        raise SettingsError(f'settings takes names and values, such as {{"scores": 11}}, got {named!r}')
    others = {name: value for name, value in choices.items() if name not in known and name != "settings"}
    if twice := sorted(named.keys() & others.keys()):
        raise SettingsError(f"{', '.join(twice)} is given twice: in settings=, and as an argument")
    return Options(**chosen, overrides=tuple(sorted({**others, **named}.items())))


def _predictions(experiment: Experiment, results: Sequence[Result]) -> dict[tuple[str, str], dict[str, float]]:
    found: dict[tuple[str, str], dict[str, list[float]]] = {}
    for result in results:
        if not result.model.control:
            videos = found.setdefault((result.unit.category, result.unit.scale.name), {})
            for row, predicted in zip(result.task.test_rows, result.fitted.predicted):
                videos.setdefault(experiment.data.video_ids[row], []).append(float(predicted))
    return {key: {name: float(np.mean(values)) for name, values in videos.items()} for key, videos in found.items()}
