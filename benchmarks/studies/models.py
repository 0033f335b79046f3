"""Models on linear kernels between videos, in closed form, and the choice between them inside the training folds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from longtake.train.heads.kernel import KernelSettings
from longtake.train.heads.ridge import solve_dual
from studies.grams import Grams
from studies.videos import Cut, Videos, folds_of_groups, random_folds

INNER_FOLDS = 3
SETTINGS = KernelSettings()
Weights = Mapping[str, float]
"""Of kernels by name; `jumps` is that of the fold."""
KERNEL: Weights = {"kernel.quarters": 1.0, "kernel.near": 1.0, "variation": 0.25}
WITH_JUMPS: Weights = {**KERNEL, "jumps": 2.0}


@dataclass(frozen=True)
class Fold:
    """What a model may see: labels of `train` alone."""

    videos: Videos
    grams: Grams
    number: int
    train: np.ndarray
    test: np.ndarray
    by_skater: bool

    def gram(self, name: str) -> np.ndarray:
        if name == "jumps":
            return self.grams[f"jumps{self.number}"]
        if name.endswith(".quarters"):
            return sum(self.grams[f"{name[:-1]}{part}"] for part in range(1, 5))
        return self.grams[name]

    @property
    def scores(self) -> np.ndarray:
        return self.videos.scores[self.train]

    def inner(self) -> list[Fold]:
        """Folds of the training videos, cut as the outer ones are."""
        if self.by_skater:
            fold_of = folds_of_groups(self.videos.skaters[self.train], INNER_FOLDS, 100)
        else:
            fold_of = random_folds(len(self.train), INNER_FOLDS, 100)
        return [
            Fold(
                self.videos, self.grams, self.number, self.train[fold_of != one], self.train[fold_of == one],
                self.by_skater,
            )
            for one in range(INNER_FOLDS)
        ]  # fmt: skip


Model = Callable[[Fold], np.ndarray]
"""Gives float64 `(test videos, 2)`."""
Rows = dict[str, Sequence[Model]]
"""Name of an experiment -> the settings between which its training folds choose."""


def centred(gram: np.ndarray, train: np.ndarray) -> np.ndarray:
    """All videos, less the mean of the training videos, whose mean diagonal becomes 1."""
    means = gram[:, train].mean(1)
    whole = gram - means[:, None] - means[None] + gram[np.ix_(train, train)].mean()
    return whole / max(whole[train, train].mean(), 1e-12)


def joined(fold: Fold, weights: Weights) -> np.ndarray:
    return sum(weight * centred(fold.gram(name), fold.train) for name, weight in weights.items() if weight)


def by_gram(fold: Fold, gram: np.ndarray, targets: np.ndarray | None = None) -> np.ndarray:
    """Ridge regression of both scores, each learning from the left-out predictions of all targets, as the head `kernel`."""
    further = fold.scores if targets is None else np.concatenate([fold.scores, targets], 1)
    scores = torch.from_numpy(further)
    own = torch.from_numpy(gram[np.ix_(fold.train, fold.train)])
    duals, left_out = solve_dual(own, scores, SETTINGS)
    guesses = scores.mean(0) + torch.from_numpy(gram[np.ix_(fold.test, fold.train)]) @ duals
    return (scores[:, :2].mean(0) + (guesses - left_out.mean(0)) @ related(scores[:, :2], left_out)).numpy()


def with_scores(fold: Fold, scores: np.ndarray) -> Fold:
    """With other scores of the training videos, `(training videos, 2)`."""
    whole = fold.videos.scores.copy()
    whole[fold.train] = scores
    return replace(fold, videos=replace(fold.videos, scores=whole))


def related(scores: torch.Tensor, left_out: torch.Tensor) -> torch.Tensor:
    """How each score is regressed on the left-out predictions of all."""
    return torch.linalg.pinv(left_out - left_out.mean(0)) @ (scores - scores.mean(0))


def ridge_on(weights: Weights) -> Model:
    return lambda fold: by_gram(fold, joined(fold, weights))


def loss(fold: Fold, predicted: np.ndarray) -> float:
    """Squared error in the variance of each score."""
    true = fold.videos.scores[fold.test]
    return float((((true - predicted) ** 2).mean(0) / fold.scores.var(0)).mean())


def chosen(models: Sequence[Model]) -> Model:
    """The one of the least error in folds of the training videos."""

    def predict(fold: Fold) -> np.ndarray:
        if len(models) == 1:
            return models[0](fold)
        inner = fold.inner()
        losses = [np.mean([loss(one, model(one)) for one in inner]) for model in models]
        return models[int(np.argmin(losses))](fold)

    return predict


def tested(videos: Videos, grams: Grams, cut: Cut, model: Model) -> np.ndarray:
    predicted = np.zeros_like(videos.scores)
    by_skater = cut.name.startswith("skater")
    for number, (train, test) in enumerate(cut.rounds()):
        predicted[test] = model(Fold(videos, grams, number, train, test, by_skater))
    return predicted
