"""Shared by heads that compare a video with exemplars: pairs, votes, and groups of differences (Yu et al., Group-aware Contrastive
Regression, CoRe, ICCV 2021)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from longtake.train.errors import DataError, SettingsError
from longtake.train.heads.base import CATEGORY, Batch, Comparable, ExemplarRule, Needs


@dataclass(frozen=True)
class ContrastSettings:
    exemplars: str = CATEGORY
    """Manifest column in which a video and its exemplars agree: `category` (a dive's number: `w/ DN`), `score_<name>`
    (`score_difficulty`: `w/ DD`), or `any` (`w/o`)."""
    voters: int = 10
    """Exemplars of a tested video, whose predictions are averaged."""
    divide: str = ""
    """A score that is known beforehand, such as `difficulty`: scores are compared after they are divided by it, and multiplied back, as
    the published code does with difficulties. Empty compares scores as they are."""

    @property
    def needs(self) -> Needs:
        scores = (self.divide,) if self.divide else ()
        return Needs(scores=scores, exemplars=ExemplarRule(self.exemplars, self.voters))


NO_EXEMPLARS = "this head compares videos with exemplars, and the batch has none"


@dataclass(frozen=True)
class Pairs:
    """Every video of a batch with each of its exemplars."""

    query: torch.Tensor
    """int64, `(pairs,)`: row of the batch."""
    exemplar: torch.Tensor
    """int64, `(pairs,)`: row of `batch.exemplar`."""
    votes: torch.Tensor
    """float, `(batch, pairs)`: averages over the pairs of each video."""

    @classmethod
    def of(cls, batch: Batch) -> Pairs:
        if batch.voters is None:
            raise DataError(NO_EXEMPLARS)
        query, place = (batch.voters >= 0).nonzero(as_tuple=True)
        mine = F.one_hot(query, len(batch.voters)).T.float()
        return cls(query, batch.voters[query, place], mine / mine.sum(1, keepdim=True))


def exemplars_of(batch: Batch) -> Batch:
    """Raises `DataError` where there are none."""
    if batch.exemplar is None:
        raise DataError(NO_EXEMPLARS)
    return batch.exemplar


class Qualities(nn.Module):
    """What is compared: scores on the scale 0 to 1, divided by a score that is known beforehand where the settings name one. Its unit is
    its mean over the training videos, so that qualities stay near that scale."""

    def __init__(self, settings: ContrastSettings) -> None:
        super().__init__()
        self.divide = settings.divide
        self.register_buffer("unit", torch.ones(()))

    def learn_groups(self, training: Comparable) -> None:
        """Raises `DataError` where a score to divide by is not above 0."""
        if not self.divide:
            return
        known = training.scores[:, 0]
        if not (known > 0).all():
            raise DataError(f"divide={self.divide} takes a score above 0, got {known.min():g}")
        self.unit.fill_(float(known.mean()))

    def of(self, values01: torch.Tensor, scores: torch.Tensor | None) -> torch.Tensor:
        return values01 * self.unit / self._divisor(scores) if self.divide else values01

    def back(self, qualities: torch.Tensor, scores: torch.Tensor | None) -> torch.Tensor:
        return qualities * self._divisor(scores) / self.unit if self.divide else qualities

    def _divisor(self, scores: torch.Tensor | None) -> torch.Tensor:
        if scores is None:
            raise DataError(f"divide={self.divide} takes a score that the batch does not have")
        return scores[:, 0]


class Differences(nn.Module):
    """Groups of differences, symmetric about 0: as many training pairs in each (CoRe, section 3).

    A difference is encoded as its group and its place in it, from 0 at the left edge to 1 at the right one.
    """

    def __init__(self, settings: ContrastSettings, groups: int) -> None:
        super().__init__()
        if groups < 2 or groups % 2:
            raise SettingsError(f"differences take an even number of groups, got {groups}")
        self.qualities = Qualities(settings)
        self.register_buffer("edges", torch.linspace(-1, 1, groups + 1))

    def learn_groups(self, training: Comparable) -> None:
        """Edges at even shares of the absolute differences of training pairs, from 0 to the whole scale."""
        self.qualities.learn_groups(training)
        targets01, scores = (
            torch.from_numpy(values).to(self.edges) for values in (training.targets01, training.scores)
        )
        found = training.differences(self.qualities.of(targets01, scores).cpu().numpy())
        half = len(self.edges) // 2
        positive = np.quantile(found, np.linspace(0, 1, half + 1)) if len(found) else np.linspace(0, 1, half + 1)
        positive[0], positive[-1] = 0.0, max(1.0, positive[-1])
        self.edges.copy_(torch.from_numpy(np.concatenate([-positive[:0:-1], positive])))

    def encode(self, differences: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """`(pairs,)` -> groups, int64, and places in them. A group holds the edge of it that is nearer to 0."""
        half = len(self.edges) // 2
        positive = self.edges[half:].contiguous()
        index = torch.searchsorted(positive[1:-1].contiguous(), differences.abs().contiguous(), right=True)
        group = torch.where(differences >= 0, half + index, half - 1 - index)
        width = self.edges[group + 1] - self.edges[group]
        return group, (differences - self.edges[group]) / torch.where(width > 0, width, 1.0)

    def decode(self, group: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        """Group `(pairs,)` and places `(pairs, groups)` -> differences `(pairs,)`."""
        place = places.gather(1, group[:, None])[:, 0]
        return self.edges[group] + (self.edges[group + 1] - self.edges[group]) * place

    def loss(self, log_probabilities: torch.Tensor, places: torch.Tensor, differences: torch.Tensor) -> torch.Tensor:
        """Cross-entropy of the groups and squared error of the places in the right ones, means over pairs (CoRe, section 3)."""
        group, place = self.encode(differences)
        error = places.gather(1, group[:, None])[:, 0] - place
        return F.nll_loss(log_probabilities, group) + (error**2).mean()


Compare = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]
"""What a head makes of pairs: of features of the one video, of the other, and the other's quality, `(pairs,)`, the logarithms of the
probabilities of groups, `(pairs, groups)`, and the places in them, of the same shape: how much better the one is."""


def judge(
    batch: Batch, query: torch.Tensor, exemplar: torch.Tensor, compare: Compare, differences: Differences
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Scores `(batch,)` from 0 to 1, the means over exemplars, of features `(batch, ...)` and `(exemplars, ...)`; and, while training,
    the loss of the comparisons, each made both ways, as the published code does."""
    pairs, qualities, others = Pairs.of(batch), differences.qualities, exemplars_of(batch)
    known = qualities.of(others.target01, others.scores)[pairs.exemplar]
    mine, theirs = query[pairs.query], exemplar[pairs.exemplar]
    log_probabilities, places = compare(mine, theirs, known)
    better = differences.decode(log_probabilities.argmax(-1), places)
    score01 = qualities.back(pairs.votes @ (known + better), batch.scores)
    if not differences.training:
        return score01, {}
    true = qualities.of(batch.target01, batch.scores)[pairs.query]
    loss = differences.loss(log_probabilities, places, true - known)
    return score01, {"comparison": loss + differences.loss(*compare(theirs, mine, true), known - true)}
