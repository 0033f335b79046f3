"""Heads whose published code works in judges' units, so that its weights can be read as they are."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class UnitSettings:
    judges_units: bool = False
    """Layers give scores in judges' units, as published weights do; otherwise they give them on the scale 0 to 1."""
    score_minimum: float = 0.0
    score_maximum: float = 1.0
    """Facts of the dataset."""
    unit: float = 1.0
    """Where the layers give scores in judges' units, these are divided by it, as published code does that divides all labels by one number."""

    @property
    def span(self) -> float:
        """Of the scale 0 to 1, in the units of the layers."""
        return (self.score_maximum - self.score_minimum) / self.unit if self.judges_units else 1.0

    def to01(self, scores: torch.Tensor) -> torch.Tensor:
        """From the units of the layers to the scale 0 to 1."""
        return (scores - self.score_minimum / self.unit) / self.span if self.judges_units else scores

    def from01(self, scores01: torch.Tensor) -> torch.Tensor:
        """From the scale 0 to 1 to the units of the layers."""
        return scores01 * self.span + self.score_minimum / self.unit if self.judges_units else scores01
