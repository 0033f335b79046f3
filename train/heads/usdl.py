"""Direct regression from the mean of the clips: a multilayer perceptron, and USDL, which predicts a distribution over scores (Tang et al.,
Uncertainty-aware Score Distribution Learning, CVPR 2020). Hosts that MVLA is plugged into."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from longtake.train.errors import SettingsError
from longtake.train.heads.base import Batch, Head, HeadOutput, Needs


@dataclass(frozen=True)
class MLPSettings:
    width: int = 256
    dropout: float = 0.3
    mask: bool = True


@dataclass(frozen=True)
class USDLSettings(MLPSettings):
    bins: int = 101
    """Scores are rounded to so many values, ends included."""
    sigma: float = 5.0
    """Deviation of the label's Gaussian, in bins (equation 1)."""

    def __post_init__(self) -> None:
        if self.bins < 2 or not self.sigma > 0:
            raise SettingsError(f"bins must be 2 or more and sigma above 0, got {self.bins} and {self.sigma}")


def mean_of_clips(clips: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """`(batch, clips, dim)` and bool `(batch, clips)` -> `(batch, dim)`."""
    weights = mask[..., None].float()
    return (clips * weights).sum(1) / weights.sum(1)


def perceptron(dim: int, width: int, outputs: int, dropout: float) -> nn.Sequential:
    """dim - width - width / 2 - outputs, as the published code has it for width 256."""
    return nn.Sequential(
        nn.Linear(dim, width), nn.ReLU(), nn.Dropout(dropout), nn.Linear(width, width // 2), nn.ReLU(),
        nn.Linear(width // 2, outputs),
    )  # fmt: skip


def gaussian_labels(target01: torch.Tensor, bins: int, sigma: float) -> torch.Tensor:
    """USDL, equations 1 and 2: `(batch,)` -> `(batch, bins)`, a Gaussian around each score, normalised to 1."""
    places = torch.arange(bins, device=target01.device, dtype=torch.float32)
    distance = places[None] - target01.float()[:, None] * (bins - 1)
    heights = torch.exp(-(distance**2) / (2 * sigma**2))
    return heights / heights.sum(1, keepdim=True)


class MeanMLP(Head):
    """The mean of the clips through a perceptron: the plainest baseline that is trained by gradient."""

    Settings = MLPSettings
    sees_means = True
    stacks = stacks_padded = True

    @classmethod
    def needs(cls, settings: MLPSettings) -> Needs:
        return Needs(sees_padding=not settings.mask)

    def build(self, dim: int, audio_dim: int) -> None:
        s = self.settings
        self.layers = perceptron(dim, s.width, 1, s.dropout)

    def forward(self, batch: Batch) -> HeadOutput:
        return HeadOutput(torch.sigmoid(self.layers(mean_of_clips(batch.clips, self.mask(batch)))[:, 0]))


class USDL(Head):
    """USDL: a distribution over scores, learnt from Gaussian labels. The score is its expectation; the published code takes its
    mode, which can take 101 values only."""

    Settings = USDLSettings
    sees_means = True
    stacks = stacks_padded = True

    @classmethod
    def needs(cls, settings: USDLSettings) -> Needs:
        return Needs(sees_padding=not settings.mask)

    def build(self, dim: int, audio_dim: int) -> None:
        s = self.settings
        self.layers = perceptron(dim, s.width, s.bins, s.dropout)
        self.register_buffer("values", torch.linspace(0, 1, s.bins), persistent=False)

    def forward(self, batch: Batch) -> HeadOutput:
        s = self.settings
        logits = self.layers(mean_of_clips(batch.clips, self.mask(batch))).float()
        weights = logits.softmax(-1)
        losses = {}
        if self.training:
            label = gaussian_labels(batch.target01, s.bins, s.sigma)
            divergence = torch.xlogy(label, label) - label * logits.log_softmax(-1)
            losses["distribution"] = divergence.sum(-1).mean()
        return HeadOutput((weights * self.values).sum(-1), weights={"scores": weights}, losses=losses)
