"""Experiments in closed form: each row is a name, how many settings its training folds choose between, and the model."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import torch
from scipy.optimize import nnls
from scipy.stats import norm, rankdata

from studies.models import (
    KERNEL,
    WITH_JUMPS,
    Fold,
    Model,
    Rows,
    Weights,
    by_gram,
    centred,
    joined,
    ridge_on,
    with_scores,
)

MORE = (0.5, 2.0)


def with_jumps(name: str, weights: Sequence[float] = MORE) -> list[Model]:
    return [ridge_on({**WITH_JUMPS, name: weight}) for weight in weights]


def second_order(name: str) -> Rows:
    grams = [f"second.{name}.{count}.0.25" for count in (16, 32, 64)]
    return {
        f"second order, {name}": [ridge_on({gram: 1.0}) for gram in grams],
        f"second order, {name}, and jumps": with_jumps(grams[1]),
    }


def self_taught(name: str) -> Rows:
    both = {f"{name}.quarters": 1.0, f"{name}.near": 1.0}
    return {
        f"{name}": [ridge_on(both)],
        f"{name}, and jumps": [
            ridge_on(WITH_JUMPS | {key: weight * share for key, weight in both.items()}) for share in MORE
        ],
    }


def powers(name: str) -> Rows:
    instead = {"kernel.near": 1.0, "variation": 0.25, f"kernel.{name}": 1.0}
    return {
        f"quarters to {name}": [ridge_on(instead)],
        f"quarters to {name}, and jumps": [ridge_on(instead | {"jumps": 2.0})],
        f"{name} further": with_jumps(f"kernel.{name}"),
    }


# Several kernels, weights learnt.

MANY = (
    "kernel.quarters", "kernel.near", "variation", "jumps", "statistics", "mean", "second.log.32.0.25", "second.root.32.0.25",
    "slow.quarters", "future.quarters", "surprise.quarters", "pairs.quarters",
)  # fmt: skip


def aligned(names: Sequence[str]) -> Model:
    """Weights of centred kernel alignment: least squares, none below 0, to the products of scores (Cortes et al., JMLR 2012)."""

    def predict(fold: Fold) -> np.ndarray:
        grams = [centred(fold.gram(name), fold.train) for name in names]
        scores = fold.scores - fold.scores.mean(0)
        inside = np.ix_(fold.train, fold.train)
        off = ~np.eye(len(fold.train), dtype=bool)
        columns = np.stack([gram[inside][off] for gram in grams], 1)
        guessed = []
        for score in scores.T:
            weights, _ = nnls(columns.T @ columns, columns.T @ np.outer(score, score)[off])
            guessed.append(sum(weight * gram for weight, gram in zip(weights / weights.sum() * 3, grams)))
        return np.stack([by_gram(fold, gram)[:, score] for score, gram in enumerate(guessed)], 1)

    return predict


def left_out_weights(names: Sequence[str], groups: str, steps: int = 20, hold: float = 0.0) -> Model:
    """Weights and penalty of each score by gradient steps on the error of each video, or each skater's videos, predicted by the others. `hold` draws the
    logarithms of weights to their start."""

    def predict(fold: Fold) -> np.ndarray:
        grams = torch.from_numpy(np.stack([centred(fold.gram(name), fold.train) for name in names]))
        inside = grams[:, fold.train][:, :, fold.train]
        scores = torch.from_numpy(fold.scores)
        start = torch.tensor([WITH_JUMPS.get(name, 0.1) for name in names], dtype=torch.float64).log()
        found = []
        for score in range(2):
            target = scores[:, score] - scores[:, score].mean()
            logs, penalty = start.clone().requires_grad_(), torch.tensor(0.0, dtype=torch.float64, requires_grad=True)
            optimizer = torch.optim.Adam([logs, penalty], lr=0.2)
            for _ in range(steps):
                own = torch.einsum("k,kij->ij", logs.exp(), inside)
                inverse = torch.linalg.inv(own + penalty.exp() * torch.eye(len(own)).double())
                error = held_out_errors(inverse, target, blocks(fold, groups))
                held = hold * ((logs - start) ** 2).mean()
                optimizer.zero_grad()
                ((error**2).mean() / target.var() + held).backward()
                optimizer.step()
            gram = torch.einsum("k,kij->ij", logs.detach().exp(), grams).numpy()
            found.append(by_gram(fold, gram)[:, score])
        return np.stack(found, 1)

    return predict


def blocks(fold: Fold, groups: str) -> list[np.ndarray]:
    if not groups:
        return []
    values = fold.videos.skaters[fold.train]
    return [np.flatnonzero(values == name) for name in np.unique(values)]


def held_out_errors(inverse: torch.Tensor, target: torch.Tensor, groups: Sequence[np.ndarray]) -> torch.Tensor:
    dual = inverse @ target
    if not groups:
        return dual / inverse.diagonal()
    return torch.cat([torch.linalg.solve(inverse[rows][:, rows], dual[rows]) for rows in map(torch.from_numpy, groups)])


# The spectrum of the joined kernel, and what groups say.


def changed(change) -> Model:
    def predict(fold: Fold) -> np.ndarray:
        gram = joined(fold, WITH_JUMPS)
        return by_gram(fold, centred(change(fold, gram), fold.train))

    return predict


def spectrum(power: float = 1.0, keep: int = 400) -> Model:
    def change(fold: Fold, gram: np.ndarray) -> np.ndarray:
        values, vectors = np.linalg.eigh(gram)
        values = values.clip(1e-9) ** power
        values[: max(len(values) - keep, 0)] = 0
        return (vectors * values) @ vectors.T

    return changed(change)


def manifold(strength: float, neighbours: int = 8) -> Model:
    """A kernel that is smooth on the graph of all videos, tested ones included (Sindhwani et al., ICML 2005)."""

    def change(fold: Fold, gram: np.ndarray) -> np.ndarray:
        diagonal = gram.diagonal()
        distances = diagonal[:, None] + diagonal - 2 * gram
        nearest = np.argsort(distances, 1)[:, 1 : neighbours + 1]
        edges = np.zeros_like(gram)
        edges[np.arange(len(gram))[:, None], nearest] = 1
        edges = np.maximum(edges, edges.T)
        laplacian = np.diag(edges.sum(1)) - edges
        return gram - gram @ np.linalg.solve(np.eye(len(gram)) / strength + laplacian @ gram, laplacian @ gram)

    return changed(change)


def without_groups(strength: float, kind: str, less_scores: bool = True) -> Model:
    """The directions in which the means of training videos of one event (or skater) differ count less; with `less_scores`, after what the scores
    explain of them is taken away. Nothing is known of a tested video's event."""

    def change(fold: Fold, gram: np.ndarray) -> np.ndarray:
        values = (fold.videos.events if kind == "event" else fold.videos.skaters)[fold.train]
        names, index, counts = np.unique(values, return_inverse=True, return_counts=True)
        means = np.zeros((len(names), len(fold.train)))
        means[index, np.arange(len(fold.train))] = 1 / counts[index]
        if less_scores:
            scores = fold.scores - fold.scores.mean(0)
            about = means @ scores
            # Features are regressed on scores over all training videos.
            means = means - about @ np.linalg.pinv(scores)
        means = means * np.sqrt(counts / len(fold.train))[:, None]
        cross = means @ gram[fold.train]
        own = cross[:, fold.train] @ means.T
        return gram - cross.T @ np.linalg.solve(own + np.eye(len(own)) / strength, cross)

    return changed(change)


