"""Plug-ins before any head that is trained by gradient: they inform the clips, and the host head takes it from there.

Clips keep their width, so that the host's own layers stay what they are.
"""

from __future__ import annotations

from collections.abc import Callable
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


def masks(host: nn.Module) -> bool:
    """Whether padding is hidden from the host; one that has no such setting always hides it."""
    return getattr(host.settings, "mask", True)


def with_clips(batch: Batch, inform: Callable[[Batch], torch.Tensor]) -> Batch:
    """The batch with informed clips, and those of its exemplars informed in the same way."""
    informed = replace(batch, clips=inform(batch))
    if batch.exemplar is None:
        return informed
    return replace(informed, exemplar=replace(batch.exemplar, clips=inform(batch.exemplar)))


class WithMAG2(nn.Module):
    """MAG2 (MLAVL, Table 4): action texts inform the clips."""

    def __init__(self, host: nn.Module, dim: int, texts: torch.Tensor, audio_dim: int = 0) -> None:
        super().__init__()
        self.host = host
        self.register_buffer(TEXTS, torch.as_tensor(texts, dtype=torch.float32))
        self.text = Projection(texts.shape[1], dim)
        self.mag2 = MAG2(dim, SAGE, DROPOUT)

    def forward(self, batch: Batch) -> HeadOutput:
        texts = self.text(self.plugin_texts)
        return self.host(with_clips(batch, lambda one: self.mag2(one.clips, self._mask(one), texts)))

    def _mask(self, batch: Batch) -> torch.Tensor:
        return batch.mask if masks(self.host) else torch.ones_like(batch.mask)


class WithMVLA(nn.Module):
    """MVLA before a host (MVLA, section 3.4). The paper lets stages and the whole video attend, of which a host that reads clips
    knows nothing; here clips do. The similarity terms are those of stages and video, as there."""

    def __init__(self, host: nn.Module, dim: int, texts: torch.Tensor, audio_dim: int = 0) -> None:
        super().__init__()
        self.host = host
        self.register_buffer(TEXTS, torch.as_tensor(texts, dtype=torch.float32))
        self.guidance = Guidance(MVLASettings(), self.plugin_texts, audio_dim or dim, dim)

    def forward(self, batch: Batch) -> HeadOutput:
        texts = self.guidance.texts(self.plugin_texts)
        seen = []

        def inform(one: Batch) -> torch.Tensor:
            mask = one.mask if masks(self.host) else torch.ones_like(one.mask)
            vision = self.guidance.vision_of_clips(one, mask)
            seen.append((vision, mask))
            return self.guidance.attend(one.clips, vision, texts, mask).masked_fill(~mask[..., None], 0.0)

        output = self.host(with_clips(batch, inform))
        vision, mask = seen[0]
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
