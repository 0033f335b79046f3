"""Plug-ins before any head that is trained by gradient: they inform the clips, and the host head takes it from there.

Clips keep their width, so that the host's own layers stay what they are.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import nn

from train.dataset import Batch
from train.heads.layers import Projection
from train.heads.mlavl import MAG2, SAGE
from train.heads.mvla import Guidance, MVLASettings
from train.heads.output import HeadOutput

DROPOUT = 0.3
TEXTS = "plugin_texts"
"""The buffer that holds a plug-in's texts, in its checkpoint too."""


class WithMAG2(nn.Module):
    """MAG2 (MLAVL, Table 4): action texts inform the clips."""

    def __init__(self, host: nn.Module, dim: int, texts: torch.Tensor, audio_dim: int = 0) -> None:
        super().__init__()
        self.host = host
        self.register_buffer(TEXTS, torch.as_tensor(texts, dtype=torch.float32))
        self.text = Projection(texts.shape[1], dim)
        self.mag2 = MAG2(dim, SAGE, DROPOUT)

    def forward(self, batch: Batch) -> HeadOutput:
        mask = batch.mask if self.host.settings.mask else torch.ones_like(batch.mask)
        return self.host(replace(batch, clips=self.mag2(batch.clips, mask, self.text(self.plugin_texts))))


class WithMVLA(nn.Module):
    """MVLA before a host (MVLA, section 3.4). The paper lets stages and the whole video attend, of which a host that reads clips
    knows nothing; here clips do. The similarity terms are those of stages and video, as there."""

    def __init__(self, host: nn.Module, dim: int, texts: torch.Tensor, audio_dim: int = 0) -> None:
        super().__init__()
        self.host = host
        self.register_buffer(TEXTS, torch.as_tensor(texts, dtype=torch.float32))
        self.guidance = Guidance(MVLASettings(), self.plugin_texts, audio_dim or dim, dim)

    def forward(self, batch: Batch) -> HeadOutput:
        mask = batch.mask if self.host.settings.mask else torch.ones_like(batch.mask)
        texts = self.guidance.texts(self.plugin_texts)
        vision = self.guidance.vision_of_clips(batch, mask)
        clips = self.guidance.attend(batch.clips, vision, texts, mask).masked_fill(~mask[..., None], 0.0)
        output = self.host(replace(batch, clips=clips))
        losses = self.guidance.losses(batch.target01, batch.clips, vision, texts, mask)
        return replace(output, losses={**output.losses, **losses})


@dataclass(frozen=True)
class Plugin:
    kind: type
    texts: tuple[tuple[str, str], ...]
    """(prompt set, group) whose texts it takes; the first that the store has."""
    frames: bool = False
    """As `Needs.frames`."""


PLUGINS: dict[str, Plugin] = {
    "mag2": Plugin(WithMAG2, (("mlavl", "visual_actions"),)),
    "mvla": Plugin(WithMVLA, (("qgvl", "grades"), ("mlavl", "visual_grades")), frames=True),
}
