"""Scores of videos by the heads of a run: in judges' units, with the spread over the heads, the grades, and the moments that mattered."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import nn

from longtake.errors import there_are
from longtake.features.store import Store, open_store
from longtake.features.types import FeatureHeader
from longtake.files import write_whole
from longtake.notebooks import data_frame, html_table
from longtake.safe_text import csv_text
from longtake.train.conformal import LEVEL
from longtake.train.data.batches import BatchMaker
from longtake.train.data.dataset import FeatureSet, ScoreScale
from longtake.train.data.windows import WHOLE, clips_to_test, places_in_test
from longtake.train.engine.checkpoint import load_checkpoint
from longtake.train.engine.head_config import HeadConfig
from longtake.train.errors import DataError
from longtake.train.extras import from_extract
from longtake.train.heads.blocks.transformer import Decoder
from longtake.train.runs.calibration import Bounds, RunCalibration
from longtake.train.runs.evaluate import checkpoints, load_run
from longtake.train.runs.tables import RANDOM_NOTE

MOMENTS = 3
PREFIXES = 32
"""Beginnings of a video that a head scores in one batch."""


@dataclass(frozen=True)
class Moment:
    start_seconds: float
    end_seconds: float
    share: float
    """Of the attention that the grades, weighed by how much each counts, give to the clips of the video."""


@dataclass(frozen=True)
class Timeline:
    """Where the heads looked, clip by clip; each value is the mean over heads."""

    start_seconds: tuple[float, ...]
    end_seconds: tuple[float, ...]
    shares: tuple[float, ...]
    """Of the attention that the grades, weighed by how much each counts, give to each clip; sums to 1. Empty for a head
    without attention."""
    by_grade: tuple[tuple[float, ...], ...]
    """The attention of each grade, worst first, over the clips; each sums to 1. Empty as above."""
    running: tuple[float, ...]
    """Score of the video up to and with each clip, in judges' units; empty unless it was asked for."""


@dataclass(frozen=True)
class Prediction:
    video_id: str
    category: str
    score: str
    predicted: float
    """Judges' units; the mean over heads. nan where the heads abstain."""
    deviation: float
    """Over heads, seeds and folds alike; nan for a single one."""
    num_heads: int
    grades: tuple[float, ...]
    """Weight of each grade from worst to best, summing to 1, the mean over heads; empty for a head without grades."""
    moments: tuple[Moment, ...]
    """The clips that were looked at most, in the order of their weight; empty for a head without attention."""
    timeline: Timeline
    random_weights: bool
    unmatched: bool = False
    """Of heads that compare: no training video matches this one by their rule, so it is compared with any."""
    bounds: Bounds | None = None
    """Where the judges' score is; None where `unbounded` says why."""
    unbounded: str = ""
    abstained: str = ""
    """Why the score is missing; empty where it is not."""

    @property
    def name(self) -> str:
        """Category and score."""
        return " ".join(part for part in (self.category, self.score) if part)

    def __repr__(self) -> str:
        spread = "" if math.isnan(self.deviation) else f" ± {self.deviation:.3f}"
        score = "abstained" if self.abstained else f"{self.predicted:.3f}{spread}{_shown_bounds(self.bounds, 3)}"
        return f"Prediction({self.video_id!r}: {self.name} {score})"


class Predictions(list[Prediction]):
    """Predictions in their order, with a table for notebooks."""

    def _columns(self) -> dict[str, list[object]]:
        names = ("video_id", "category", "score", "predicted", "deviation", "num_heads", "random_weights")
        columns: dict[str, list[object]] = {name: [getattr(one, name) for one in self] for name in names}
        for end in ("low", "high"):
            columns[end] = [getattr(one.bounds, end) if one.bounds else float("nan") for one in self]
        return {**columns, "abstained": [one.abstained for one in self]}

    def _repr_html_(self) -> str:
        return html_table(self._columns())

    def to_pandas(self) -> Any:
        """One row per video and score: a pandas DataFrame. Raises `LongtakeError` if pandas is not installed."""
        return data_frame(self._columns())


