"""What every head gives back."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch


@dataclass(frozen=True)
class HeadOutput:
    score01: torch.Tensor
    """`(batch,)`, on the scale 0 to 1."""
    patterns: tuple[torch.Tensor, ...] = ()
    """Each `(batch, n, d)`: what the triplet loss keeps apart."""
    logits: tuple[torch.Tensor, ...] = ()
    """Each `(batch, n, n)`: similarity of pattern i to text j."""
    weights: dict[str, torch.Tensor] = field(default_factory=dict)
    """Name -> `(batch, n)`: normalised weights whose expectation is a score."""
    boundaries: torch.Tensor | None = None
    """`(batch, boundaries)` seconds: where the head takes one stage to end and the next to begin."""
    losses: dict[str, torch.Tensor] = field(default_factory=dict)
    """Terms of the head's own, scalars that it has weighed; only while it is trained."""