# Scores and penalties.


def transformed(kind: str, weights: Weights = WITH_JUMPS) -> Model:
    def predict(fold: Fold) -> np.ndarray:
        gram, scores = joined(fold, weights), fold.scores
        if kind == "log":
            there, back = np.log(scores), np.exp
        else:
            grid = np.sort(scores, 0)
            places = norm.ppf((np.arange(len(scores)) + 0.5) / len(scores))
            there = norm.ppf((rankdata(scores, axis=0) - 0.5) / len(scores))

            def back(values: np.ndarray) -> np.ndarray:
                return np.stack([np.interp(values[:, one], places, grid[:, one]) for one in range(2)], 1)

        return back(by_gram(with_scores(fold, there), gram))

    return predict


def by_skater_penalty(fold: Fold) -> np.ndarray:
    """The penalty of the least error for whole skaters left out."""
    gram = joined(fold, WITH_JUMPS)
    own = torch.from_numpy(gram[np.ix_(fold.train, fold.train)])
    scores = torch.from_numpy(fold.scores - fold.scores.mean(0))
    groups = blocks(fold, "skater")
    order = np.argsort(np.concatenate(groups))
    best: list = [None, None]
    for penalty in np.logspace(-2, 1.5, 15):
        inverse = torch.linalg.inv(own + (penalty + 1 / len(own)) * torch.eye(len(own)).double())
        errors = held_out_errors(inverse, scores, groups)[order]
        for score in range(2):
            error = float((errors[:, score] ** 2).mean())
            if best[score] is None or error < best[score][0]:
                best[score] = (error, scores[:, score] - errors[:, score], inverse @ scores[:, score])
    left_out = torch.stack([found[1] for found in best], 1)
    guess = torch.from_numpy(gram[np.ix_(fold.test, fold.train)]) @ torch.stack([found[2] for found in best], 1)
    mix = torch.linalg.pinv(left_out - left_out.mean(0)) @ scores
    return ((guess - left_out.mean(0)) @ mix).numpy() + fold.scores.mean(0)


def rows() -> Rows:
    found: Rows = {"kernel": [ridge_on(KERNEL)], "jumps": [ridge_on(WITH_JUMPS)]}
    found["jumps, powers of the spectrum"] = [spectrum(power) for power in (0.7, 0.85, 1.0, 1.2, 1.5)]
    found["jumps, leading components of the kernel"] = [spectrum(keep=keep) for keep in (20, 40, 80, 160, 400)]
    found["jumps, smooth on the graph of videos"] = [manifold(strength) for strength in (0.01, 0.1, 1.0)]
    for kind, less in itertools.product(("event", "skater"), (True, False)):
        found[f"jumps, less {kind}s{', but for scores' if less else ''}"] = [
            without_groups(strength, kind, less) for strength in (0.3, 3.0, 30.0)
        ]
    found["jumps, logarithm of scores"] = [transformed("log")]
    found["jumps, normal scores"] = [transformed("normal")]
    found["jumps, penalty for skaters left out"] = [by_skater_penalty]
    for name in ("log", "logsteps", "root", "plain", "correlation", "lagged"):
        found |= second_order(name)
    for name in ("slow", "fast", "future", "surprise", "guess", "when", "pairs"):
        found |= self_taught(name)
    for name in ("power0.25", "power0.5", "log", "signed"):
        found |= powers(name)
    found["alignment, four kernels"] = [aligned(MANY[:4])]
    found["alignment, twelve kernels"] = [aligned(MANY)]
    found["weights by skaters left out, four kernels"] = [left_out_weights(MANY[:4], "skater")]
    found["weights by skaters left out, twelve kernels, held"] = [left_out_weights(MANY, "skater", hold=0.1)]
    return found
