"""`train heads` without the command line: open the stores, train every model, leave a folder behind."""

from __future__ import annotations

import platform
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, fields
from datetime import datetime
from itertools import chain, count
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock, Timeout

from longtake.errors import LongtakeWarning
from longtake.features.store import open_store
from longtake.train.data.exemplars import Pool, told_of_unmatched
from longtake.train.engine.checkpoint import unit_name
from longtake.train.engine.loop import Epoch
from longtake.train.engine.settings import TrainSettings
from longtake.train.errors import SettingsError, TrainError
from longtake.train.heads import get_head
from longtake.train.heads.plugin import plugin_for
from longtake.train.protocol.experiment import (
    OWN_FOLD,
    Experiment,
    Options,
    Result,
    Unit,
    labelled_rows,
    prepare,
    require_splits,
    run,
    splits,
)
from longtake.train.protocol.summary import Row, summarise
from longtake.train.protocol.unified import overlaps, prepare_unified
from longtake.train.runs.folder import RANDOM_NOTE, RunFolder, ScalarLog, format_table

IN_CLOSED_FORM = {"batch_size", "window", "test_window", "precision"}
"""Settings of training that heads without epochs know as well."""
LOCK = ".lock"
"""Of a run's folder, held as long as a process trains in it. The system lets it go when that process ends in whatever way, where the disk
knows locks."""
OnEpoch = Callable[[Unit, int, "int | None", bool, Epoch], None]


def open_experiment(paths: Sequence[Path | str], options: Options) -> tuple[Experiment, list[str]]:
    """What is to be trained on the stores, several of which make one model, and warnings. Raises a `LongtakeError` for a choice
    that cannot be."""
    with ExitStack() as stack:
        stores = [stack.enter_context(open_store(path)) for path in paths]
        if len(stores) == 1:
            experiment, told = prepare(stores[0], options), []
        else:
            experiment, told = prepare_unified(stores, options), overlaps(stores)
    require_splits(experiment)
    # A head that cannot be built is found before anything is trained or written.
    for unit in {repr(unit.settings.head): unit for unit in experiment.units}.values():
        experiment.build_head(unit)
    return experiment, [*told, *warnings_of(experiment)]


def warnings_of(experiment: Experiment) -> list[str]:
    """What whoever trains should know, and what ends nothing. Raises `DataError` for scores that the head needs and videos lack."""
    return [
        *filter(None, [experiment.data.left_out]),
        *check_second(experiment),
        *check_features(experiment),
        *check_needs(experiment),
        *check_precision(experiment),
        *check_splits(experiment),
        *check_overrides(experiment),
    ]


def check_second(experiment: Experiment) -> list[str]:
    """A warning of a second stream that nothing reads, though videos without it are left out."""
    second = experiment.data.second_header
    head = get_head(experiment.head)
    needs = [head.needs(unit.settings.head) for unit in experiment.units]
    if experiment.plugin_text is not None:
        plugin = plugin_for(
            experiment.options.plugin, {experiment.plugin_text.name: set(experiment.plugin_text.groups)}
        )
        needs += [plugin.kind.needs(unit.settings.plugin) for unit in experiment.units]
    if second is None or any(one.audio or one.second_stream for one in needs):
        return []
    instead = ", or give --set audio=true" if "audio" in head.Settings.__dataclass_fields__ else ""
    return [
        f"head {experiment.head} does not read {second.backbone}, and videos without it are left out all the same, by `train predict` "
        f"as well: leave out --audio{instead}"
    ]


def check_features(experiment: Experiment) -> list[str]:
    """A warning of videos that should train or test a head and have no features, such as those whose extraction failed."""
    missing = experiment.without_features
    if not missing:
        return []
    return [
        f"{len(missing)} labelled videos have no features of {experiment.data.header.backbone} and neither train nor test: "
        f"{first_of(missing)}; they failed, which `features info` tells, or were not extracted yet"
    ]


