"""What can be said of a performance without seeing it: ridge regression on who performs, and where, and on how long it takes.

A head that sees the video should exceed it; where it does not, the labels are known from the groups.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch

from longtake.train.errors import DataError, require_at_least
from longtake.train.heads.base import Batch, Head, HeadOutput, Needs
from longtake.train.heads.ridge import RidgeSettings, solve_dual


@dataclass(frozen=True)
class MetadataSettings(RidgeSettings):
    penalty_min: float = 1e-2
    penalty_max: float = 1e2
    penalties: int = 9
    groups: str = ""
    """Kinds of groups that it sees, separated by commas, such as `skater,event`; empty: all that the labels have."""
    length: bool = True
    """Whether it sees the number of clips."""
    capacity: int = 4096
    """Different groups that a head can carry."""

    def __post_init__(self) -> None:
        require_at_least(self, penalties=1, capacity=1)


class Metadata(Head):
    """No video: ridge regression on groups (skater, event, surgeon, ...) and length alone; a baseline that sees no picture."""

    Settings = MetadataSettings
    closed_form = True
    sees_video = False

    @classmethod
    def needs(cls, settings: MetadataSettings) -> Needs:
        return Needs(clips=False, groups=tuple(name.strip() for name in settings.groups.split(",") if name.strip()))

    def build(self, dim: int, audio_dim: int) -> None:
        # Groups by their number in `Batch.groups`; 0 in unused places, where no video is.
        self.register_buffer("known", torch.zeros(self.settings.capacity, dtype=torch.int64))
        self.register_buffer("weight", torch.zeros(self.settings.capacity))
        for name in ("length_mean", "length_weight", "intercept"):
            self.register_buffer(name, torch.zeros(()))

    @torch.no_grad()
    def fit_closed_form(self, batches: Iterable[Batch]) -> None:
        """One column for each group, 1 for its videos, and the standardised length; the penalty is that of the least leave-one-out error. Scores are
        taken from their mean, so that a video of which nothing is known gets the mean. Raises `DataError` for more groups than it can carry."""
        parts = [(_groups(batch), _lengths(batch), batch.target01.double()) for batch in batches]
        groups, lengths, target = (torch.cat(of_batches) for of_batches in zip(*parts))
        names = groups[groups != 0].unique()
        if len(names) > self.settings.capacity:
            raise DataError(
                f"the videos are of {len(names)} groups, and the head has room for {self.settings.capacity}: --set capacity={len(names)}"
            )
        columns = (groups[:, :, None] == names).any(1).double()
        spread = lengths.std(correction=0)
        standard = (lengths - lengths.mean()) / spread if self.settings.length and spread > 0 else 0 * lengths
        inputs = torch.cat([columns, standard[:, None]], 1)
        dual, _ = solve_dual(inputs @ inputs.T, target[:, None], self.settings)
        weight = inputs.T @ dual[:, 0]
        self.known[: len(names)], self.weight[: len(names)] = names, weight[:-1].float()
        self.length_mean.copy_(lengths.mean())
        self.length_weight.copy_(weight[-1] / spread if spread > 0 else weight[-1])
        self.intercept.copy_(target.mean())

    def forward(self, batch: Batch) -> HeadOutput:
        groups = _groups(batch)
        same = (groups[:, :, None] == self.known) & (groups != 0)[:, :, None]
        by_length = (_lengths(batch).to(self.weight) - self.length_mean) * self.length_weight
        return HeadOutput((same * self.weight).sum((1, 2)) + by_length + self.intercept)


def _groups(batch: Batch) -> torch.Tensor:
    return batch.mask.new_zeros(len(batch.mask), 0, dtype=torch.int64) if batch.groups is None else batch.groups


def _lengths(batch: Batch) -> torch.Tensor:
    return batch.mask.sum(1).double()
