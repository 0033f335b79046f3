"""How far two sequences are apart when one may be stretched in time (Cuturi and Blondel, Soft-DTW, ICML 2017, equation 2)."""

from __future__ import annotations

import torch
import torch.nn.functional as F


def soft_dtw(one: torch.Tensor, other: torch.Tensor, gamma: float) -> torch.Tensor:
    """`(batch, n, width)` and `(batch, m, width)` -> `(batch,)`: the soft minimum over alignments of summed squared distances.

    Places whose numbers add up to the same depend on those before only, so that each such diagonal is one operation.
    """
    cost = torch.cdist(one, other, compute_mode="donot_use_mm_for_euclid_dist") ** 2
    rows, columns = cost.shape[1:]
    # Row i of `skewed` is shifted by i, so that its columns are the diagonals.
    skewed = torch.stack([F.pad(cost[:, row], (row, rows - 1 - row)) for row in range(rows)], 1)
    blocked = cost.new_full((len(cost), rows), torch.inf)
    row = torch.arange(rows, device=cost.device)
    before, last = blocked, blocked
    for diagonal in range(rows + columns - 1):
        # Entry i of a diagonal is place (i, diagonal - i).
        above, corner = (F.pad(values[:, :-1], (1, 0), value=torch.inf) for values in (last, before))
        if diagonal == 0:
            least = torch.zeros_like(blocked)
        else:
            choices = -torch.stack([last, above, corner]) / gamma
            there = choices.isfinite().any(0)
            least = torch.where(there, -gamma * choices.where(there, 0.0).logsumexp(0), torch.inf)
        inside = (diagonal - row >= 0) & (diagonal - row < columns)
        before, last = last, torch.where(inside, skewed[..., diagonal] + least, torch.inf)
    return last[:, -1]
