"""Kernel ridge regression on what kinds of clips a performance has, and when.

The mean of a Gaussian kernel over all pairs of clips of two videos says how alike the kinds of their clips are: the kernel mean embedding
(Muandet et al., Foundations and Trends in Machine Learning, 2017). It is taken twice, of clips in the same quarter of the performance and of clips that
are near in time, and joined by a linear kernel on how much the clips of a video vary. A score is linear in these, fitted in closed form. So that a fitted
head need not carry all training clips, the kernel is approximated from some of them, the landmarks (Nystroem's method; Williams and Seeger, NIPS 2000).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from longtake.train.errors import SettingsError, require_at_least
from longtake.train.heads.base import Batch, Head, HeadOutput, Needs
from longtake.train.heads.ridge import RidgeSettings, safe_spread, solve_dual

KNOTS = 6
"""Points in time from which nearness in time is interpolated; visually exact for `time_width` 0.2 and more."""
LEAST_CLIP_SPREAD = 1e-3
"""As ridge's, of clips, and a share of the largest: half of all units may be dead while training. The quietest of Video Swin's on Fis-V, at 0.0024, is
not dead."""
JITTER = 1e-4
"""Added to the diagonal of the landmarks' kernel, whose entries are at most 1."""


@dataclass(frozen=True)
class KernelSettings(RidgeSettings):
    penalty_min: float = 1e-4
    penalty_max: float = 1e3
    """Of kernels whose mean diagonal, centred, is 1."""
    penalties: int = 36
    bandwidth: float = 1.5
    """Of the kernel `exp(-bandwidth * |a - b|^2 / (2 * dim))` between standardised clips."""
    segments: int = 4
    """Parts of equal length; what happens when counts as much as what happens."""
    time_width: float = 0.3
    """Deviation of the Gaussian of nearness in time, as a share of the performance."""
    variation_weight: float = 0.25
    """Of the linear kernel on standardised deviations and mean absolute differences of neighbouring clips; each of the other two kernels weighs 1."""
    beside: str = ""
    """Further scores that are learnt, separated by commas, such as `tes,pcs`. The leave-one-out predictions of all of them are regressed on
    the score that is asked for: two judgements of one performance are related."""
    landmarks: int = 4096
    """Training clips that the kernel is approximated from, taken at equal distances, so that every video provides some."""

    def __post_init__(self) -> None:
        require_at_least(self, segments=1, landmarks=1, penalties=1, variation_weight=0)
        for name in ("bandwidth", "time_width"):
            if not getattr(self, name) > 0:
                raise SettingsError(f"{name} must be above 0, got {getattr(self, name)}")


