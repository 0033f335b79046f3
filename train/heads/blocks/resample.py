"""Rows at even distances, for layers that need as many rows of each video."""

from __future__ import annotations

import torch


def lerp_rows(values: torch.Tensor, place: torch.Tensor) -> torch.Tensor:
    """`(batch, clips, dim)` at places `(batch, rows)`, on straight lines between clips -> `(batch, rows, dim)`."""
    low = place.floor().long()
    high = (low + 1).clamp(max=values.shape[1] - 1)
    share = (place - low)[..., None].to(values.dtype)

    first = torch.arange(len(values), device=values.device)[:, None] * values.shape[1]

    def at(index: torch.Tensor) -> torch.Tensor:
        return values.flatten(0, 1).index_select(0, (first + index).flatten()).unflatten(0, index.shape)

    return at(low) * (1 - share) + at(high) * share


def resample(values: torch.Tensor, mask: torch.Tensor, rows: int) -> torch.Tensor:
    """`(batch, clips, dim)` -> `(batch, rows, dim)`, from the first clip of a video to its last; a video of so many clips stays as it is."""
    last = mask.sum(1, keepdim=True) - 1
    place = torch.arange(rows, device=values.device)[None] * last / max(rows - 1, 1)
    # An empty place of a padded video must not be read, not even with weight 0.
    return lerp_rows(values, torch.minimum(place, last.to(place.dtype)))


def fit_rows(values: torch.Tensor, mask: torch.Tensor, rows: int) -> torch.Tensor:
    """`(batch, clips, dim)` -> `(batch, rows, dim)`: the centre of a longer video, zeros at the end of a shorter one."""
    lengths = mask.sum(1, keepdim=True)
    place = (lengths - rows).clamp(min=0) // 2 + torch.arange(rows, device=values.device)
    index = torch.minimum(place, lengths - 1)[..., None].expand(-1, -1, values.shape[-1])
    return values.gather(1, index).masked_fill((place >= lengths)[..., None], 0.0)