@dataclass
class _Votes:
    """Scores, grades and attention that the heads of one category and score give one video."""

    scores: list[float]
    folds: list[str]
    """Of each score, the fold of its head; empty text for a run without folds."""
    scale: ScoreScale
    grades: list[np.ndarray]
    attention: list[np.ndarray]
    """Each `(grades, clips)`."""
    running: list[np.ndarray]
    random_weights: bool = False
    unmatched: bool = False


def predict_run(
    run_folder: Path, store: Store, only: Sequence[str] = (), category: str | None = None,
    *, accept: Sequence[str] = (), running: bool = False, level: float | None = None, abstain_above: float | None = None,
) -> list[Prediction]:  # fmt: skip
    """Every video of the store that the run has a head for. Where `category` names the heads, its videos and those without a category.

    Intervals hold the judges' score in `level` of all cases, `conformal.LEVEL` where none is asked for. Heads abstain from a score whose interval
    is wider than `abstain_above`, in judges' units. Raises `DataError` where intervals are asked for and there are none.

    `accept` names fields of the recipe that may differ. Raises `CheckpointError` when another does, naming how, and
    `DataError` for ids that the store lacks or that no head is for.
    """
    votes: dict[tuple[str, str, str], _Votes] = {}
    spans: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    asked_of: set[str] = set()
    known: dict[str, str] = {}
    for head, config, maker in load_run(run_folder, store, accept):
        data = maker.data
        known |= zip(data.video_ids, data.categories)
        stream = store.stream(f"{data.header.backbone}@{data.header.recipe_id}")
        for own_category, scale in config.tested_on(store.dataset):
            asked_of.add(own_category)
            if category is not None and own_category != category:
                continue
            for row in _rows(data, own_category, category is not None, only):
                video_id = data.video_ids[row]
                if video_id not in spans:
                    spans[video_id] = stream.read(video_id).start_seconds, stream.read(video_id).end_seconds
                found = votes.setdefault((video_id, own_category, scale.name), _Votes([], [], scale, [], [], []))
                _vote(found, head, config, maker, row, scale)
                if running:
                    found.running.append(_running(head, config, maker, row, scale))
                found.random_weights |= config.random_weights
                found.unmatched |= maker.candidates is not None and bool(maker.candidates.unmatched[row])
    if category is not None and category not in asked_of:
        raise DataError(f"{run_folder} has no heads for category {category!r}{there_are(category, sorted(asked_of))}")
    scored = {video_id for video_id, _, _ in votes}
    unscored = [video_id for video_id in only or known if video_id not in scored]
    if unscored and (only or not scored):
        named = ", ".join(f"{video_id} ({known[video_id] or 'no category'})" for video_id in unscored[:5])
        which = f"{named}{', ...' if len(unscored) > 5 else ''}" if only else f"the videos of {store.path}"
        have = category or ", ".join(sorted(asked_of))
        all_known = all(known[video_id] for video_id in unscored)
        remedy = "`features relabel` gives videos another category" if all_known else "Name the heads with --category"
        raise DataError(f"{run_folder} has no head for {which}: their categories are not among {have}. {remedy}")
    asked = level is not None or abstain_above is not None
    calibration = RunCalibration(run_folder, LEVEL if level is None else level, asked)
    made = []
    for key, found in votes.items():
        bounds, why = calibration.bounds(store.dataset, *key[1:], *_by_fold(found))
        made.append(replace(_prediction(key, found, *spans[key[0]]), bounds=bounds, unbounded=why))
    return made if abstain_above is None else [_or_abstained(one, abstain_above) for one in made]


def _by_fold(votes: _Votes) -> tuple[dict[str, float], tuple[float, float]]:
    """The mean over seeds of each fold, and the lowest and highest score that there can be."""
    folds = {fold: [s for s, own in zip(votes.scores, votes.folds) if own == fold] for fold in votes.folds}
    limits = (votes.scale.minimum, votes.scale.maximum) if votes.scale.stated else (-math.inf, math.inf)
    return {fold: float(np.mean(scores)) for fold, scores in folds.items()}, limits


