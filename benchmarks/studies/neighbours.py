"""Experiments in which training videos are looked at while scoring, or mixed: attention without gradient steps, learnt metrics, mixup."""

from __future__ import annotations

import numpy as np
import torch

from longtake.train.heads.kernel import KernelSettings
from longtake.train.heads.ridge import solve_dual
from studies.models import WITH_JUMPS, Fold, Model, Rows, Weights, by_gram, centred, joined, related


def distances(gram: np.ndarray, rows: np.ndarray, others: np.ndarray) -> np.ndarray:
    diagonal = gram.diagonal()
    return (diagonal[rows][:, None] + diagonal[others] - 2 * gram[np.ix_(rows, others)]).clip(0)


def attention(weights: Weights, residual: bool) -> Model:
    """The mean of training videos' scores, weighted by a Gaussian of the distance whose width leaves the least error for left-out videos; with
    `residual`, of what the plain model leaves."""

    def predict(fold: Fold) -> np.ndarray:
        gram = joined(fold, weights)
        scores = fold.scores
        base, left_out = np.zeros((len(fold.test), 2)), np.zeros_like(scores)
        if residual:
            base = by_gram(fold, gram)
            left_out = left_out_of(fold, gram)
        target = scores - left_out
        own, far = distances(gram, fold.train, fold.train), distances(gram, fold.test, fold.train)
        np.fill_diagonal(own, np.inf)
        best: list = [None, None]
        for width in np.geomspace(0.02, 2, 12):
            for shrink in (0.25, 0.5, 1.0):
                guess, tested = (
                    shrink * softmax(-d / width) @ (target - target.mean(0)) + target.mean(0) for d in (own, far)
                )
                for score in range(2):
                    error = ((guess[:, score] - target[:, score]) ** 2).mean()
                    if best[score] is None or error < best[score][0]:
                        best[score] = (error, tested[:, score])
        return base + np.stack([found[1] for found in best], 1)

    return predict


def left_out_of(fold: Fold, gram: np.ndarray) -> np.ndarray:
    scores = torch.from_numpy(fold.scores)
    _, left_out = solve_dual(torch.from_numpy(gram[np.ix_(fold.train, fold.train)]), scores, KernelSettings())
    return (scores.mean(0) + (left_out - left_out.mean(0)) @ related(scores, left_out)).numpy()


def softmax(values: np.ndarray) -> np.ndarray:
    shifted = np.exp(values - values.max(1, keepdims=True))
    return shifted / shifted.sum(1, keepdims=True)


def components_of(gram: np.ndarray, count: int) -> torch.Tensor:
    values, vectors = np.linalg.eigh(gram)
    return torch.from_numpy(vectors[:, -count:] * np.sqrt(values[-count:].clip(0)))


def learnt_metric(weights: Weights, count: int, decay: float, steps: int = 60) -> Model:
    """The same attention in a metric learnt by the error of left-out videos (Weinberger and Tesauro, AISTATS 2007), from the leading components of the
    kernel; skaters' own other videos are not looked at while learning."""

    def predict(fold: Fold) -> np.ndarray:
        features = components_of(joined(fold, weights), count)
        train, test = features[fold.train], features[fold.test]
        scores = torch.from_numpy((fold.scores - fold.scores.mean(0)) / fold.scores.std(0))
        skaters = fold.videos.skaters[fold.train]
        hidden = torch.from_numpy(skaters[:, None] == skaters[None])
        project = (2.0 * torch.eye(count, dtype=torch.float64)).requires_grad_()
        start = project.detach().clone()
        optimizer = torch.optim.Adam([project], lr=0.03)

        def guess(queries: torch.Tensor, hide: torch.Tensor | None) -> torch.Tensor:
            far = torch.cdist(queries @ project, train @ project) ** 2
            if hide is not None:
                far = far.masked_fill(hide, float("inf"))
            return torch.softmax(-far, 1) @ scores

        for _ in range(steps):
            optimizer.zero_grad()
            loss = ((guess(train, hidden) - scores) ** 2).mean() + decay * ((project - start) ** 2).mean()
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            return guess(test, None).numpy() * fold.scores.std(0) + fold.scores.mean(0)

    return predict


