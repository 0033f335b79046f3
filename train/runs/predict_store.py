"""Scores of the videos of a store by the heads of a run: in judges' units, with the spread over the heads, the grades, and the moments that mattered."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from longtake.errors import there_are
from longtake.features.store import Store
from longtake.train.conformal import LEVEL
from longtake.train.data.batches import BatchMaker
from longtake.train.data.dataset import FeatureSet, ScoreScale
from longtake.train.data.windows import WHOLE, clips_to_test, places_in_test
from longtake.train.engine.head_config import HeadConfig
from longtake.train.errors import DataError
from longtake.train.heads.blocks.transformer import Decoder
from longtake.train.runs.calibration import ImpossibleScore, RunCalibration
from longtake.train.runs.evaluate import load_run
from longtake.train.runs.learnt import Training
from longtake.train.runs.prediction import Moment, Prediction, Timeline, shown_bounds

MOMENTS = 3
PREFIXES = 32
"""Beginnings of a video that a head scores in one batch."""


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
    judges: float = math.nan
    learnt_by: int = 0


def predict_run(
    run_folder: Path, store: Store, only: Sequence[str] = (), category: str | None = None,
    *, accept: Sequence[str] = (), running: bool = False, level: float | None = None, abstain_above: float | None = None,
    memory: str | int | None = None,
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
    training = Training(run_folder)
    for head, config, maker in load_run(run_folder, store, accept, memory):
        data = maker.data
        known |= zip(data.video_ids, data.categories)
        stream = store.stream(f"{data.header.backbone}@{data.header.recipe_id}")
        for own_category, scale in config.tested_on(store.dataset):
            asked_of.add(own_category)
            if category is not None and own_category != category:
                continue
            learnt = training.learnt(data, config, store.dataset, own_category, scale.name)
            for row in _rows(data, own_category, category is not None, only):
                video_id = data.video_ids[row]
                if video_id not in spans:
                    video = stream.read(video_id)
                    spans[video_id] = video.start_seconds, video.end_seconds
                    if not stream.header.times_known:
                        spans[video_id] = (
                            np.full_like(video.start_seconds, np.nan),
                            np.full_like(video.end_seconds, np.nan),
                        )
                found = votes.setdefault((video_id, own_category, scale.name), _Votes([], [], scale, [], [], []))
                found.judges = data.scores[scale.name][row] if scale.name in data.scores else math.nan
                _vote(found, head, config, maker, row, scale)
                if running:
                    found.running.append(_running(head, config, maker, row, scale))
                found.random_weights |= config.random_weights
                found.learnt_by += video_id in learnt
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
        one = _prediction(key, found, *spans[key[0]])
        try:
            bounds, why = calibration.bounds(store.dataset, *key[1:], *_by_fold(found))
            made.append(replace(one, bounds=bounds, unbounded=why))
        except ImpossibleScore as error:
            made.append(replace(one, predicted=float("nan"), abstained=str(error)))
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
    why = f"the interval{shown_bounds(one.bounds)} is {width:.2f} wide, more than {abstain_above:g}"
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
        moments = tuple(Moment(float(starts[i]), float(ends[i]), int(i), float(shares[i])) for i in best)
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
        limits=(votes.scale.minimum, votes.scale.maximum) if votes.scale.stated else None,
        judges=None if math.isnan(votes.judges) else float(votes.judges),
        learnt_by=votes.learnt_by,
    )


def _floats(values: np.ndarray) -> tuple[float, ...]:
    return tuple(float(value) for value in values)
