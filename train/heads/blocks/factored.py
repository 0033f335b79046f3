"""Linear layers that modalities share in part (Lee et al., Parameter Efficient Multimodal Transformers for Video Representation Learning,
ICLR 2021, section 2.3): each modality has its own way into a small space and its own rotation there; the way out is the same for all."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn


class Rotation(nn.Module):
    """An orthogonal matrix `base @ exp(A)`, where A is skew-symmetric and has the upper triangle of `skew`."""

    def __init__(self, width: int) -> None:
        super().__init__()
        # Small: products of unit vectors with it begin near the identity.
        self.skew = nn.Parameter(0.02 * torch.randn(width, width))
        self.register_buffer("base", torch.eye(width))


def rotations(modules: Sequence[Rotation]) -> torch.Tensor:
    """float32, `(modules, width, width)`: their matrices, all at once. The exponential is taken in float64: that of float32 is off by 1e-5."""
    upper = torch.stack([one.skew for one in modules]).triu(1)
    exponential = torch.linalg.matrix_exp((upper - upper.transpose(1, 2)).double()).float()
    return torch.stack([one.base for one in modules]) @ exponential


class FactoredLinear(nn.Module):
    """For each modality m: x -> shared(R_m (W_m x / |W_m x|)), with W_m `(inner, inputs)` and R_m a rotation."""

    def __init__(self, inputs: int, outputs: int, inner: int, modalities: int) -> None:
        super().__init__()
        self.own = nn.ModuleList(nn.Linear(inputs, inner, bias=False) for _ in range(modalities))
        self.rotations = nn.ModuleList(Rotation(inner) for _ in range(modalities))
        self.shared = nn.Linear(inner, outputs)

    def own_matrices(self, modalities: slice) -> torch.Tensor:
        """W transposed, `(modalities, 1, inputs, inner)`; of some modalities."""
        return torch.stack([one.weight.T for one in self.own[modalities]])[:, None]

    def forward(self, tokens: torch.Tensor, own: torch.Tensor, rotation: torch.Tensor) -> torch.Tensor:
        """`(modalities, batch, tokens, inputs)`, W and R `(modalities, inner, inner)` of these modalities -> `(modalities, batch, tokens, outputs)`."""
        return self.shared(F.normalize(tokens @ own, dim=-1) @ rotation[:, None])
