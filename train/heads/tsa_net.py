"""TSA-Net: what belongs to the athlete attends to itself over the whole video (Wang et al., TSA-Net: Tube Self-Attention Network for Action
Quality Assessment, ACM MM 2021, section 3).

    x <- x + norm(W (softmax(x x') (G x)))   over the places of the tube, `(places, dim)`, without a scale
    score = sigmoid(MLP(mean of clips)), dim - 256 - 128 - 1

Shunli-Wang/TSA-Net, followed here, reads feature maps inside I3D and the boxes of a tracker: a tube's places are those of the maps that a box covers, in all clips. A store has one vector a clip, in which no
place can be told from another. So each clip is one place and the tube is the whole video: what remains is self-attention over clips, as the later papers must have had it on cached features.
Its authors' code for scores (AQA-7, MTL-AQA) was never published, but that for falls, whose perceptron is taken, with the squared error. Deviations:
- Clips are in their order; the published code mixes frames of all clips where it goes back from the tube to the maps.
- While training, norms are over the clips of a batch; the published code normalises each video by itself (`published_defects=true`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn

from longtake.train.heads.base import Batch, Head, HeadOutput, Needs, Source
from longtake.train.heads.blocks.packing import Places
from longtake.train.heads.published import WithDefects
from longtake.train.heads.usdl import mean_of_clips, perceptron


@dataclass(frozen=True)
class TSANetSettings(WithDefects):
    width: int = 256
    """Of the first hidden layer; the second has half of it."""
    dropout: float = 0.0


class TubeSelfAttention(nn.Module):
    """Equations 2 to 4: places of a tube attend to each other. The last norm begins at weight 0, so the layer begins as the identity."""

    def __init__(self, dim: int, by_video: bool) -> None:
        super().__init__()
        self.value, self.out = nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.norm = nn.BatchNorm1d(dim)
        nn.init.zeros_(self.norm.weight)
        self.by_video = by_video

    def forward(self, values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """`(batch, places, dim)` and which are in the tube -> the same, as they were outside."""
        logits = (values @ values.transpose(1, 2)).float().masked_fill(~mask[:, None], -torch.inf)
        mixed = self.out(logits.softmax(-1).to(values.dtype) @ self.value(values))
        if self.by_video and self.training:
            return values + self._norm_by_video(mixed, mask) * mask[..., None]
        places = Places.of(mask)
        return values + places.unpack(self.norm(places.pack(mixed)))

    def _norm_by_video(self, values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """As if each video went through the norm after the one before, which decides its running statistics, too."""
        norm, there = self.norm, mask[..., None]
        count = there.sum(1, keepdim=True)
        mean = (values * there).sum(1, keepdim=True) / count
        squared = ((values - mean) ** 2 * there).sum(1, keepdim=True)
        with torch.no_grad():
            share = norm.momentum or 0.0
            after = torch.arange(len(values) - 1, -1, -1, device=values.device)
            weights = share * (1 - share) ** after
            for running, found in ((norm.running_mean, mean), (norm.running_var, squared / (count - 1).clamp(min=1))):
                assert running is not None
                running.mul_((1 - share) ** len(values)).add_(weights.to(found) @ found[:, 0])
        return (values - mean) * (squared / count + norm.eps).rsqrt() * norm.weight + norm.bias


class TSANet(Head):
    """TSA-Net: clips attend to each other by their likeness, and their mean through a perceptron."""

    SOURCE = Source("Wang et al., TSA-Net, ACM MM 2021", 2021, "Shunli-Wang/TSA-Net", ("tsa_net_attention",))
    Settings = TSANetSettings
    bfloat16 = True
    why_no_import = "their attention is inside I3D, over places of its maps, and a store holds a vector of each clip"
    KEY_MAP = {"NL_1D.g.": "attention.value.", "NL_1D.W.0.": "attention.out.", "NL_1D.W.1.": "attention.norm."}

    @classmethod
    def needs(cls, settings: TSANetSettings) -> Needs:
        return Needs(sees_padding=settings.sees_padding)

    @classmethod
    def from_published(cls, state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """The published layer inside I3D is somewhere in its names."""
        return super().from_published({name[max(name.find("NL_1D."), 0) :]: value for name, value in state.items()})

    def build(self, dim: int, audio_dim: int) -> None:
        s = self.settings
        self.attention = TubeSelfAttention(dim, s.published_defects)
        self.layers = perceptron(dim, s.width, 1, s.dropout)

    def forward(self, batch: Batch) -> HeadOutput:
        mask = self.mask(batch)
        attended = self.attention(batch.clips, mask)
        return HeadOutput(torch.sigmoid(self.layers(mean_of_clips(attended, mask))[:, 0].float()))
