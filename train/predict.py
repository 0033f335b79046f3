"""Scores of videos by the heads of a run: in judges' units, with the spread over the heads, the grades, and the moments that mattered."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from features.store import Store
from manifests.errors import there_are
from train.checkpoint import HeadConfig
from train.dataset import CENTRE, FeatureSet, ScoreScale
from train.errors import DataError
from train.evaluate import load_run

MOMENTS = 3


@dataclass(frozen=True)
class Moment:
    start_seconds: float
    end_seconds: float
    share: float
    """Of the attention that the grades, weighed by how much each counts, give to the clips of the video."""


@dataclass(frozen=True)
class Prediction:
    video_id: str
    category: str
    score: str
    predicted: float
    """Judges' units; the mean over heads."""
    deviation: float
    """Over heads, seeds and folds alike; nan for a single one."""
    num_heads: int
    grades: tuple[float, ...]
    """Weight of each grade from worst to best, summing to 1, the mean over heads; empty for a head without grades."""
    moments: tuple[Moment, ...]
    """The clips that were looked at most, in the order of their weight; empty for a head without attention."""
    random_weights: bool


@dataclass
class _Votes:
    """What the heads of one category and score say of one video."""

    scores: list[float]
    grades: list[np.ndarray]
    attention: list[np.ndarray]
    random_weights: bool = False


def predict_run(
    run_folder: Path, store: Store, only: Sequence[str] = (), category: str | None = None
) -> list[Prediction]:
    """Every video of the store that the run has a head for. A video without a category is scored when `category` names the heads.

    Raises `CheckpointError` when the recipes differ, naming how, and `DataError` for ids that the store lacks.
    """
    votes: dict[tuple[str, str, str], _Votes] = {}
    spans: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    asked_of: set[str] = set()
    for head, config, data in load_run(run_folder, store):
        stream = store.stream(f"{data.header.backbone}@{data.header.recipe_id}")
        for own_category, scale in config.tested_on(store.dataset):
            asked_of.add(own_category)
            if category is not None and own_category != category:
                continue
            for row in _rows(data, own_category if category is None else None, only):
                video_id = data.video_ids[row]
                if video_id not in spans:
                    spans[video_id] = stream.read(video_id).start_seconds, stream.read(video_id).end_seconds
                found = votes.setdefault((video_id, own_category, scale.name), _Votes([], [], []))
                _vote(found, head, config, data, row, scale)
                found.random_weights |= config.random_weights
    if category is not None and category not in asked_of:
        raise DataError(f"{run_folder} has no heads for category {category!r}{there_are(category, sorted(asked_of))}")
    if not votes:
        raise DataError(
            f"{run_folder} has no head for the videos of {store.path}: their categories are not among "
            f"{', '.join(sorted(asked_of))}. Name the heads with --category"
        )
    return [_prediction(key, found, *spans[key[0]]) for key, found in votes.items()]


def _rows(data: FeatureSet, category: str | None, only: Sequence[str]) -> np.ndarray:
    unknown = [video_id for video_id in only if video_id not in data.video_ids]
    if unknown:
        raise DataError(f"no features of {', '.join(unknown)}{there_are(unknown[0], data.video_ids[:20])}")
    rows = data.rows(category=category or None)
    return np.array([row for row in rows if not only or data.video_ids[row] in only], int)


@torch.no_grad()
def _vote(votes: _Votes, head: nn.Module, config: HeadConfig, data: FeatureSet, row: int, scale: ScoreScale) -> None:
    settings = config.settings
    rows, nothing = np.array([row]), np.zeros(1)
    batches = data.test_batches(rows, nothing, window=config.window, test_window=settings.test_window, batch_size=1)
    with watched_attention(head) as seen:
        (output,) = [head(batch) for batch in batches]
    votes.scores.append(float(scale.to_units(output.score01.double().numpy())[0]))
    if not output.weights:
        return
    weights = next(iter(output.weights.values()))[
        0
    ]  # of several levels or branches, the first is over all that was perceived
    votes.grades.append(weights.numpy())
    attention = next((a[0] for a in seen if a.shape[1] == len(weights)), None)
    num_clips = int(data.num_clips[row])
    if attention is None or attention.shape[1] < min(num_clips, config.window):
        return
    shares = (weights[:, None] * attention).sum(0).numpy()
    whole = np.zeros(num_clips)
    first = (num_clips - config.window) // 2 if settings.test_window == CENTRE and num_clips > config.window else 0
    count = min(num_clips - first, len(shares))
    whole[first : first + count] = shares[:count]
    votes.attention.append(whole / max(whole.sum(), 1e-12))


@contextmanager
def watched_attention(head: nn.Module) -> Iterator[list[torch.Tensor]]:
    """Within it, the cross-attention `(batch, queries, clips)` of the last layer of every decoder, in the order of the calls."""
    seen: list[torch.Tensor] = []

    def ask(module: nn.Module, arguments: tuple, options: dict) -> tuple[tuple, dict]:
        return arguments, {**options, "need_weights": True, "average_attn_weights": True}

    def keep(module: nn.Module, arguments: tuple, options: dict, output: tuple) -> None:
        seen.append(output[1].detach())

    with ExitStack() as stack:
        for module in head.modules():
            if isinstance(module, nn.TransformerDecoder):
                attention = module.layers[-1].multihead_attn
                stack.callback(attention.register_forward_pre_hook(ask, with_kwargs=True).remove)
                stack.callback(attention.register_forward_hook(keep, with_kwargs=True).remove)
        yield seen


def _prediction(key: tuple[str, str, str], votes: _Votes, starts: np.ndarray, ends: np.ndarray) -> Prediction:
    moments: tuple[Moment, ...] = ()
    if votes.attention:
        shares = np.mean(votes.attention, axis=0)
        best = np.argsort(-shares, kind="stable")[:MOMENTS]
        moments = tuple(Moment(float(starts[i]), float(ends[i]), float(shares[i])) for i in best)
    return Prediction(
        *key,
        predicted=float(np.mean(votes.scores)),
        deviation=float(np.std(votes.scores, ddof=1)) if len(votes.scores) > 1 else float("nan"),
        num_heads=len(votes.scores),
        grades=tuple(float(value) for value in np.mean(votes.grades, axis=0)) if votes.grades else (),
        moments=moments,
        random_weights=votes.random_weights,
    )
