"""Padded clips and packed ones: layers that treat each clip by itself need not see padding at all."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Places:
    """Where a batch has clips."""

    mask: torch.Tensor
    """bool, `(batch, clips)`."""
    index: torch.Tensor | None
    """int64, `(n,)`: the places of the n clips in the flattened mask; None where there is no padding."""

    @classmethod
    def of(cls, mask: torch.Tensor) -> Places:
        return cls(mask, None if bool(mask.all()) else mask.flatten().nonzero()[:, 0])

    def pack(self, padded: torch.Tensor) -> torch.Tensor:
        """`(batch, clips, dim)` -> `(n, dim)`."""
        flat = padded.flatten(0, 1)
        return flat if self.index is None else flat.index_select(0, self.index)

    def unpack(self, packed: torch.Tensor) -> torch.Tensor:
        """`(n, dim)` -> `(batch, clips, dim)`, zero in the padding."""
        if self.index is None:
            return packed.unflatten(0, self.mask.shape)
        flat = packed.new_zeros(self.mask.numel(), packed.shape[-1]).index_copy(0, self.index, packed)
        return flat.unflatten(0, self.mask.shape)

    def sum(self, packed: torch.Tensor) -> torch.Tensor:
        """`(n, dim)` -> `(batch, dim)`: of the clips of each video."""
        return self.unpack(packed).sum(1)

    def share(self, of_videos: torch.Tensor) -> torch.Tensor:
        """`(batch, dim)` -> `(n, dim)`: to each clip what its video has."""
        if self.index is None:
            return of_videos.repeat_interleave(self.mask.shape[1], dim=0)
        return of_videos.index_select(0, self.index // self.mask.shape[1])

    def bias(self, dtype: torch.dtype) -> torch.Tensor | None:
        """What attention to the clips adds before its softmax, `(batch, 1, 1, clips)`: minus infinity for padding."""
        if self.index is None:
            return None
        return torch.zeros_like(self.mask, dtype=dtype).masked_fill_(~self.mask, -torch.inf)[:, None, None]