def check_splits(experiment: Experiment) -> list[str]:
    """Warnings of videos that neither train nor test a head: of a split that no card knows, of none where others have one, and of those that
    stand beside folds of the dataset's own."""
    data, folds = experiment.data, experiment.options.folds
    taken, left = "train and test", {}
    for unit in [part.unit for part in experiment.parts] or experiment.units:
        rows = data.rows(category=unit.category or None, score=unit.scale.name)
        meant = {"train", "test", *(experiment.card.splits if experiment.card else ())}
        if not folds and any(name.startswith(OWN_FOLD) for name in data.splits[rows]):
            meant, taken = {"train"}, "train and the dataset's own folds"
        for row in np.setdiff1d(rows, labelled_rows(data, unit, folds)):
            name = str(data.splits[row])
            if name not in meant and not name.startswith(OWN_FOLD):
                left.setdefault(name, {})[data.video_ids[row]] = None
    return [
        f"{len(ids)} videos of the split {name!r} are not used: training takes {taken}"
        if name
        else f"{len(ids)} videos of no split are not used, since others have one: {first_of(list(ids))}"
        for name, ids in sorted(left.items())
    ]


def first_of(video_ids: Sequence[str]) -> str:
    return f"{', '.join(video_ids[:3])}{', ...' if len(video_ids) > 3 else ''}"


def check_overrides(experiment: Experiment) -> list[str]:
    """A warning of settings that a head in closed form does not have, or of videos kept from training for a choice that is not made."""
    if get_head(experiment.head).closed_form:
        idle = {field.name for field in fields(TrainSettings)} - IN_CLOSED_FORM
        named = ", ".join(sorted(idle & dict(experiment.options.overrides).keys()))
        return [f"head {experiment.head} is fitted in closed form and has no use for {named}"] if named else []
    every = experiment.options.evaluate_every
    trains = [unit.settings.train for unit in experiment.units]
    if not any(train.validation and every >= train.epochs for train in trains):
        return []
    return [
        f"validation keeps videos from training, and chooses no epoch: with --evaluate-every {every} only the last is tested"
    ]


def check_precision(experiment: Experiment) -> list[str]:
    """A warning where a processor has to imitate bfloat16, which takes `avcf` and `gslm` 15 times as long as float32 (docs/performance/training.md)."""
    asked = any(unit.settings.train.precision == "bfloat16" for unit in experiment.units)
    x86 = platform.machine().lower() in ("x86_64", "amd64")
    slow = experiment.data.device.type == "cpu" and x86 and not torch.cpu._is_avx512_bf16_supported()
    if not (asked and slow) or get_head(experiment.head).closed_form:
        return []
    return [
        "this processor does not compute in bfloat16 but imitates it, which takes many times as long as precision=float32"
    ]


def check_needs(experiment: Experiment) -> list[str]:
    """Warnings of videos that no exemplar agrees with. Raises `DataError` for scores that the head needs and videos lack."""
    told = []
    for unit in experiment.units:
        needs = get_head(experiment.head).needs(unit.settings.head)
        data = experiment.data.for_head(needs)
        found = {"training": np.zeros(2, int), "test": np.zeros(2, int)}
        for _, train_rows, test_rows in (
            splits(data, unit, experiment.options.folds) if needs.columns or needs.exemplars else ()
        ):
            data.require(train_rows, needs.columns)
            data.require(test_rows, needs.scores)
            if needs.exemplars is None:
                continue
            targets = data.scores[unit.scale.name][train_rows]
            unmatched = data.with_pool(Pool.of(needs.exemplars, data, train_rows, targets)).exemplars.unmatched
            for counts, rows in zip(found.values(), (train_rows, test_rows)):
                counts += np.array([unmatched[rows].sum(), len(rows)])
        where = f"{unit.category} {unit.scale.name}".strip()
        told += [
            f"{where}: {told_of_unmatched(needs.exemplars.match, *counts, f'{which} videos')}"
            for which, counts in found.items()
            if counts[0]
        ]
    return told


def default_folder(experiment: Experiment) -> Path:
    """A new folder in runs/, which is no other run's, not even one that begins in the same second."""
    name = f"{unit_name(experiment.dataset, experiment.head)}-{datetime.now():%Y%m%d-%H%M%S}"
    Path("runs").mkdir(exist_ok=True)
    for ending in chain([""], map("-{}".format, count(2))):
        folder = Path("runs") / f"{name}{ending}"
        try:
            folder.mkdir()
        except FileExistsError:
            continue
        return folder