class Kernel(Head):
    """Kernel ridge regression on which kinds of clips occur, and when; seconds to fit, no epochs."""

    Settings = KernelSettings
    closed_form = True

    @classmethod
    def needs(cls, settings: KernelSettings) -> Needs:
        return Needs(targets=names(settings.beside))

    @classmethod
    def memory_to_fit(cls, settings: KernelSettings, num_clips: np.ndarray, dim: int) -> int:
        """All training clips as batches, as videos, as one table and standardised; of each video a row of every kernel in float32 and float64; and
        the kernels between videos."""
        count, rows = len(num_clips), settings.segments + KNOTS + 1
        landmarks = min(settings.landmarks, int(num_clips.sum()))
        return int(4 * 4 * num_clips.sum() * dim + 3 * 8 * count * rows * landmarks + 4 * 8 * count**2)

    def build(self, dim: int, audio_dim: int) -> None:
        s = self.settings
        self.register_buffer("centre", torch.zeros(dim))
        self.register_buffer("spread", torch.ones(dim))
        # With fewer training clips than landmarks, the rest stay zero and weigh nothing.
        self.register_buffer("landmarks", torch.zeros(s.landmarks, dim))
        self.register_buffer("weight", torch.zeros(s.segments + KNOTS + len(self.looks), s.landmarks))
        self.register_buffer("variation_weight", torch.zeros(2 * dim))
        self.register_buffer("intercept", torch.zeros(()))

    @torch.no_grad()
    def fit_closed_form(self, batches: Iterable[Batch]) -> None:
        s = self.settings
        batches = list(batches)
        videos = [clips[mask] for batch in batches for clips, mask in zip(batch.clips, batch.mask)]
        target = torch.cat([batch.target01 for batch in batches]).double()
        targets = target[:, None]
        if batches[0].scores is not None:
            further = torch.cat([batch.scores for batch in batches]).double()
            targets = torch.cat([targets, further[:, : further.shape[1] - self.not_learnt]], 1)
        clips = torch.cat(videos)
        self.centre.copy_(clips.mean(0))
        self.spread.copy_(safe_spread(clips, LEAST_CLIP_SPREAD, torch.max))
        self.learn_looks(batches)
        count = min(s.landmarks, len(clips))
        chosen = torch.linspace(0, len(clips) - 1, count, dtype=torch.float64).round().long()
        self.landmarks[:count] = self.standardise(clips[chosen.to(clips.device)])
        own = self._similarity(self.landmarks[:count]).double()[:, :count]
        root = torch.linalg.cholesky(own + JITTER * torch.eye(count, dtype=own.dtype, device=own.device))
        means = torch.stack([self._mean_similarity(video)[:, :count] for video in videos])
        flat = torch.linalg.solve_triangular(root.T, means.flatten(0, 1).double(), upper=True, left=False)
        embedded = flat.view(means.shape)
        varying = torch.stack([variation(self.standardise(video)) for video in videos]).double()
        spread = safe_spread(varying)
        parts, nearby, *looks = embedded.split((s.segments, KNOTS, *(1 for _ in self.looks)), 1)
        blocks = [
            _Block(parts.flatten(1), 1.0),
            _Block(nearby.flatten(1), 1.0),
            _Block(varying / spread, s.variation_weight),
            *(_Block(looked.flatten(1), weight) for looked, weight in zip(looks, self.looks)),
        ]
        duals, left_out = solve_dual(sum(block.gram for block in blocks), targets, s)
        weights, mean = targets.new_ones(1), target.mean()
        if targets.shape[1] > 1:
            # The score itself may be among the others: of all equal answers, the pseudo-inverse gives the smallest.
            weights = torch.linalg.pinv(left_out - left_out.mean(0)) @ (target - mean)
            mean = mean + (targets.mean(0) - left_out.mean(0)) @ weights
        found = [block.weight(duals @ weights) for block in blocks]
        in_basis = torch.cat([weight.view(-1, count) for weight in found[:2] + found[3:]])
        self.weight[:, :count] = torch.linalg.solve_triangular(root.T, in_basis.T, upper=True).T
        self.variation_weight.copy_(found[2] / spread)
        self.intercept.copy_(mean - sum(weight @ block.centre for weight, block in zip(found, blocks)))

    @property
    def not_learnt(self) -> int:
        """How many of the last columns of `Batch.scores` are no scores to learn."""
        return 0

    @property
    def looks(self) -> tuple[float, ...]:
        """Weights of further kernels, each between means of clips that `look` weighs; here there are none."""
        return ()

    def learn_looks(self, batches: Sequence[Batch]) -> None:
        """Fit what `look` needs; clips can be standardised already."""

    def look(self, standardised: torch.Tensor) -> torch.Tensor:
        """`(clips, dim)` -> `(clips, looks)`: how much each clip counts."""
        raise NotImplementedError

    def forward(self, batch: Batch) -> HeadOutput:
        scores = []
        for clips, mask in zip(batch.clips, batch.mask):
            video = clips[mask]
            kinds = (self._mean_similarity(video) * self.weight).sum()
            scores.append(kinds + variation(self.standardise(video)) @ self.variation_weight + self.intercept)
        return HeadOutput(torch.stack(scores))

    def standardise(self, clips: torch.Tensor) -> torch.Tensor:
        return (clips - self.centre) / self.spread

    def _similarity(self, standardised: torch.Tensor) -> torch.Tensor:
        """`(clips, dim)` -> `(clips, landmarks)`, the Gaussian kernel."""
        a, b = standardised, self.landmarks
        squares = (a**2).sum(1)[:, None] + (b**2).sum(1)[None]
        distance = torch.addmm(squares, a, b.T, alpha=-2).clamp_min_(0)
        return distance.mul_(-self.settings.bandwidth / (2 * a.shape[1])).exp_()

    def _mean_similarity(self, video: torch.Tensor) -> torch.Tensor:
        """`(clips, dim)` -> `(segments + KNOTS + looks, landmarks)`: means over each part, then over all with the weights of `nearness`, then with
        those of `look`."""
        s = self.settings
        basis = torch.cat([shares(len(video), s.segments), nearness(len(video), s.time_width)], 1).to(video)
        standardised = self.standardise(video)
        if self.looks:
            basis = torch.cat([basis, self.look(standardised).to(video)], 1)
        return basis.T @ self._similarity(standardised)


def names(listed: str) -> tuple[str, ...]:
    """Names separated by commas."""
    return tuple(name.strip() for name in listed.split(",") if name.strip())


class _Block:
    """Features of one kernel, `(videos, features)`, centred and scaled so that its mean diagonal is `weight`."""

    def __init__(self, features: torch.Tensor, weight: float) -> None:
        self.centre = features.mean(0)
        self._centred = features - self.centre
        self._scale = weight / self._centred.square().sum(1).mean().clamp_min(1e-12)

    @property
    def gram(self) -> torch.Tensor:
        return self._scale * self._centred @ self._centred.T

    def weight(self, dual: torch.Tensor) -> torch.Tensor:
        return self._scale * self._centred.T @ dual


def shares(num_clips: int, segments: int) -> torch.Tensor:
    """`(clips, segments)`: each column averages the clips of one equal part; clips on a border count by their overlap."""
    clip = torch.arange(num_clips + 1, dtype=torch.float64) / num_clips
    part = torch.arange(segments + 1, dtype=torch.float64) / segments
    overlap = torch.minimum(clip[1:, None], part[None, 1:]) - torch.maximum(clip[:-1, None], part[None, :-1])
    return overlap.clamp_min(0) * segments


def nearness(num_clips: int, width: float) -> torch.Tensor:
    """`(clips, KNOTS)`: dot products of two videos' rows come near `exp(-(t - u)^2 / (2 width^2)) / (clips * clips')`, t and u being
    the places of two clips on the scale 0 to 1."""

    def gaussian(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return torch.exp(-((a[:, None] - b[None]) ** 2) / (2 * width**2))

    knots = (torch.arange(KNOTS, dtype=torch.float64) + 0.5) / KNOTS
    values, vectors = torch.linalg.eigh(gaussian(knots, knots))
    place = (torch.arange(num_clips, dtype=torch.float64) + 0.5) / num_clips
    return gaussian(place, knots) @ vectors / values.clamp_min(1e-6).sqrt() / num_clips


def variation(standardised: torch.Tensor) -> torch.Tensor:
    """`(clips, dim)` -> `(2 * dim,)`: deviation, and mean absolute difference of neighbours."""
    if len(standardised) == 1:
        return standardised.new_zeros(2 * standardised.shape[1])
    neighbours = (standardised[1:] - standardised[:-1]).abs().mean(0)
    return torch.cat([neighbours, standardised.std(0, correction=0)])
