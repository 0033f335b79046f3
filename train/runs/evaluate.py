"""The heads of a finished run on the videos of a store."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from longtake.errors import LongtakeWarning
from longtake.features.store import Store
from longtake.features.types import FeatureHeader
from longtake.train.data.batches import BatchMaker
from longtake.train.data.dataset import FeatureSet, ScoreScale
from longtake.train.engine.checkpoint import load_checkpoint, require_same_recipe
from longtake.train.engine.head_config import HeadConfig
from longtake.train.engine.names import CHECKPOINTS
from longtake.train.engine.predict import predict_stages, with_stages
from longtake.train.engine.saved_exemplars import load_exemplars
from longtake.train.errors import CheckpointError, DataError
from longtake.train.heads.base import Head
from longtake.train.metrics import Metrics, measure, within_groups
from longtake.train.protocol.audit import audit
from longtake.train.protocol.experiment import group_to_rank_in
from longtake.train.protocol.intervals import drawn_group
from longtake.train.protocol.splits import Split, labelled_rows, training_rows
from longtake.train.resampling import ScoredVideos
from longtake.train.runs.fitted import Cell, fitted_table
from longtake.train.runs.records import no_folder
from longtake.train.runs.tables import (
    RANDOM_NOTE,
    few_mark,
    few_notes,
    figure_cell,
    interval_note,
    shown_correlation,
    shown_error,
    shown_interval,
)
from longtake.train.uncertainty import Interval, intervals


@dataclass(frozen=True)
class Evaluation:
    checkpoint: str
    metrics: Metrics
    random_weights: bool
    predicted: dict[str, float]
    """video_id -> score in judges' units."""
    unmatched: int = 0
    """Of a head that compares: videos with which no exemplar agrees, so that any served."""
    intervals: dict[str, Interval] = field(default_factory=dict)
    """95%, of each figure that has one, over the videos or their groups."""
    intervals_over: str = "videos"
    within: str = ""
    """The group inside which the videos are ranked as well."""
    within_spearman: float = float("nan")


def _same_stream(store: Store, trained_on: str, accept: Sequence[str]) -> str:
    header = FeatureHeader.from_json(trained_on)
    same = [stream.name for stream in store.streams if stream.header.recipe_id == header.recipe_id]
    others = [stream for stream in store.streams if stream.header.backbone == header.backbone]
    if not same and len(others) > 1:
        differences = {stream.name: header.differences(stream.header) for stream in others}
        same = [name for name, fields in differences.items() if not fields.keys() - set(accept)]
        if len(same) != 1:
            lines = [
                f"\n  {name}: {field}: trained on {a!r}, here {b!r}"
                for name, fields in differences.items()
                for field, (a, b) in fields.items()
            ]
            raise CheckpointError(f"{store.path} was made by other recipes than the head's features:{''.join(lines)}")
    stream = store.stream(same[0] if same else header.backbone)
    require_same_recipe(trained_on, stream.header, str(store.path), accept)
    return stream.name


def checkpoints(run_folder: Path) -> list[Path]:
    """The heads of a run. Raises `CheckpointError` for a folder without any."""
    paths = sorted((run_folder / CHECKPOINTS).glob("*.safetensors"))
    if not paths and not run_folder.exists():
        raise CheckpointError(no_folder(run_folder))
    if not paths:
        raise CheckpointError(f"{run_folder} holds no checkpoints; it should be a folder that `train heads` made")
    return paths


def load_run(
    run_folder: Path, store: Store, accept: Sequence[str] = (), memory: str | int | None = None
) -> Iterator[tuple[Head, HeadConfig, BatchMaker]]:
    """Each head of a run with the features of the store that it can read; those that take more than `memory` stay on the disk. Warns of videos that
    lack one of two streams.

    Raises `CheckpointError` when the recipes differ in a field that `accept` does not name.
    """
    loaded: dict[str, FeatureSet] = {}
    for path in checkpoints(run_folder):
        head, config = load_checkpoint(path)
        key = repr((config.feature_header, config.audio_header, config.stream_headers))
        if key not in loaded:
            backbone = _same_stream(store, config.feature_header, accept)
            second = _same_stream(store, config.audio_header, accept) if config.audio_header else None
            streams = {name: _same_stream(store, header, accept) for name, header in config.stream_headers.items()}
            loaded[key] = FeatureSet.load(store, backbone, second, streams, memory)
            if loaded[key].left_out:
                warnings.warn(loaded[key].left_out, LongtakeWarning, stacklevel=2)
        data = loaded[key].with_terms(config.terms) if config.terms else loaded[key]
        maker = BatchMaker(data, head.batch_needs)
        pool = load_exemplars(path, config, maker.needs)
        yield head, config, maker.with_pool(pool) if pool else maker