def mixed(weights: Weights, width: float, number: int) -> Model:
    """A Gaussian kernel between embedded videos, fitted to `number` mixtures of two training videos besides them (mixup; Zhang et al., ICLR 2018)."""

    def predict(fold: Fold) -> np.ndarray:
        gram, train, test = joined(fold, weights), fold.train, fold.test
        rng = np.random.RandomState(0)
        share = np.zeros((len(train) + number, len(train)))
        share[: len(train)] = np.eye(len(train))
        for row in range(len(train), len(share)):
            first, second = rng.choice(len(train), 2, replace=False)
            part = rng.beta(1.0, 1.0)
            share[row, first], share[row, second] = part, 1 - part
        whole = np.zeros((len(share) + len(test), len(gram)))
        whole[: len(share), train] = share
        whole[np.arange(len(share), len(whole)), test] = 1
        products = whole @ gram @ whole.T
        far = (products.diagonal()[:, None] + products.diagonal() - 2 * products).clip(0)
        return by_mixtures(np.exp(-far / (2 * width)), share @ fold.scores, len(train), np.logspace(-3, 2, 16))

    return predict


def exchanged_quarters(number: int) -> Model:
    """`number` videos besides the training videos, whose quarters are of two of them, and whose scores are means of theirs by as many quarters; a mixture has the
    mean of their other kernels."""

    def predict(fold: Fold) -> np.ndarray:
        train, test = fold.train, fold.test
        rng = np.random.RandomState(0)
        mixtures = [rng.choice(rng.choice(len(train), 2, replace=False), 4) for _ in range(number)]
        chosen = np.concatenate([np.repeat(np.arange(len(train))[:, None], 4, 1), np.array(mixtures)])
        selected = np.concatenate([train[chosen], np.repeat(test[:, None], 4, 1)])
        own = np.arange(len(train))
        quarters = sum(
            fold.grams[f"kernel.quarter{part + 1}"][np.ix_(selected[:, part], selected[:, part])] for part in range(4)
        )
        gram = centred(quarters, own)
        share = np.stack([selected[:, part][:, None] == np.arange(fold.videos.count) for part in range(4)]).mean(0)
        for name, weight in {"kernel.near": 1.0, "variation": 0.25, "jumps": 2.0}.items():
            gram = gram + weight * share @ centred(fold.gram(name), train) @ share.T
        target = np.stack([fold.scores[chosen[:, part]] for part in range(4)]).mean(0)
        return by_mixtures(gram, target, len(train), np.logspace(-1, 2.5, 14))

    return predict


def by_mixtures(gram: np.ndarray, target: np.ndarray, own: int, penalties: np.ndarray) -> np.ndarray:
    """Ridge regression on training videos, the first `own` rows, and mixtures, the further rows of `target`; for the rows of `gram` after these. The penalty
    has the least error for training videos left out, mixtures of them not."""
    count, mean = len(target), target[:own].mean(0)
    values, vectors = np.linalg.eigh(gram[:count, :count])
    rotated = vectors.T @ (target - mean)
    errors, duals = [], []
    for penalty in penalties:
        shrink = 1 / (values.clip(0) + penalty)
        dual = vectors @ (rotated * shrink[:, None])
        leverage = 1 - penalty * (vectors**2 @ shrink)
        errors.append(((penalty * dual / (1 - leverage).clip(1e-6)[:, None])[:own] ** 2).mean(0))
        duals.append(dual)
    best = np.argmin(errors, 0)
    dual = np.stack([duals[one][:, score] for score, one in enumerate(best)], 1)
    return mean + gram[count:, :count] @ dual


def rows() -> Rows:
    return {
        "attention to training videos": [attention(WITH_JUMPS, False)],
        "attention to what is left": [attention(WITH_JUMPS, True)],
        "learnt metric": [learnt_metric(WITH_JUMPS, 40, decay) for decay in (0.3, 3.0)],
        "Gaussian kernel on the embeddings": [mixed(WITH_JUMPS, width, 0) for width in (4.0, 16.0)],
        "the same, with mixed videos": [mixed(WITH_JUMPS, width, 600) for width in (4.0, 16.0)],
        "quarters exchanged": [exchanged_quarters(400)],
    }