@contextmanager
def _alone_in(out: Path) -> Iterator[None]:
    """Raises `TrainError` where another process trains in the folder, such as the job that a scheduler believes to be dead: each would undo
    what the other does."""
    out.mkdir(parents=True, exist_ok=True)
    lock = FileLock(out / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise TrainError(
            f"another process trains in {out} now: wait until it has ended, or take another --out. If no such process runs any more, "
            f"remove {out / LOCK}"
        ) from error
    except NotImplementedError:
        pass  # A disk that knows no locks.
    try:
        yield
    finally:
        lock.release()


def train_into(out: Path, experiment: Experiment, on_epoch: OnEpoch, resume: bool = False) -> Iterator[Result]:
    """Each model's result, without its head, when it is on disk.

    To `resume` is to go on with what an interruption left in the folder: finished models are kept and come first, others go on from
    the epoch that was saved last. Otherwise all is trained anew.
    """
    with _alone_in(out):
        yield from _train_into(out, experiment, on_epoch, resume)


def _train_into(out: Path, experiment: Experiment, on_epoch: OnEpoch, resume: bool) -> Iterator[Result]:
    folder, scalars = RunFolder(out, experiment, resume), ScalarLog(out)

    def log(unit: Unit, seed: int, fold: int | None, control: bool, epoch: Epoch) -> None:
        scalars.epoch(unit, seed, fold, control, epoch)
        on_epoch(unit, seed, fold, control, epoch)

    try:
        for result in run(experiment, log, out):
            scalars.done(result)
            yield folder.add(result)
        folder.close()
    finally:
        scalars.close()


@dataclass(frozen=True)
class Run:
    """A finished `longtake.fit`. Printing it shows the table."""

    folder: Path
    """With checkpoints, metrics, predictions: what `longtake.predict` and the command `train report` take."""
    table: tuple[Row, ...]
    """One row per category and score, and their average. Correlations and errors are those after the last epoch."""
    predictions: dict[tuple[str, str], dict[str, float]]
    """(category, score) -> test video -> score in judges' units, the mean over seeds. Categories of a unified model have the dataset's name
    before them, as in predictions.csv."""
    random_weights: bool

    def __str__(self) -> str:
        return format_table(self.table) + (f"\n{RANDOM_NOTE}" if self.random_weights else "")


def fit(
    features: Path | str | Sequence[Path | str],
    *,
    out: Path | str | None = None,
    resume: bool = False,
    **choices: object,
) -> Run:
    """Train a head for every category and score of a store, by the published protocol.

    `features` is a store or several, for one model of all. `choices` are fields of `longtake.Options`, such as `head="gslm"`,
    `seeds=3`, `folds=5`, `preset="tuned"`; anything else is a setting, as `train heads --set` takes it: `epochs=50`, `lr=0.01`. Settings
    that share their name with such a field, as `scores` of `gslm` does, come as `settings={"scores": 11}`.

    Without `out`, the run is left in runs/. To `resume` is to go on with an interrupted run in `out`. Raises a `LongtakeError` that says
    what cannot be.
    """
    if resume and out is None:
        raise SettingsError("resume=True goes with out=FOLDER: the run that is to go on")
    paths = [features] if isinstance(features, (str, Path)) else list(features)
    experiment, told = open_experiment(paths, options_of(choices))
    for line in told:
        warnings.warn(line, LongtakeWarning, stacklevel=2)
    folder = default_folder(experiment) if out is None else Path(out)
    results = list(train_into(folder, experiment, lambda *_: None, resume))
    return Run(folder, tuple(summarise(results)), _predictions(experiment, results), experiment.random_weights)


def options_of(choices: Mapping[str, object]) -> Options:
    """What `fit` takes beside stores and folders. Raises `SettingsError`."""
    known = {field.name for field in fields(Options)} - {"overrides", "unified"}
    chosen = {name: value for name, value in choices.items() if name in known}
    named = choices.get("settings") or {}
    if not isinstance(named, Mapping):
        raise SettingsError(f'settings takes names and values, such as {{"scores": 11}}, got {named!r}')
    others = {name: value for name, value in choices.items() if name not in known and name != "settings"}
    if twice := sorted(named.keys() & others.keys()):
        raise SettingsError(f"{', '.join(twice)} stands in settings and beside it: say it once")
    return Options(**chosen, overrides=tuple(sorted({**others, **named}.items())))


def _predictions(experiment: Experiment, results: Sequence[Result]) -> dict[tuple[str, str], dict[str, float]]:
    found: dict[tuple[str, str], dict[str, list[float]]] = {}
    for result in results:
        if result.control:
            continue
        videos = found.setdefault((result.unit.category, result.unit.scale.name), {})
        for row, predicted in zip(result.task.test_rows, result.fitted.predicted):
            videos.setdefault(experiment.data.video_ids[row], []).append(float(predicted))
    return {key: {name: float(np.mean(values)) for name, values in videos.items()} for key, videos in found.items()}
