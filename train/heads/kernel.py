"""Kernel ridge regression on what kinds of clips a performance has, and in which quarter of it.

A clip becomes random Fourier features of a Gaussian kernel (Rahimi and Recht, NIPS 2007); their mean over a stretch of a video
is the kernel mean embedding of its clips (Muandet et al., Foundations and Trends in Machine Learning, 2017), which says how often
which kind of clip occurs. A score is linear in the embeddings of all stretches, fitted in closed form. Several draws of the random
features are averaged.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from train.dataset import Batch
from train.errors import SettingsError
from train.heads.needs import Needs
from train.heads.output import HeadOutput
from train.heads.ridge import RidgeFit, RidgeSettings
from train.prototypes import Prototypes


@dataclass(frozen=True)
class KernelSettings(RidgeSettings):
    segments: int = 4
    """Stretches of equal length; what happens when counts as much as what happens."""
    bandwidth: float = 1.5
    """Of the kernel `exp(-bandwidth * |a - b|^2 / (2 * dim))` between standardised clips."""
    random_features: int = 2000
    draws: int = 4

    def __post_init__(self) -> None:
        for name in ("segments", "random_features", "draws"):
            if getattr(self, name) < 1:
                raise SettingsError(f"{name} must be 1 or more, got {getattr(self, name)}")
        if self.bandwidth <= 0:
            raise SettingsError(f"bandwidth must be above 0, got {self.bandwidth}")


class Kernel(nn.Module):
    """Kernel ridge regression on mean embeddings of the clips of each quarter; seconds to fit, no epochs."""

    Settings = KernelSettings
    KEY_MAP: dict[str, str] = {}

    @staticmethod
    def needs(settings: KernelSettings) -> Needs:
        return Needs()

    def __init__(
        self, dim: int, settings: KernelSettings, prototypes: Prototypes | None = None, audio_dim: int = 0
    ) -> None:
        super().__init__()
        self.settings = settings
        self.register_buffer("centre", torch.zeros(dim))
        self.register_buffer("spread", torch.ones(dim))
        # The draws follow from the seed, so a checkpoint need not hold them.
        self.register_buffer("seed", torch.tensor(torch.initial_seed() % 2**31))
        self.fits = nn.ModuleList(
            RidgeFit(settings.segments * settings.random_features, settings) for _ in range(settings.draws)
        )

    @torch.no_grad()
    def fit_closed_form(self, batches: Iterable[Batch]) -> None:
        batches = list(batches)
        clips = torch.cat([batch.clips[batch.mask] for batch in batches])
        self.centre.copy_(clips.mean(0))
        self.spread.copy_(clips.std(0).clamp_min(1e-8))
        target = torch.cat([batch.target01 for batch in batches])
        for draw, fit in enumerate(self.fits):
            waves = self._waves(draw)
            fit.fit(torch.cat([self._embed(batch, waves) for batch in batches]), target)

    def forward(self, batch: Batch) -> HeadOutput:
        votes = [fit(self._embed(batch, self._waves(draw))) for draw, fit in enumerate(self.fits)]
        return HeadOutput(torch.stack(votes).mean(0))

    def _waves(self, draw: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Frequencies `(dim, random_features)` and phases, by numpy's legacy generator, whose numbers never change."""
        s = self.settings
        rng = np.random.RandomState([int(self.seed), draw])
        dim = len(self.centre)
        frequencies = rng.standard_normal((dim, s.random_features)) * np.sqrt(s.bandwidth / dim)
        phases = rng.uniform(0, 2 * np.pi, s.random_features)
        return torch.from_numpy(frequencies).to(self.centre), torch.from_numpy(phases).to(self.centre)

    def _embed(self, batch: Batch, waves: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        """`(batch, segments * random_features)`: the mean of each stretch, one after the other."""
        (frequencies, phases), segments = waves, self.settings.segments
        rows = []
        for clips, mask in zip(batch.clips, batch.mask):
            found = torch.cos((clips[mask] - self.centre) / self.spread @ frequencies + phases)
            if len(found) < segments:
                found = found.repeat_interleave(-(-segments // len(found)), dim=0)
            rows.append(torch.cat([part.mean(0) for part in found.tensor_split(segments)]))
        return torch.stack(rows)
