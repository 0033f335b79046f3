"""Shared by heads that compare a video with exemplars: pairs, votes, and groups of differences (Yu et al., Group-aware Contrastive
Regression, CoRe, ICCV 2021)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from longtake.train.errors import DataError, SettingsError, require_one_of
from longtake.train.heads.base import CATEGORY, Batch, Comparable, ExemplarRule, Head, Needs
from longtake.train.heads.settings import WithLater, fact, later

QUANTILES, ORDER = "quantiles", "order"
PAIRS, LEAVES = "pairs", "leaves"
FROM_STORE = ("differences.", "qualities.")
"""Beginnings of the names of buffers that follow from the training videos; published checkpoints do not have them."""
SAME = 1e-6
"""Differences that are nearer to each other are equal: float32 scores divided by difficulties differ by their rounding."""


@dataclass(frozen=True, repr=False)
class ContrastSettings(WithLater):
    exemplars: str = CATEGORY
    """Manifest column in which a video and its exemplars agree: `category` (a dive's number: `w/ DN`), `score_<name>`
    (`score_difficulty`: `w/ DD`), or `any` (`w/o`)."""
    voters: int = 10
    """Exemplars of a tested video, whose predictions are averaged."""
    divide: str = ""
    """A score that is known beforehand, such as `difficulty`: scores are compared after they are divided by it, and multiplied back, as
    the published code does with difficulties. Empty compares scores as they are."""
    score_range: float = later(0.0)
    """The largest difference, in judges' units, and the unit of what is compared, as the published code of CoRe has it: 30 on MTL-AQA, where scores
    are divided by difficulties. 0 takes the range of the scores."""
    score_minimum: float = fact(0.0)
    score_maximum: float = fact(1.0)

    def __post_init__(self) -> None:
        if self.score_range < 0:
            raise SettingsError(f"score_range must be 0 or more, got {self.score_range}")

    @property
    def needs(self) -> Needs:
        scores = (self.divide,) if self.divide else ()
        return Needs(scores=scores, exemplars=ExemplarRule(self.exemplars, self.voters))


@dataclass(frozen=True, repr=False)
class GroupSettings(ContrastSettings):
    """Of heads with groups of differences. The published code has `order`, `leaves`, and the defects."""

    edges: str = later(QUANTILES)
    """Of groups: `quantiles` of the differences, interpolated, or differences that occur, by their place in the `order` of all."""
    place_weight: str = later(PAIRS)
    """The error of places is the mean over `pairs`, or the sum over the groups, or `leaves`, of the mean in each: then it grows with the batch."""
    published_defects: bool = later(False)
    """A difference beyond the last edge counts as the lowest group, and has no place; edges beyond the largest difference stay, so that groups overlap."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_one_of("edges", self.edges, (QUANTILES, ORDER))
        require_one_of("place_weight", self.place_weight, (PAIRS, LEAVES))


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
    """What is compared: scores, divided by a score that is known beforehand where the settings name one. With a `score_range` they are in
    judges' units, divided by it; otherwise on the scale 0 to 1, and the unit of the divisor is its mean over the training videos, so that
    qualities stay near that scale."""

    def __init__(self, settings: ContrastSettings) -> None:
        super().__init__()
        self.divide, self.score_range = settings.divide, settings.score_range
        span = settings.score_maximum - settings.score_minimum
        self.offset = settings.score_minimum / span if self.score_range else 0.0
        self.register_buffer("unit", torch.tensor(span / self.score_range if self.score_range else 1.0))

    def learn_groups(self, training: Comparable) -> None:
        """Raises `DataError` where a score to divide by is not above 0."""
        if not self.divide:
            return
        known = training.scores[:, 0]
        if not (known > 0).all():
            raise DataError(f"divide={self.divide} takes a score above 0, got {known.min():g}")
        if not self.score_range:
            self.unit.fill_(float(known.mean()))

    def of(self, values01: torch.Tensor, scores: torch.Tensor | None) -> torch.Tensor:
        return (values01 + self.offset) * self.unit / self._divisor(scores)

    def back(self, qualities: torch.Tensor, scores: torch.Tensor | None) -> torch.Tensor:
        return qualities * self._divisor(scores) / self.unit - self.offset

    def _divisor(self, scores: torch.Tensor | None) -> torch.Tensor | float:
        if not self.divide:
            return 1.0
        if scores is None:
            raise DataError(f"divide={self.divide} takes a score that the batch does not have")
        return scores[:, 0]


class Differences(nn.Module):
    """Groups of differences, symmetric about 0: as many training pairs in each (CoRe, section 3).

    A difference is encoded as its group and its place in it, from 0 at the left edge to 1 at the right one.
    """

    def __init__(self, settings: GroupSettings, groups: int) -> None:
        super().__init__()
        self.settings = settings
        if groups < 2 or groups % 2:
            raise SettingsError(f"differences take an even number of groups, got {groups}")
        self.qualities = Qualities(settings)
        self.register_buffer("edges", torch.linspace(-1, 1, groups + 1))

    def learn_groups(self, training: Comparable) -> None:
        """Edges at even shares of the absolute differences of training pairs, from 0 to the largest difference; equal ones are the same."""
        self.qualities.learn_groups(training)
        targets01, scores = (
            torch.from_numpy(values).to(self.edges) for values in (training.targets01, training.scores)
        )
        found = training.differences(self.qualities.of(targets01, scores).cpu().numpy())
        half = len(self.edges) // 2
        positive = np.linspace(0, 1, half + 1)
        if len(found) and self.settings.edges == ORDER:
            positive = found[(positive * (len(found) - 1)).astype(int)].astype(float)
        elif len(found):
            positive = np.quantile(found, positive)
        positive[0], positive[-1] = 0.0, 1.0 if self.settings.score_range else max(1.0, positive[-1])
        defects = self.settings.published_defects
        for index in range(1, half + 1):
            rise = positive[index] - positive[index - 1]
            apart = (abs(rise) if defects else rise) >= SAME
            highest = positive[index] if defects else min(positive[index], positive[-1])
            positive[index] = highest if apart else positive[index - 1]
        self.edges.copy_(torch.from_numpy(np.concatenate([-positive[:0:-1], positive])))

    def encode(self, differences: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """`(pairs,)` -> groups, int64, and places in them. A group holds the edge of it that is nearer to 0."""
        half = len(self.edges) // 2
        positive = self.edges[half:].contiguous()
        index = torch.searchsorted(positive[1:-1] - SAME, differences.abs().contiguous(), right=True)
        group = torch.where(differences > -SAME, half + index, half - 1 - index)
        return group, (differences - self._left()[group]) / self._width(group)

    def groups_that_hold(self, differences: torch.Tensor) -> torch.Tensor:
        """bool, `(pairs, groups)`: as the published code decides it; none, or several that overlap, where edges are beyond the largest difference."""
        left = self._left()
        right, at = torch.maximum(self.edges[:-1], self.edges[1:]), differences[:, None]
        up, wide = at > -SAME, right > left
        above = torch.where(up, at >= left - SAME, at > left + SAME)
        return wide & above & torch.where(up, at < right - SAME, at <= right + SAME)

    def _left(self) -> torch.Tensor:
        """Of each group, `(groups,)`; edges fall where published ones are beyond the largest difference."""
        return torch.minimum(self.edges[:-1], self.edges[1:])

    def _width(self, group: torch.Tensor) -> torch.Tensor:
        width = (self.edges[group + 1] - self.edges[group]).abs()
        return torch.where(width > 0, width, 1.0)

    def decode(self, group: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        """Group `(pairs,)` and places `(pairs, groups)` -> differences `(pairs,)`."""
        place = places.gather(1, group[:, None])[:, 0]
        return self._left()[group] + self._width(group) * place

    def loss(self, log_probabilities: torch.Tensor, places: torch.Tensor, differences: torch.Tensor) -> torch.Tensor:
        """Cross-entropy of the groups, mean over pairs, and squared error of the places in the right ones (CoRe, section 3)."""
        if self.settings.published_defects:
            held = self.groups_that_hold(differences)
            group = held.long().argmax(1)
        else:
            group, _ = self.encode(differences)
            held = F.one_hot(group, len(self.edges) - 1).bool()
        place = (differences[:, None] - self._left()) / self._width(
            torch.arange(len(self.edges) - 1, device=group.device)
        )
        error = (held * (places - place) ** 2).sum(0)
        if self.settings.place_weight == LEAVES:
            error = error / held.sum(0).clamp(min=1)
            return F.nll_loss(log_probabilities, group) + error.sum()
        return F.nll_loss(log_probabilities, group) + error.sum() / len(group)


class GroupHead(Head):
    """A head that predicts in which group the difference to an exemplar is, and where in it."""

    differences: Differences

    @classmethod
    def needs(cls, settings: GroupSettings) -> Needs:
        return replace(settings.needs, sees_padding=not getattr(settings, "mask", True))

    def learn_groups(self, training: Comparable) -> None:
        self.differences.learn_groups(training)


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