def _or_abstained(one: Prediction, abstain_above: float) -> Prediction:
    width = one.bounds.high - one.bounds.low if one.bounds else 0.0
    if width <= abstain_above:
        return one
    why = f"the interval{_shown_bounds(one.bounds)} is {width:.2f} wide, more than {abstain_above:g}"
    return replace(one, predicted=float("nan"), abstained=why)


def _rows(data: FeatureSet, own_category: str, named: bool, only: Sequence[str]) -> np.ndarray:
    """Videos of a head's category, and those without one where the heads were named; all, for a head of no category."""
    unknown = [video_id for video_id in only if video_id not in data.video_ids]
    alone = [video_id for video_id in unknown if video_id in data.without_second]
    if alone:
        lacking = " or ".join(table.header.backbone for table in data.tables[1:])
        raise DataError(f"no {lacking} features of {', '.join(alone)}, which the heads need as well")
    if unknown:
        raise DataError(f"no features of {', '.join(unknown)}{there_are(unknown[0], data.video_ids)}")
    rows = data.rows(category=own_category or None)
    if named and own_category:
        rows = np.sort(np.concatenate([rows, data.rows(category="")]))
    return np.array([row for row in rows if not only or data.video_ids[row] in only], int)


@torch.no_grad()
def _vote(votes: _Votes, head: nn.Module, config: HeadConfig, maker: BatchMaker, row: int, scale: ScoreScale) -> None:
    settings = config.train_settings
    rows, nothing = np.array([row]), np.zeros(1)
    batches = maker.test(rows, nothing, window=config.window, test_window=settings.test_window, batch_size=1)
    with watched_attention(head) as seen:
        (output,) = [head(batch) for batch in batches]
    votes.scores.append(float(scale.to_units(output.score01.double().numpy())[0]))
    votes.folds.append("" if config.fold is None else str(config.fold))
    # Of several branches, the first is over all that was perceived; weights of scores are no grades.
    weights = next((found[0] for name, found in output.weights.items() if name != "scores"), None)
    if weights is None:
        return
    votes.grades.append(weights.numpy())
    attention = next((a[0] for a in seen if a.shape[1] == len(weights)), None)
    places = places_in_test(int(maker.data.num_clips[row]), config.window, settings.test_window)
    if attention is None or attention.shape[1] <= places.max():
        return
    whole = np.where(places >= 0, attention.numpy()[:, places], 0.0)
    votes.attention.append(whole / np.maximum(whole.sum(axis=1, keepdims=True), 1e-12))


@torch.no_grad()
def _running(head: nn.Module, config: HeadConfig, maker: BatchMaker, row: int, scale: ScoreScale) -> np.ndarray:
    """Scores of the first clip, the first two, and so on, `(clips,)`, by the rule of windows that whole videos have."""
    scores, num_clips = [], int(maker.data.num_clips[row])
    whole = config.train_settings.test_window == WHOLE
    together = 1 if maker.needs.alone or (maker.needs.sees_padding and whole) else PREFIXES
    for counts in np.array_split(np.arange(1, num_clips + 1), math.ceil(num_clips / together)):
        clips = clips_to_test(counts, config.window, config.train_settings.test_window)
        batch = maker.batch(np.full(len(counts), row), *clips, np.zeros(len(counts)))
        batch = maker.with_voters(batch, config.window, config.train_settings.test_window)
        scores.append(head(batch).score01.double().numpy())
    return scale.to_units(np.concatenate(scores))


@contextmanager
def watched_attention(head: nn.Module) -> Iterator[list[torch.Tensor]]:
    """Within it, the cross-attention `(batch, queries, clips)` of the last layer of every decoder, in the order of the calls."""
    seen: list[torch.Tensor] = []

    decoders = [module for module in head.modules() if isinstance(module, Decoder)]
    for decoder in decoders:
        decoder.seen = seen
    try:
        yield seen
    finally:
        for decoder in decoders:
            decoder.seen = None


