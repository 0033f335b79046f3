"""Refuse what would fail before anything is written, and warn of what a user should know."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Sequence
from dataclasses import fields

import numpy as np

from longtake.memory import shown_size
from longtake.train.data.exemplars import Candidates, ExemplarPool, describe_unmatched
from longtake.train.data.fit_in_memory import memory_for_features
from longtake.train.engine.loop import num_held_out
from longtake.train.engine.parallel import how_numbers_differ, require_way
from longtake.train.engine.settings import TrainSettings
from longtake.train.errors import DataError
from longtake.train.heads import get_head
from longtake.train.protocol.experiment import Experiment, Model
from longtake.train.protocol.options import DEFAULT_HEAD
from longtake.train.protocol.precision import computes_in_bfloat16
from longtake.train.protocol.splits import OWN_FOLD

IN_CLOSED_FORM = {"batch_size", "window", "test_window", "precision"}
"""Settings of training that heads without epochs use as well."""


def require_trainable(experiment: Experiment) -> None:
    """Raises what running the experiment would."""
    require_way([model.job for model in experiment.models], experiment.options.parallel)
    names: dict[str, Model] = {}
    for model in experiment.models:
        _require_memory(model, experiment)
        if not get_head(experiment.head).closed_form:
            try:
                num_held_out(model.job.settings, len(model.job.task.train_rows))
            except DataError as error:
                raise DataError(f"{model.name}: {error}") from error
        # Some disks do not distinguish upper and lower case.
        other = names.setdefault(model.name.casefold(), model)
        if other is not model:
            raise DataError(
                f"{other.unit.name!r} and {model.unit.name!r} would have the same checkpoint, {model.name}: rename one of them"
            )


def _require_memory(model: Model, experiment: Experiment) -> None:
    """Raises `DataError` for a head that has to hold more at once than the memory into which the features do not fit."""
    data, task, head = experiment.data, model.job.task, get_head(experiment.head)
    if not (data.on_disk and head.closed_form):
        return
    needed = head.memory_to_fit(model.unit.settings.head, data.num_clips[task.train_rows], data.header.dim)
    have = memory_for_features(experiment.options.memory)
    if needed > have:
        raise DataError(
            f"{model.name}: head {experiment.head} holds all training clips at once while it is fitted, which takes {shown_size(needed)} for "
            f"{len(task.train_rows)} videos, and features have {shown_size(have)}: allow more with --memory, train on fewer videos with --category, "
            f"or take a head that needs less, such as ridge or {DEFAULT_HEAD}"
        )


def require_heads(experiment: Experiment) -> None:
    """Raises `SettingsError` where a head cannot be built with its settings."""
    for unit in {repr(unit.settings.head): unit for unit in experiment.units}.values():
        experiment.head_builder(unit)()


def warnings_of(experiment: Experiment) -> list[str]:
    """What a user should know and what stops nothing. Raises `DataError` for scores that the head needs and videos lack."""
    return [
        *filter(None, [experiment.data.left_out]),
        *_second_stream(experiment),
        *_texts(experiment),
        *_missing_features(experiment),
        *_exemplars(experiment),
        *_precision(experiment),
        *_unused_videos(experiment),
        *_idle_settings(experiment),
        *filter(None, [how_numbers_differ(experiment.options.parallel) if len(experiment.models) > 1 else None]),
        *(leak.line for leak in experiment.audit),
    ]


def _texts(experiment: Experiment) -> Iterator[str]:
    if experiment.options.text and not any(one.texts for unit in experiment.units for one in experiment.needs(unit)):
        yield f"head {experiment.head} reads no texts: leave out --text {experiment.options.text}"


def _second_stream(experiment: Experiment) -> Iterator[str]:
    """A second stream that nothing reads, though videos without it are left out."""
    second = experiment.data.second_header
    needs = [one for unit in experiment.units for one in experiment.needs(unit)]
    unread = experiment.data.streams.keys() - {name for one in needs for name in one.streams}
    for name in sorted(unread):
        yield (
            f"head {experiment.head} does not read the stream {name}, and videos without it are left out all the same: leave out --stream {name}="
        )
    if second is None or any(one.audio or one.second_stream for one in needs):
        return
    settings = get_head(experiment.head).Settings
    instead = ", or give --set audio=true" if "audio" in {field.name for field in fields(settings)} else ""
    yield (
        f"head {experiment.head} does not read {second.backbone}, and videos without it are left out all the same, by `train predict` "
        f"as well: leave out --audio{instead}"
    )


def _missing_features(experiment: Experiment) -> Iterator[str]:
    """Videos that should train or test a head and have no features, such as those whose extraction failed."""
    missing = experiment.without_features
    if missing:
        yield (
            f"{len(missing)} labelled videos have no features of {experiment.data.header.backbone} and neither train nor test: "
            f"{_first(missing)}; they failed, which `features info` tells, or were not extracted yet"
        )


def _exemplars(experiment: Experiment) -> Iterator[str]:
    """Videos that match no exemplar. Raises `DataError` for scores that the head needs and videos lack."""
    for unit in experiment.units:
        needs, _ = experiment.needs(unit)
        if not (needs.columns or needs.exemplars):
            continue
        data = experiment.data
        found = {"training": np.zeros(2, int), "test": np.zeros(2, int)}
        for split in experiment.splits[unit]:
            data.require_scores(split.train_rows, needs.columns)
            data.require_scores(split.test_rows, needs.scores)
            if needs.exemplars is None:
                continue
            targets = data.scores[unit.scale.name][split.train_rows]
            pool = ExemplarPool.of(needs, data, split.train_rows, targets)
            unmatched = Candidates.of(pool, data).unmatched
            for counts, rows in zip(found.values(), (split.train_rows, split.test_rows)):
                counts += np.array([unmatched[rows].sum(), len(rows)])
        for which, (unmatched, total) in found.items():
            if needs.exemplars is not None and unmatched:
                yield f"{unit.name}: {describe_unmatched(needs.exemplars.match, unmatched, total, f'{which} videos')}"


def _precision(experiment: Experiment) -> Iterator[str]:
    """A processor that emulates bfloat16, which takes `avcf` and `gslm` 15 times as long as float32 (docs/performance/training.md)."""
    asked = any(unit.settings.train.precision == "bfloat16" for unit in experiment.units)
    x86 = platform.machine().lower() in ("x86_64", "amd64")
    slow = experiment.device.type == "cpu" and x86 and not computes_in_bfloat16()
    if asked and slow and not get_head(experiment.head).closed_form:
        yield "this processor does not compute in bfloat16 but imitates it, which takes many times as long as precision=float32"


def _unused_videos(experiment: Experiment) -> Iterator[str]:
    """Videos that neither train nor test a head: of a split that no card names, of none where others have one, and of other splits
    than the dataset's own folds."""
    data, folds = experiment.data, experiment.options.folds
    taken = "train and test"
    left: dict[str, dict[str, None]] = {}
    for unit in experiment.tested:
        rows = data.rows(category=unit.category or None, score=unit.scale.name)
        meant = {"train", "test", *(experiment.card.splits if experiment.card else ())}
        if not folds and any(name.startswith(OWN_FOLD) for name in data.splits[rows]):
            meant, taken = {"train"}, "train and the dataset's own folds"
        for row in np.setdiff1d(rows, experiment.splits[unit][0].rows):
            name = str(data.splits[row])
            if name not in meant and not name.startswith(OWN_FOLD):
                left.setdefault(name, {})[data.video_ids[row]] = None
    for name, ids in sorted(left.items()):
        if name:
            yield f"{len(ids)} videos of the split {name!r} are not used: training takes {taken}"
        else:
            yield f"{len(ids)} videos of no split are not used, since others have one: {_first(list(ids))}"


def _idle_settings(experiment: Experiment) -> Iterator[str]:
    """Settings that a head in closed form does not use, and videos held out for a choice that is not made."""
    if get_head(experiment.head).closed_form:
        idle = {field.name for field in fields(TrainSettings)} - IN_CLOSED_FORM
        named = ", ".join(sorted(idle & dict(experiment.options.overrides).keys()))
        if named:
            yield f"head {experiment.head} is fitted in closed form and has no use for {named}"
        return
    every = experiment.options.evaluate_every
    trains = [unit.settings.train for unit in experiment.units]
    if any(train.validation and every >= train.epochs for train in trains):
        yield (
            f"validation keeps videos from training, and chooses no epoch: with --evaluate-every {every} only the last is tested"
        )


def _first(video_ids: Sequence[str]) -> str:
    return f"{', '.join(video_ids[:3])}{', ...' if len(video_ids) > 3 else ''}"
