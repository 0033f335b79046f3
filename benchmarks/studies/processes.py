"""Experiments with Gaussian processes whose scales are learnt, and with the values of elements as further scores."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import torch

from longtake.train.heads.kernel import KernelSettings
from longtake.train.heads.ridge import solve_dual
from studies.models import WITH_JUMPS, Fold, Model, Rows, Weights, centred, joined


def gaussian_process(names: Sequence[str], warp: bool, steps: int = 30) -> Model:
    """One process a score. Weights of kernels, noise, and with `warp` weight and width of a Gaussian kernel on their joined distances, by marginal likelihood."""

    def predict(fold: Fold) -> np.ndarray:
        grams = torch.from_numpy(np.stack([centred(fold.gram(name), fold.train) for name in names]))
        start = torch.tensor([WITH_JUMPS.get(name, 0.1) / 4 for name in names], dtype=torch.float64).log()
        mean, spread = fold.scores.mean(0), fold.scores.std(0)
        targets = torch.from_numpy((fold.scores - mean) / spread)
        found = [process_of(fold, grams, start, target, warp, steps) for target in targets.T]
        return np.stack(found, 1) * spread + mean

    return predict


def process_of(
    fold: Fold, grams: torch.Tensor, start: torch.Tensor, target: torch.Tensor, warp: bool, steps: int
) -> np.ndarray:
    logs = start.clone().requires_grad_()
    noise = torch.tensor(-0.7, dtype=torch.float64, requires_grad=True)
    warped = torch.tensor([-1.0, 0.5], dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([logs, noise, warped], lr=0.15)

    def whole(rows: np.ndarray, others: np.ndarray) -> torch.Tensor:
        linear = torch.einsum("k,kij->ij", logs.exp(), grams[:, rows][:, :, others])
        if not warp:
            return linear
        diagonal = torch.einsum("k,ki->i", logs.exp(), grams.diagonal(dim1=1, dim2=2))
        far = (diagonal[rows][:, None] + diagonal[others] - 2 * linear).clamp_min(0)
        return linear + warped[0].exp() * torch.exp(-far / (2 * warped[1].exp()))

    eye = torch.eye(len(fold.train), dtype=torch.float64)
    for _ in range(steps):
        optimizer.zero_grad()
        root = torch.linalg.cholesky(whole(fold.train, fold.train) + (noise.exp() + 1e-6) * eye)
        half = torch.linalg.solve_triangular(root, target[:, None], upper=False)
        ((half**2).sum() / 2 + root.diagonal().log().sum()).backward()
        optimizer.step()
    with torch.no_grad():
        own = whole(fold.train, fold.train) + (noise.exp() + 1e-6) * eye
        return (whole(fold.test, fold.train) @ torch.linalg.solve(own, target)).numpy()


@cache
def element_sums(path: Path, ids: tuple[str, ...]) -> dict[str, np.ndarray]:
    """`(videos, columns)`: base values and grades of execution, summed over jumps, spins and steps."""
    sheets = json.loads(path.read_text())
    rows = []
    for video in ids:
        sums = np.zeros((3, 2))
        for element in sheets[video]:
            kind = 1 if "Sp" in element["element_name"] else 2 if "Sq" in element["element_name"] else 0
            sums[kind] += element["base_value"], element["goe"]
        rows.append(sums)
    every = np.stack(rows)
    return {"base": every[:, :, 0], "grade": every[:, :, 1], "all": every.reshape(len(every), -1)}


def with_elements(path: Path, columns: str, shrink: float, weights: Weights = WITH_JUMPS) -> Model:
    """Base values and grades of elements are learnt too, and the scores are regressed on the left-out predictions of all, with a penalty."""

    def predict(fold: Fold) -> np.ndarray:
        gram = joined(fold, weights)
        sums = element_sums(path, fold.videos.ids)[columns][fold.train]
        scores = torch.from_numpy(np.concatenate([fold.scores, sums], 1))
        own = torch.from_numpy(gram[np.ix_(fold.train, fold.train)])
        duals, left_out = solve_dual(own, scores, KernelSettings())
        guesses = scores.mean(0) + torch.from_numpy(gram[np.ix_(fold.test, fold.train)]) @ duals
        spread = left_out.std(0).clamp_min(1e-9)
        inputs = (left_out - left_out.mean(0)) / spread
        # Drawn to each score's own prediction.
        start = torch.zeros(inputs.shape[1], 2, dtype=torch.float64)
        start[0, 0], start[1, 1] = spread[0], spread[1]
        target = scores[:, :2] - scores[:, :2].mean(0)
        penalty = shrink * len(inputs) * torch.eye(inputs.shape[1], dtype=torch.float64)
        mix = start + torch.linalg.solve(inputs.T @ inputs + penalty, inputs.T @ (target - inputs @ start))
        return (scores[:, :2].mean(0) + (guesses - left_out.mean(0)) / spread @ mix).numpy()

    return predict


def rows(sheets: Path) -> Rows:
    found: Rows = {
        "Gaussian process, scales learnt, four kernels": [gaussian_process(tuple(WITH_JUMPS), False)],
        "Gaussian process with a Gaussian kernel, scales learnt": [gaussian_process(tuple(WITH_JUMPS), True)],
    }
    for columns in ("base", "grade", "all"):
        found[f"elements as further scores: {columns}"] = [
            with_elements(sheets, columns, shrink) for shrink in (0.1, 1.0)
        ]
    return found