def _prediction(key: tuple[str, str, str], votes: _Votes, starts: np.ndarray, ends: np.ndarray) -> Prediction:
    grades = np.mean(votes.grades, axis=0) if votes.grades else np.zeros(0)
    moments: tuple[Moment, ...] = ()
    by_grade, shares = np.zeros((0, len(starts))), np.zeros(0)
    if votes.attention:
        by_grade = np.mean(votes.attention, axis=0)
        shares = np.mean([weights @ seen for weights, seen in zip(votes.grades, votes.attention)], axis=0)
        shares = shares / max(shares.sum(), 1e-12)
        best = np.argsort(-shares, kind="stable")[:MOMENTS]
        moments = tuple(Moment(float(starts[i]), float(ends[i]), float(shares[i])) for i in best)
    running = np.mean(votes.running, axis=0) if votes.running else np.zeros(0)
    return Prediction(
        *key,
        predicted=float(np.mean(votes.scores)),
        deviation=float(np.std(votes.scores, ddof=1)) if len(votes.scores) > 1 else float("nan"),
        num_heads=len(votes.scores),
        grades=_floats(grades),
        moments=moments,
        timeline=Timeline(
            _floats(starts), _floats(ends), _floats(shares), tuple(map(_floats, by_grade)), _floats(running)
        ),
        random_weights=votes.random_weights,
        unmatched=votes.unmatched,
    )


def _floats(values: np.ndarray) -> tuple[float, ...]:
    return tuple(float(value) for value in values)


def predict_video(
    run_folder: Path, video: Path, category: str | None = None, weights: Sequence[str] = (), device: str = "auto",
    runtime: str = "auto", *, accept: Sequence[str] = (), running: bool = False, level: float | None = None, abstain_above: float | None = None,
) -> list[Prediction]:  # fmt: skip
    """The scores of a video file, whose features are made by the recipe of the run and then forgotten.

    `category` may be left out where the run has heads for one only. Raises `TrainError` where the extract extra is not
    installed, and a `LongtakeError` where video or weights cannot be had.
    """
    extract_like = from_extract("extract_like", "scoring a video file")
    configs = [load_checkpoint(path)[1] for path in checkpoints(run_folder)]
    config = configs[0]
    names = list(dict.fromkeys(name for c in configs for name, _ in c.tested_on(c.dataset.partition("+")[0])))
    if category is None:
        if len(names) > 1:
            raise DataError(f"which heads are for {video}? Say --category, one of {', '.join(names)}")
        (category,) = names
    elif category not in names:
        raise DataError(f"{run_folder} has no heads for category {category!r}{there_are(category, sorted(names))}")
    streams = (config.feature_header, config.audio_header, *config.stream_headers.values())
    headers = [FeatureHeader.from_json(text) for text in streams if text]
    with TemporaryDirectory() as folder:
        path = Path(folder) / "video.h5"
        extract_like(
            headers,
            video,
            path,
            dataset=config.dataset.partition("+")[0],
            weights=weights,
            device=device,
            runtime=runtime,
        )
        with open_store(path) as store:
            how: dict[str, Any] = {"running": running, "level": level, "abstain_above": abstain_above}
            return predict_run(run_folder, store, category=category, accept=accept, **how)


def predict(
    run: Path | str,
    *,
    features: Path | str | None = None,
    video: Path | str | None = None,
    category: str | None = None,
    only: Sequence[str] = (),
    weights: Sequence[str] = (),
    device: str = "auto",
    runtime: str = "auto",
    accept: Sequence[str] = (),
    overlay: Path | str | None = None,
    level: float | None = None,
    abstain_above: float | None = None,
) -> Predictions:
    """Scores in judges' units by the heads of a run's folder, of the videos of a store or of one video file.

    `category` names the heads for videos without a category, `accept` fields of the recipe that may differ; `weights`, `device` and `runtime`
    are the backbone's, as `extract run` takes them; `overlay` is a file to write the video to, with attention and score. `level` of intervals is
    0.9 by default; scores whose interval is wider than `abstain_above` are nan. Raises a `LongtakeError` where something cannot be scored, or
    `level` or `abstain_above` are given and the run has too few test videos.
    """
    if features is None and video is not None:
        if only:
            raise DataError("only= goes with features=: it names videos of a store")
        running = overlay is not None
        how: dict[str, Any] = {"accept": accept, "level": level, "abstain_above": abstain_above}
        found = predict_video(Path(run), Path(video), category, weights, device, runtime, running=running, **how)
        if overlay is not None:
            draw(Path(video), Path(overlay), found)
        return Predictions(found)
    if features is None or video is not None:
        raise DataError("name what to score with either features= or video=")
    with open_store(features) as store:
        how = {"accept": accept, "level": level, "abstain_above": abstain_above}
        return Predictions(predict_run(Path(run), store, only, category, **how))


