"""MAG2 before any visual head (MLAVL, Table 4): action texts inform the clips, and the host head takes it from there."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn

from train.dataset import Batch
from train.heads.layers import Projection
from train.heads.mlavl import MAG2, SAGE
from train.heads.output import HeadOutput

ACTIONS = "visual_actions"
PROMPTS = "mlavl"
"""The prompt set that has them."""
DROPOUT = 0.3


class WithMAG2(nn.Module):
    """The host head on clips that MAG2 has informed. Texts are projected to the width of the clips, so that the host's own
    layers stay what they are."""

    def __init__(self, host: nn.Module, dim: int, actions: torch.Tensor) -> None:
        super().__init__()
        self.host = host
        self.register_buffer(f"plugin_{ACTIONS}", torch.as_tensor(actions, dtype=torch.float32))
        self.text = Projection(actions.shape[1], dim)
        self.mag2 = MAG2(dim, SAGE, DROPOUT)

    def forward(self, batch: Batch) -> HeadOutput:
        mask = batch.mask if self.host.settings.mask else torch.ones_like(batch.mask)
        actions = self.text(getattr(self, f"plugin_{ACTIONS}"))
        return self.host(replace(batch, clips=self.mag2(batch.clips, mask, actions)))
