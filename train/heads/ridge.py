"""Ridge regression on statistics over clips: the baseline that every trained head must exceed.

No sequence model, no iteration, seconds to fit. Its result shows what the features alone give.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import torch

from longtake.train.heads.base import Batch, Head, HeadOutput

LEAST_SPREAD = 1e-2
"""Smallest deviation by which a statistic is divided, as a share of the median deviation."""
MOST_DUAL = 4096
"""Training videos up to which the fit is in the space of videos, whose memory grows with their square and whose time with their cube. More are fitted
in the space of statistics where these are fewer, which gives the same weights up to rounding."""
ROWS = 1024
"""Videos whose statistics are doubles at a time, of such a fit."""


@dataclass(frozen=True)
class RidgeSettings:
    penalty_min: float = 1e1
    penalty_max: float = 1e6
    penalties: int = 26
    """Number tried between the two, evenly on a log scale; leave-one-out error on the training videos decides."""


def clip_statistics(clips: torch.Tensor) -> torch.Tensor:
    """One video's clips `(clips, dim)` -> `(8 * dim,)`.

    Mean, deviation, mean absolute difference of neighbours, 10% and 90% quantiles, means of the three thirds.
    """
    neighbours = (clips[1:] - clips[:-1]).abs().mean(0) if len(clips) > 1 else torch.zeros_like(clips[0])
    quantiles = torch.quantile(clips, torch.tensor([0.1, 0.9], dtype=clips.dtype, device=clips.device), dim=0)
    edges = [round(i * len(clips) / 3) for i in range(4)]
    thirds = [clips[min(a, len(clips) - 1) : max(b, a + 1)].mean(0) for a, b in zip(edges, edges[1:])]
    return torch.cat([clips.mean(0), clips.std(0, correction=0), neighbours, *quantiles, *thirds])


def safe_spread(
    statistics: torch.Tensor, least: float = LEAST_SPREAD, of: Callable[[torch.Tensor], torch.Tensor] = torch.median
) -> torch.Tensor:
    """Deviation of each column, at least that share of the median one, or of what `of` takes of them. Statistics that hardly vary among the
    training videos would become huge for a test video where they vary."""
    return at_least(statistics.std(0, correction=0), least, of)


def at_least(spread: torch.Tensor, least: float, of: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
    return spread.clamp_min(max(least * float(of(spread)), 1e-8))


def solve_dual(gram: torch.Tensor, targets: torch.Tensor, settings: RidgeSettings) -> tuple[torch.Tensor, torch.Tensor]:
    """Ridge regression in the space of videos, where leave-one-out errors of every penalty cost one eigendecomposition.

    `gram`, double `(videos, videos)`, is of inputs whose mean is 0; `targets`, double `(videos, scores)`. Gives the dual coefficients of the
    targets less their means, and what each video is predicted to be by the others; both `(videos, scores)`, each score with the penalty of its least
    leave-one-out error.
    """
    values, vectors = torch.linalg.eigh(gram)
    means = targets.mean(0)
    rotated = vectors.T @ (targets - means)
    limits = torch.tensor([settings.penalty_min, settings.penalty_max]).log10().tolist()
    duals, left_out = [], []
    for penalty in torch.logspace(*limits, settings.penalties).double().to(gram.device):
        shrink = 1 / (values.clamp_min(0) + penalty)
        dual = vectors @ (shrink[:, None] * rotated)
        # 1/n for the intercept, which leave-one-out estimates as well.
        leverage = 1 - penalty * (vectors**2 @ shrink) + 1 / len(targets)
        duals.append(dual)
        left_out.append(targets - penalty * dual / (1 - leverage).clamp_min(1e-6)[:, None])
    errors = torch.stack([((guess - targets) ** 2).mean(0) for guess in left_out])
    best = errors.argmin(0)
    chosen = best.expand(1, *targets.shape)
    return torch.stack(duals).gather(0, chosen)[0], torch.stack(left_out).gather(0, chosen)[0]


def solve_primal(
    inputs: Callable[[], Iterator[torch.Tensor]], targets: torch.Tensor, settings: RidgeSettings
) -> torch.Tensor:
    """The weights that `solve_dual` leads to, `(statistics,)`, for one score, in the space of statistics. `inputs` gives blocks of rows, double, whose mean
    over all is 0, each time that it is called; `targets` is double `(videos,)`."""
    wanted = targets - targets.mean()
    gram, moment, first = torch.zeros(()), torch.zeros(()), 0
    for block in inputs():
        part, own = block.T @ block, block.T @ wanted[first : first + len(block)]
        gram, moment = (gram.add_(part), moment.add_(own)) if first else (part, own)
        first += len(block)
    values, vectors = torch.linalg.eigh(gram)
    limits = torch.tensor([settings.penalty_min, settings.penalty_max]).log10().tolist()
    penalties = torch.logspace(*limits, settings.penalties).double().to(gram.device)
    shrink = 1 / (values.clamp_min(0)[:, None] + penalties)
    rotated = (vectors.T @ moment)[:, None] * shrink
    errors, first = torch.zeros(len(penalties)).to(gram), 0
    for block in inputs():
        turned = block @ vectors
        own = wanted[first : first + len(block), None]
        leverage = turned**2 @ shrink + 1 / len(targets)
        errors += (((own - turned @ rotated) / (1 - leverage).clamp_min(1e-6)) ** 2).sum(0)
        first += len(block)
    return vectors @ rotated[:, errors.argmin()]


class Ridge(Head):
    """The baseline: ridge regression on statistics over clips, from whole videos."""

    Settings = RidgeSettings
    closed_form = True

    def build(self, dim: int, audio_dim: int) -> None:
        for name in ("centre", "weight"):
            self.register_buffer(name, torch.zeros(8 * dim))
        self.register_buffer("spread", torch.ones(8 * dim))
        self.register_buffer("intercept", torch.zeros(()))

    @torch.no_grad()
    def fit_closed_form(self, batches: Iterable[Batch]) -> None:
        """Linear in standardised statistics; the penalty is that of the least leave-one-out error."""
        pairs = [(_statistics(batch), batch.target01) for batch in batches]
        statistics, target = (torch.cat(parts) for parts in zip(*pairs))
        del pairs
        target = target.double()
        self.intercept.copy_(target.mean())
        if len(statistics) > max(MOST_DUAL, statistics.shape[1]):
            self._fit_many(statistics, target)
            return
        inputs = statistics.double()
        self.centre.copy_(inputs.mean(0))
        self.spread.copy_(safe_spread(inputs))
        inputs = (inputs - self.centre.double()) / self.spread.double()
        dual, _ = solve_dual(inputs @ inputs.T, target[:, None], self.settings)
        self.weight.copy_(inputs.T @ dual[:, 0])

    def _fit_many(self, statistics: torch.Tensor, target: torch.Tensor) -> None:
        """As above, without an array of doubles of all videos, or one of all pairs of videos."""
        blocks = statistics.split(ROWS)
        centre = torch.stack([block.double().sum(0) for block in blocks]).sum(0) / len(statistics)
        squares = torch.stack([(block.double() - centre).square().sum(0) for block in blocks])
        variance = squares.sum(0) / len(statistics)
        self.centre.copy_(centre)
        self.spread.copy_(at_least(variance.sqrt(), LEAST_SPREAD, torch.median))

        def inputs() -> Iterator[torch.Tensor]:
            for block in blocks:
                yield (block.double() - self.centre.double()) / self.spread.double()

        self.weight.copy_(solve_primal(inputs, target, self.settings))

    def forward(self, batch: Batch) -> HeadOutput:
        return HeadOutput((_statistics(batch) - self.centre) / self.spread @ self.weight + self.intercept)


def _statistics(batch: Batch) -> torch.Tensor:
    return torch.stack([clip_statistics(clips[mask]) for clips, mask in zip(batch.clips, batch.mask)])