def evaluate_run(
    run_folder: Path, store: Store, split: str | None, memory: str | int | None = None
) -> list[Evaluation]:
    """One row per checkpoint of the run, and per part of a unified one. Warns of what the videos share with the training videos of the store.
    Raises `CheckpointError` when the recipes differ."""
    found = []
    rounds: dict[int, tuple[FeatureSet, list[list[Split]]]] = {}
    for head, config, maker in load_run(run_folder, store, (), memory):
        for category, scale in config.tested_on(store.dataset):
            name = f"{config.file_name} {category}".strip() if config.parts else config.file_name
            found.append(_evaluate(name, head, config, store, maker, split, category, scale))
            if store.dataset in config.dataset.split("+") and not config.folds:
                train_rows = training_rows(maker.data, category, scale.name)
                rows = maker.data.rows(split=split, category=category or None, score=scale.name)
                tested = Split(None, train_rows, np.setdiff1d(rows, train_rows))
                rounds.setdefault(id(maker.data), (maker.data, []))[1].append([tested])
    for line in dict.fromkeys(leak.line for data, splits in rounds.values() for leak in audit(data, splits)):
        warnings.warn(line, LongtakeWarning, stacklevel=2)
    return found


def _evaluate(
    name: str, head: Head, config: HeadConfig, store: Store, maker: BatchMaker, split: str | None, category: str,
    scale: ScoreScale,
) -> Evaluation:  # fmt: skip
    data = maker.data
    if scale.name not in data.scores:
        raise DataError(f"{store.path} has no score {scale.name!r}; it has {', '.join(data.scores)}")
    rows = data.rows(split=split, category=category or None, score=scale.name)
    if not len(rows):
        which = (f" of split {split!r}" if split else "") + (f" of category {category!r}" if category else "")
        remedy = "try --split all" if split else "`features relabel` gives videos other labels"
        raise DataError(f"{store.path}: no videos{which} have the score {scale.name}; {remedy}")
    predicted, boundaries = predict_stages(maker, rows, head, scale, config.train_settings, config.window)
    scores = data.scores[scale.name]
    known = labelled_rows(data, category, scale.name, config.folds)
    label_range = float(np.ptp(scores[known if len(known) else rows]))
    metrics = with_stages(measure(scores[rows], predicted, label_range), maker, rows, boundaries)
    by_video = {data.video_ids[row]: float(value) for row, value in zip(rows, predicted)}
    unmatched = int(maker.candidates.unmatched[rows].sum()) if maker.candidates else 0
    group = drawn_group(data.groups, rows)
    names = data.groups[group][rows].tolist() if group else ()
    test = ScoredVideos((category, scale.name), list(by_video), scores[rows], predicted, label_range, drawn=names)
    ((_, found),) = intervals([test], ("spearman", "mse", "relative_l2")).items()
    ends = {figure: one for figure, one in found.items() if one}
    inside = group_to_rank_in(data.groups)
    ranked = within_groups(scores[rows], predicted, data.groups[inside][rows]).spearman if inside else float("nan")
    return Evaluation(
        name, metrics, config.random_weights, by_video, unmatched, ends, group or "videos", inside, ranked
    )


def format_evaluations(rows: Sequence[Evaluation], with_intervals: bool = True) -> str:
    """The table that `train evaluate` prints, and its notes."""

    def cells(name: str, values: Sequence[str], digits: int) -> list[Cell]:
        shown = [shown_interval(row.intervals.get(name), digits) if with_intervals else "" for row in rows]
        marks = [few_mark(row.metrics.num_videos) if digits == 3 else "" for row in rows]
        return [figure_cell(*one) for one in zip(values, shown, marks)]

    table: dict[str, Sequence[Cell]] = {
        "head": [row.checkpoint for row in rows],
        "videos": [str(row.metrics.num_videos) for row in rows],
        "Spearman": cells("spearman", [shown_correlation(row.metrics.spearman) for row in rows], 3),
        "MSE": cells("mse", [shown_error(row.metrics.mse) for row in rows], 2),
    }
    if inside := next((row.within for row in rows if not math.isnan(row.within_spearman)), ""):
        table[f"within {inside}"] = [shown_correlation(row.within_spearman) for row in rows]
    for name, one in (("AIoU@0.5", "aiou_50"), ("AIoU@0.75", "aiou_75")):
        values = [getattr(row.metrics, one) for row in rows]
        if not all(map(math.isnan, values)):
            table[name] = ["" if math.isnan(value) else f"{value:.3f}" for value in values]
    compared = "videos agree with no exemplar and are compared with any"
    notes = [f"{row.checkpoint}: {row.unmatched} {compared}" for row in rows if row.unmatched]
    over = next((row.intervals_over for row in rows if row.intervals), "")
    if over and with_intervals:
        notes.append(interval_note("" if over == "videos" else over))
    notes += few_notes(row.metrics.num_videos for row in rows)
    random = [RANDOM_NOTE] if any(row.random_weights for row in rows) else []
    return "\n".join([fitted_table(list(table), list(zip(*table.values()))), *notes, *random])
