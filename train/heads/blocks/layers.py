"""The pieces that the heads of the GDLT family share (Xu et al., GDLT, CVPR 2022; QGVL, section III)."""

from __future__ import annotations

import torch
from torch import nn

from longtake.train.heads.blocks.packing import Places
from longtake.train.heads.blocks.transformer import encoder


class Projection(nn.Module):
    """Clip features to the head's width: linear, batch norm, ReLU, linear, batch norm (GDLT's `in_proj`).

    Works on the clips that exist: padding neither enters the batch statistics nor gets a value. `(clips, dim)` in, `(clips,
    width)` out. A 1x1 convolution over time, which the published code writes, is a linear layer on each clip.
    """

    def __init__(self, dim: int, width: int) -> None:
        super().__init__()
        half = max(dim // 2, 1)
        self.linear1 = nn.Linear(dim, half)
        self.norm1 = nn.BatchNorm1d(half)
        self.linear2 = nn.Linear(half, width)
        self.norm2 = nn.BatchNorm1d(width)

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        return self.norm2(self.linear2(torch.relu(self.norm1(self.linear1(clips)))))


class ContextEncoder(nn.Module):
    """Projection and Transformer encoder over the clips of each video, padding masked (QGVL, section III-B).

    Without layers, clips know nothing of each other (QGVL, Table VI). With sound, it is projected like the clips, joined
    to them clip by clip and brought back to the width by one linear layer, which is how QGVL's text adds it.
    """

    def __init__(self, dim: int, width: int, *, heads: int, layers: int, dropout: float, audio_dim: int = 0) -> None:
        super().__init__()
        self.projection = Projection(dim, width)
        if audio_dim:
            self.audio_projection = Projection(audio_dim, width)
            self.join = nn.Linear(2 * width, width)
        self.encoder = encoder(width, heads=heads, layers=layers, dropout=dropout) if layers else None
        if self.encoder is not None:
            xavier_(self.encoder)

    def forward(self, clips: torch.Tensor, mask: torch.Tensor, audio: torch.Tensor | None = None) -> torch.Tensor:
        """`(batch, clips, dim)` and its mask -> `(batch, clips, width)`, zero in the padding."""
        places = Places.of(mask)
        projected = self.projection(places.pack(clips))
        if audio is not None:
            projected = self.join(torch.cat([projected, self.audio_projection(places.pack(audio))], -1))
        return places.unpack(projected if self.encoder is None else self.encoder.packed(projected, places))


def two_layers(
    inputs: int, width: int, outputs: int, dropout: float, activation: type[nn.Module] = nn.ReLU
) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, width), activation(), nn.Dropout(dropout), nn.Linear(width, outputs))


def project(projection: Projection, clips: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """`(batch, clips, dim)` -> `(batch, clips, width)`; padding neither enters the batch statistics nor gets a value."""
    places = Places.of(mask)
    return places.unpack(projection(places.pack(clips)))


class DiagonalScore(nn.Module):
    """Patterns to a score: pattern i is weighed by row i of a linear layer, a sigmoid and a sum to 1.

    The score is the expectation under these weights of `values`, `linspace(0, 1, n)` unless they are given (GDLT, equation 6; QGVL, equations 9-11).
    """

    def __init__(self, width: int, num_patterns: int, values: torch.Tensor | None = None) -> None:
        super().__init__()
        self.linear = nn.Linear(width, num_patterns)
        self.register_buffer(
            "values", torch.linspace(0, 1, num_patterns) if values is None else values, persistent=False
        )

    def forward(self, patterns: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """`(batch, n, width)` -> scores `(batch,)` and weights `(batch, n)`."""
        intensity = torch.sigmoid((patterns * self.linear.weight).sum(-1) + self.linear.bias)
        weights = intensity / intensity.sum(-1, keepdim=True)
        return (weights * self.values).sum(-1), weights


def xavier_(module: nn.Module) -> None:
    """Glorot-uniform matrices, as the published code of GDLT and QGVL initialises its Transformer."""
    for parameter in module.parameters():
        if parameter.dim() > 1:
            nn.init.xavier_uniform_(parameter)


# Published key -> ours, for the parts above: `in_proj` is a sequence of convolution, norm, ReLU, convolution, norm.
SHARED_KEY_MAP = {
    "in_proj.0.": "context.projection.linear1.",
    "in_proj.1.": "context.projection.norm1.",
    "in_proj.3.": "context.projection.linear2.",
    "in_proj.4.": "context.projection.norm2.",
    "transformer.encoder.": "context.encoder.",
    "transformer.decoder.": "decoder.",
    "regressor.": "grade_score.linear.",
}
