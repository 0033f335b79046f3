"""MSCADC: a context network of dilated convolutions (Parmar and Morris, What and How Well You Performed? A Multitask Learning Approach to Action
Quality Assessment, CVPR 2019, section 4.2), on cached clips.

The published network reads pixels, and its head maps `(256, 2, 20, 20)` of time and space. A store holds a vector of each clip, as the features
must have been that later papers name with it: the same head here, whose convolutions run over time alone.

    12 values a clip, ends repeated 9 times; convolutions of 3 with dilations 1, 1, 2, 4, 1 to 24, 24, 48, 96, 96 values, back to 12
    batch norm, ReLU, the larger of each two; convolutions of 3 to 12 and to 1 value; the mean over time
    loss: squared and absolute error

ParitoshParmar/MTL-AQA: `ContextNet(256, 12, axes=3)` is its head, 437,065 parameters; with `axes=1` an eighth. On a clip's vector there is no map to
find the diver in, and the captions and the kind of dive, which the paper learns as well, need labels that stores do not have.

Deviations: padding enters neither the convolutions nor the batch norms. Published weights cannot be imported, since they are of maps.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from longtake.train.errors import require_at_least
from longtake.train.heads.base import Batch, Head, HeadOutput, Needs, Source
from longtake.train.heads.blocks.units import UnitSettings
from longtake.train.heads.published import WithDefects

DILATIONS, WIDENING = (1, 1, 2, 4, 1), (2, 2, 4, 8, 8)
"""Of the context network, and how many times the first width each layer has."""
BORDER = 1
"""By which the layer on each clip is padded in the published code, so that its bias is what the ends are repeated from."""
REACH = sum(DILATIONS)


@dataclass(frozen=True)
class MSCADCSettings(UnitSettings, WithDefects):
    width: int = 12
    absolute_weight: float = 1.0
    """Of the absolute error, in the units of the layers, as that of the squared error is."""

    def __post_init__(self) -> None:
        require_at_least(self, width=1)


class ContextNet(nn.Module):
    """The head: over time, or over time and space. Names of its layers are the published ones."""

    def __init__(self, dim: int, width: int, axes: int) -> None:
        super().__init__()
        convolution = {1: nn.Conv1d, 3: nn.Conv3d}[axes]
        norm = {1: nn.BatchNorm1d, 3: nn.BatchNorm3d}[axes]
        self.axes, widths = axes, [width, *(width * factor for factor in WIDENING)]
        self.head_conv1 = convolution(dim, width, 1)
        for number, dilation in enumerate(DILATIONS, 1):
            setattr(self, f"cntxt_conv{number}", convolution(widths[number - 1], widths[number], 3, dilation=dilation))
            setattr(self, f"cntxt_bn{number}", norm(widths[number]))
        self.cntxt_conv6 = convolution(widths[-1], width, 1)
        self.head_bn1, self.head_bn2 = norm(width), norm(width)
        self.head_conv2 = convolution(width, width, 3, padding=1)
        self.head_conv3 = convolution(width, 1, 3, padding=1)

    def forward(self, clips: torch.Tensor, lengths: torch.Tensor | None = None) -> torch.Tensor:
        """`(batch, dim, clips)`, or maps `(batch, dim, clips, height, width)` -> `(batch,)`. Of clips, `lengths` int64 `(batch,)` says how many
        each video has; the rest is zero."""
        # What follows a video's last clip is what its own end is padded with: zeros here, and the bias after the first layer.
        values = self.head_conv1(F.pad(clips, (BORDER + REACH,) * 2 * self.axes))
        room = None if lengths is None else lengths + 2 * (BORDER + REACH)
        for number, dilation in enumerate(DILATIONS, 1):
            values = getattr(self, f"cntxt_conv{number}")(values)
            room = None if room is None else room - 2 * dilation
            values = torch.relu(_norm(getattr(self, f"cntxt_bn{number}"), values, room))
        values = torch.relu(_norm(self.head_bn1, self.cntxt_conv6(values), room))
        values = F.max_pool1d(values, 2) if self.axes == 1 else F.max_pool3d(values, 2)
        room = None if room is None else torch.div(room, 2, rounding_mode="floor")
        values = torch.relu(_norm(self.head_bn2, self.head_conv2(_cut(values, room)), room))
        scores = _cut(self.head_conv3(_cut(values, room)), room).flatten(1)
        return scores.mean(1) if room is None else scores.sum(1) / room


def _there(values: torch.Tensor, room: torch.Tensor) -> torch.Tensor:
    """bool, `(batch, places)`: those before each video's end."""
    return torch.arange(values.shape[-1], device=values.device) < room[:, None]


def _cut(values: torch.Tensor, room: torch.Tensor | None) -> torch.Tensor:
    return values if room is None else values.masked_fill(~_there(values, room)[:, None], 0.0)


def _norm(norm: nn.Module, values: torch.Tensor, room: torch.Tensor | None) -> torch.Tensor:
    """Batch norm over the places that exist. Behind a video's end values stay what they are: nothing that exists reads them."""
    if room is None or not norm.training:
        return norm(values)
    there = _there(values, room)
    rows = values.transpose(1, 2)
    return rows.masked_scatter(there[..., None], norm(rows[there])).transpose(1, 2)


class MSCADC(Head):
    """MSCADC: a context network of dilated convolutions over the clips."""

    SOURCE = Source(
        "Parmar and Morris, What and How Well You Performed?, CVPR 2019",
        2019,
        "ParitoshParmar/MTL-AQA",
        ("mscadc_head",),
    )
    Settings = MSCADCSettings
    why_no_import = "their weights read maps of pixels, and a store holds a vector of each clip"

    @classmethod
    def needs(cls, settings: MSCADCSettings) -> Needs:
        return Needs(sees_padding=settings.sees_padding)

    def build(self, dim: int, audio_dim: int) -> None:
        self.network = ContextNet(dim, self.settings.width, axes=1)

    def forward(self, batch: Batch) -> HeadOutput:
        s, mask = self.settings, self.mask(batch)
        clips = batch.clips.masked_fill(~mask[..., None], 0.0).transpose(1, 2)
        score01 = s.to01(self.network(clips, mask.sum(1)))
        losses = {}
        if self.training and s.absolute_weight:
            # Errors of the loop are squares on the scale 0 to 1; there the absolute ones weigh less, where the layers' units are smaller.
            losses["absolute"] = s.absolute_weight * F.l1_loss(score01, batch.target01.float()) / s.span
        return HeadOutput(score01, losses=losses)
