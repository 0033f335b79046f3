"""Direct regression from the mean of the clips: a multilayer perceptron, and USDL, which predicts a distribution over scores (Tang et al.,
Uncertainty-aware Score Distribution Learning, CVPR 2020). Hosts that MVLA is plugged into.

The published code has no dropout, takes the mean of the loss over bins as well as videos (`per_bin`), and reads the mode (`read=mode`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import nn

from longtake.train.errors import SettingsError, require_one_of
from longtake.train.heads.base import Batch, Head, HeadOutput, Source
from longtake.train.heads.published import size
from longtake.train.heads.settings import WithLater, later

EXPECTATION, MODE = "expectation", "mode"
CODE = Source("Tang et al., Uncertainty-aware Score Distribution Learning, CVPR 2020", 2020, "nzl-thu/MUSDL")


@dataclass(frozen=True)
class MLPSettings:
    width: int = 256
    dropout: float = 0.3
    mask: bool = True


@dataclass(frozen=True, repr=False)
class DistributionSettings(WithLater, MLPSettings):
    bins: int = 101
    """Scores are rounded to so many values, ends included."""
    sigma: float = 5.0
    """Deviation of the label's Gaussian, in bins (equation 1)."""
    per_bin: bool = later(False)
    """The divergence is divided by the number of bins, as published; this changes how much weight decay counts."""

    def __post_init__(self) -> None:
        if self.bins < 2 or not self.sigma > 0:
            raise SettingsError(f"bins must be 2 or more and sigma above 0, got {self.bins} and {self.sigma}")


@dataclass(frozen=True, repr=False)
class USDLSettings(DistributionSettings):
    read: str = later(EXPECTATION)
    """How a distribution is read: its expectation, or its `mode`, as published, which takes as many values as there are bins."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_one_of("read", self.read, (EXPECTATION, MODE))


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


LAYERS = {"layer1.": "0.", "layer2.": "3.", "layer3.": "5."}
"""Layers of the published perceptron -> those of ours."""


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

    def build(self, dim: int, audio_dim: int) -> None:
        s = self.settings
        self.layers = perceptron(dim, s.width, 1, s.dropout)

    def forward(self, batch: Batch) -> HeadOutput:
        return HeadOutput(torch.sigmoid(self.layers(mean_of_clips(batch.clips, self.mask(batch)))[:, 0]))


class USDL(Head):
    """USDL: a distribution over scores, learnt from Gaussian labels. 308,325 parameters for 1024-wide features."""

    SOURCE = replace(CODE, golden=("usdl",))
    Settings = USDLSettings
    KEY_MAP = {f"evaluator.{theirs}": f"layers.{ours}" for theirs, ours in LAYERS.items()} | {
        theirs: f"layers.{ours}" for theirs, ours in LAYERS.items()
    }
    sees_means = True
    stacks = stacks_padded = True

    def build(self, dim: int, audio_dim: int) -> None:
        s = self.settings
        self.layers = perceptron(dim, s.width, s.bins, s.dropout)
        self.register_buffer("values", torch.linspace(0, 1, s.bins), persistent=False)

    @classmethod
    def settings_in(cls, state: Mapping[str, torch.Tensor]) -> dict[str, object]:
        return {"bins": size(state, "layers.5.weight"), "width": size(state, "layers.0.weight"), "read": MODE}

    def forward(self, batch: Batch) -> HeadOutput:
        s = self.settings
        logits = self.layers(mean_of_clips(batch.clips, self.mask(batch))).float()
        weights = logits.softmax(-1)
        losses = {}
        if self.training:
            label = gaussian_labels(batch.target01, s.bins, s.sigma)
            divergence = torch.xlogy(label, label) - label * logits.log_softmax(-1)
            losses["distribution"] = divergence.mean() if s.per_bin else divergence.sum(-1).mean()
        score01 = (weights * self.values).sum(-1) if s.read == EXPECTATION else weights.argmax(-1) / (s.bins - 1)
        return HeadOutput(score01, weights={"scores": weights}, losses=losses)
