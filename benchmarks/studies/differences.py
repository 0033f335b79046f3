"""Experiments with pairs of videos and differences inside an event. Which videos are of one event is known, of tested ones too, but no score of theirs."""

from __future__ import annotations

import numpy as np
import torch

from longtake.train.heads.kernel import KernelSettings
from longtake.train.heads.ridge import solve_dual
from studies.models import WITH_JUMPS, Fold, Model, Rows, Weights, by_gram, joined, related, with_scores


def event_means(events: np.ndarray) -> np.ndarray:
    """`(videos, videos)`: averages over the event of each."""
    same = (events[:, None] == events[None]).astype(float)
    return same / same.sum(1, keepdims=True)


def both_parts(weights: Weights, mix: float, level: str = "guess") -> Model:
    """The level of an event from the plain model's guesses for its videos, and what is inside from features and scores less their event's means."""

    def predict(fold: Fold) -> np.ndarray:
        events, train, test = fold.videos.events, fold.train, fold.test
        here = np.concatenate([train, test])
        average = np.eye(len(events))
        average[np.ix_(here, here)] = event_means(events[here])
        gram = joined(fold, weights)
        keep = np.eye(len(events)) - average
        inner = keep @ gram @ keep.T
        inner /= inner[train, train].mean()
        own = event_means(events[train])
        differences = fold.scores - own @ fold.scores
        inside = by_gram(with_scores(fold, differences), inner)
        plain = by_gram(fold, gram)
        among = event_means(events[test])
        if level == "guess":
            levels = among @ plain
        else:
            known = np.full_like(fold.videos.scores, np.nan)
            known[train] = own @ fold.scores
            first = {event: row for row, event in zip(train, events[train])}
            levels = np.stack(
                [known[first[events[row]]] if events[row] in first else plain[at] for at, row in enumerate(test)]
            )
        return levels + (1 - mix) * (plain - among @ plain) + mix * (inside - among @ inside)

    return predict


def weighted(weights: Weights, share: float) -> Model:
    """Squared error, and `share` times that of differences inside an event."""

    def predict(fold: Fold) -> np.ndarray:
        gram = joined(fold, weights)
        own = event_means(fold.videos.events[fold.train])
        count = len(fold.train)
        # The precision of errors: those inside an event weigh more.
        precision = np.eye(count) + share * (np.eye(count) - own)
        root = np.linalg.cholesky(precision).T
        target = fold.scores - fold.scores.mean(0)
        inside = root @ gram[np.ix_(fold.train, fold.train)] @ root.T
        duals, left_out = solve_dual(torch.from_numpy(inside), torch.from_numpy(root @ target), KernelSettings())
        left_out = torch.from_numpy(np.linalg.solve(root, left_out.numpy()))
        guesses = gram[np.ix_(fold.test, fold.train)] @ root.T @ duals.numpy()
        scores = torch.from_numpy(fold.scores)
        return fold.scores.mean(0) + (guesses - left_out.mean(0).numpy()) @ related(scores, left_out).numpy()

    return predict


def ranked(weights: Weights, strength: float, everywhere: bool, mix: float = 1.0) -> Model:
    """Logistic regression on which of two videos has the higher score, of pairs inside an event or of all, with the spread of the plain model's guesses."""

    def predict(fold: Fold) -> np.ndarray:
        gram = joined(fold, weights)
        plain = by_gram(fold, gram)
        events = fold.videos.events[fold.train]
        paired = None if everywhere else events[:, None] == events[None]
        own = torch.from_numpy(gram[np.ix_(fold.train, fold.train)])
        duals = [pair_dual(own, score, paired, strength) for score in fold.scores.T]
        guess = gram[np.ix_(fold.test, fold.train)] @ np.stack(duals, 1)
        scale = plain.std(0) / guess.std(0).clip(1e-9)
        return mix * (plain.mean(0) + scale * (guess - guess.mean(0))) + (1 - mix) * plain

    return predict


def pair_dual(own: torch.Tensor, score: np.ndarray, paired: np.ndarray | None, strength: float) -> np.ndarray:
    """Dual coefficients `(videos,)`. A pair weighs by its difference, at most a deviation; of all pairs, 8000 are drawn."""
    true = torch.from_numpy(score)
    higher = true[:, None] > true[None]
    if paired is not None:
        higher &= torch.from_numpy(paired)
    first, second = higher.nonzero(as_tuple=True)
    some = torch.from_numpy(np.random.RandomState(0).permutation(len(first))[:8000])
    first, second = first[some], second[some]
    gaps = ((true[first] - true[second]) / true.std()).clamp_max(1)
    dual = torch.zeros(len(own), dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([dual], max_iter=60, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        values = own @ dual
        loss = (gaps * torch.nn.functional.softplus(values[second] - values[first])).sum() / gaps.sum()
        loss = loss + strength * dual @ values
        loss.backward()
        return loss

    optimizer.step(closure)
    return dual.detach().numpy()


def rows() -> Rows:
    return {
        "differences inside an event, and the plain model": [both_parts(WITH_JUMPS, mix) for mix in (0.25, 0.5, 0.75)],
        "differences inside an event alone": [both_parts(WITH_JUMPS, 1.0)],
        "half, level by training scores of the event": [both_parts(WITH_JUMPS, 0.5, "known")],
        "errors inside events weigh more": [weighted(WITH_JUMPS, share) for share in (0.5, 2.0)],
        "pairs inside an event, logistic": [ranked(WITH_JUMPS, 0.01, False)],
        "half of that, half of the plain model": [ranked(WITH_JUMPS, 0.01, False, 0.5)],
        "pairs of all videos, logistic": [ranked(WITH_JUMPS, 0.01, True)],
    }