def format_predictions(predictions: Sequence[Prediction]) -> str:
    """What `train predict` prints."""
    lines = []
    for one in predictions:
        spread = f" ± {one.deviation:.2f} over {one.num_heads} heads" if one.num_heads > 1 else ""
        score = f"{one.predicted:.2f}{_shown_bounds(one.bounds)}{spread}"
        lines.append(f"{one.video_id}: {one.name} " + (f"no score: {one.abstained}" if one.abstained else score))
        if one.grades:
            lines.append("    grades from worst to best: " + ", ".join(f"{share:.2f}" for share in one.grades))
        if one.unmatched:
            lines.append("    no training video is known to be of its kind: it is compared with any")
        if one.moments:
            times = ", ".join(f"{m.start_seconds:.1f}-{m.end_seconds:.1f} s ({m.share:.0%})" for m in one.moments)
            lines.append(f"    looked at most: {times}")
    lines += list(dict.fromkeys(_interval_note(one, one.bounds) for one in predictions if one.bounds))
    lines += list(dict.fromkeys(f"no intervals: {one.unbounded}" for one in predictions if one.unbounded))
    if any(one.random_weights for one in predictions):
        lines.append(RANDOM_NOTE)
    return "\n".join(lines)


def _shown_bounds(bounds: Bounds | None, digits: int = 2) -> str:
    return f" [{bounds.low:.{digits}f}, {bounds.high:.{digits}f}]" if bounds else ""


def _interval_note(one: Prediction, bounds: Bounds) -> str:
    measured = "" if math.isnan(bounds.coverage) else f"; measured on the run's test videos: {bounds.coverage:.0%}"
    return f"[low, high] of {one.name} is to hold the judges' score of {bounds.level:.0%} of such videos{measured}."


def write_scores(path: Path, predictions: Sequence[Prediction]) -> None:
    """The scores of `train predict` as CSV, whose texts `longtake.safe_text.read_cell` reads back."""
    rows = []
    for one in predictions:
        deviation = "" if math.isnan(one.deviation) else f"{one.deviation:.6f}"
        score = "" if one.abstained else f"{one.predicted:.6f}"
        ends = [f"{one.bounds.low:.6f}", f"{one.bounds.high:.6f}"] if one.bounds else ["", ""]
        names = one.video_id, one.category, one.score
        rows.append([*names, score, deviation, one.num_heads, *ends, one.abstained])
    header = "video_id", "category", "score", "predicted", "deviation", "heads", "low", "high", "abstained"
    write_whole(path, csv_text(header, rows))


def draw(video: Path, out: Path, predictions: Sequence[Prediction]) -> None:
    """Write `out`, the video with the attention of each clip and the score so far; of predictions with `running`."""
    draw_overlay, track = (from_extract(name, "drawing on a video") for name in ("draw_overlay", "track"))
    tracks = []
    for one in predictions:
        line = one.timeline
        whole = "whole: no score" if one.abstained else f"whole {one.predicted:.2f}{_shown_bounds(one.bounds)}"
        running = [whole if one.abstained else f"so far {score:.2f}, {whole}" for score in line.running]
        note = ", RANDOM weights" if one.random_weights else ""
        tracks.append(track(f"{one.name}{note}", line.start_seconds, line.end_seconds, line.shares, running))
    draw_overlay(video, out, tracks)
