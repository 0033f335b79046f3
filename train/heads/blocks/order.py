"""Where the parts of a performance are, learnt from nothing but their order.

Judges' sheets say which elements were shown and in what order, not when. A hidden Markov model (Rabiner, Proceedings of the IEEE 77(2), 1989) with a Gaussian
for each kind of part and one covariance for all finds, by expectation maximisation, which clips belong to which: between two parts there may be
clips of no part, kind 0. Then it names the kinds of clips of other performances, whose parts may come in any order. Everything is computed in double
precision, and nothing is drawn at random.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

RIDGE = 0.05
"""Added to the covariance's diagonal, as a share of its mean."""
LEAST_SHARE = 0.55
"""Of a part's typical length: what a part lasts at least."""
FIRST_PART = 0.05
"""Weight of beginning with a part at once, next to that of beginning with kind 0."""
TINY = 1e-300

Step = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Kinds:
    """How long parts of each kind typically are."""

    typical: tuple[float, ...]
    """In clips; the first is of kind 0, what is between parts."""

    @property
    def least(self) -> tuple[int, ...]:
        return 1, *(math.ceil(round(LEAST_SHARE * length, 6)) for length in self.typical[1:])

    @property
    def stay(self) -> torch.Tensor:
        """`(kinds,)`: the chance that a part of the least length lasts one more clip."""
        spare = [max(typical - least + 1, 1.2) for typical, least in zip(self.typical, self.least)]
        return 1 - 1 / torch.tensor(spare, dtype=torch.float64)

    def around(self, order: Sequence[int]) -> list[int]:
        """The kinds in order, with kind 0 before, between and after."""
        return [0, *(kind for part in order for kind in (part, 0))]

    def least_clips(self, order: Sequence[int]) -> int:
        """Fewest clips that hold these parts, the last of them at the very end or before a clip of kind 0."""
        return sum(self.least[kind] for kind in self.around(order))


@dataclass(frozen=True)
class Emission:
    """`clip @ weight + bias` is the log of how likely a clip is under each kind, but for a constant."""

    weight: torch.Tensor
    """double, `(dim, kinds)`."""
    bias: torch.Tensor
    """double, `(kinds,)`."""


def learn(
    videos: Sequence[torch.Tensor], orders: Sequence[Sequence[int]], kinds: Kinds, sharpness: float, rounds: int
) -> Emission:
    """`videos`: double, `(clips, dim)` each; `orders`: the kinds of each video's parts, from 1. `sharpness` multiplies the log likelihood of a clip,
    since neighbouring clips are not independent. Each video has at least `kinds.least_clips` clips."""
    chain = _Chain(orders, kinds)
    clips = torch.cat(list(videos))
    shares = torch.cat([_even(len(video), order, kinds) for video, order in zip(videos, orders)]).to(clips)
    lengths = [len(video) for video in videos]
    for _ in range(rounds):
        emission = _emission(clips, shares, sharpness)
        likely = _padded((clips @ emission.weight + emission.bias).split(lengths))
        states = chain.states(likely, lengths)
        shares = torch.cat([kinds_of[:length] for kinds_of, length in zip(states, lengths)])
    return _emission(clips, shares, sharpness)


def recognise(log_likely: Sequence[torch.Tensor], kinds: Kinds, frequency: torch.Tensor) -> list[torch.Tensor]:
    """Log likelihoods of videos, double `(clips, kinds)` each -> how probable each kind is at each clip, of the same shape. `frequency`, `(kinds,)`: how
    often parts of each kind are shown; that of kind 0 is not read."""
    least, device = kinds.least, frequency.device
    ends = torch.tensor(least).cumsum(0) - 1
    starts = [int(end) - count + 1 for end, count in zip(ends, least)]
    of_state = torch.cat([torch.full((count,), kind) for kind, count in enumerate(least)]).to(device)
    move = torch.zeros(len(of_state), len(of_state), dtype=torch.float64)
    chance = (frequency[1:] / frequency[1:].sum().clamp_min(TINY)).cpu()
    for kind, (start, end) in enumerate(zip(starts, ends.tolist())):
        for state in range(start, end):
            move[state, state + 1] = 1
        stay = float(kinds.stay[kind])
        move[end, end] = stay
        if kind:
            move[end, starts[0]] = 1 - stay
        else:
            move[end, starts[1:]] = (1 - stay) * chance
    first = torch.zeros(len(of_state), dtype=torch.float64)
    first[starts[0]] = 1
    first[starts[1:]] = FIRST_PART
    move, lengths = move.to(device), [len(video) for video in log_likely]
    found = _forward_backward(
        _padded(log_likely)[:, :, of_state],
        lengths,
        first.to(device),
        torch.ones_like(first).to(device),
        lambda a: a @ move,
        lambda b: b @ move.T,
    )
    by_kind = torch.stack([found[:, :, of_state == kind].sum(2) for kind in range(len(least))], 2)
    return [shares[:length] for shares, length in zip(by_kind, lengths)]


class _Chain:
    """States of videos whose parts are known in order: each part has as many as it lasts at least, of which the last may repeat."""

    def __init__(self, orders: Sequence[Sequence[int]], kinds: Kinds) -> None:
        chains = [
            [
                (kind, repeat == kinds.least[kind] - 1)
                for kind in kinds.around(order)
                for repeat in range(kinds.least[kind])
            ]
            for order in orders
        ]
        count = max(map(len, chains))
        self.kinds = len(kinds.typical)
        self.kind = torch.tensor([[kind for kind, _ in chain] + [0] * (count - len(chain)) for chain in chains])
        repeats = torch.tensor([[last for _, last in chain] + [False] * (count - len(chain)) for chain in chains])
        self.stay = torch.where(repeats, kinds.stay[self.kind], 0.0)
        self.move = torch.where(repeats, 1 - self.stay, 1.0)
        self.first = torch.zeros_like(self.stay)
        self.first[:, :2] = 1
        self.last = torch.zeros_like(self.stay)
        for row, chain in enumerate(chains):
            self.last[row, len(chain) - 2 : len(chain)] = 1

    def states(self, likely: torch.Tensor, lengths: list[int]) -> torch.Tensor:
        """`(videos, clips, kinds)` -> the same shape: how probable each kind is at each clip."""
        device = likely.device
        kind, stay, move = (value.to(device) for value in (self.kind, self.stay, self.move))

        def forward(a: torch.Tensor) -> torch.Tensor:
            return a * stay + torch.nn.functional.pad((a * move)[:, :-1], (1, 0))

        def backward(b: torch.Tensor) -> torch.Tensor:
            return b * stay + move * torch.nn.functional.pad(b[:, 1:], (0, 1))

        emission = likely.gather(2, kind[:, None].expand(-1, likely.shape[1], -1))
        found = _forward_backward(emission, lengths, self.first.to(device), self.last.to(device), forward, backward)
        return likely.new_zeros(likely.shape).scatter_add_(2, kind[:, None].expand_as(found), found)


def _forward_backward(
    emission: torch.Tensor, lengths: list[int], first: torch.Tensor, last: torch.Tensor, forward: Step, backward: Step
) -> torch.Tensor:
    """Probabilities of states, `(videos, clips, states)`, from likelihoods of that shape, which may have any scale at each clip."""
    count = torch.tensor(lengths, device=emission.device)
    ahead = first * emission[:, 0]
    reached = [_to_one(ahead)]
    for clip in range(1, emission.shape[1]):
        reached.append(_to_one(forward(reached[-1]) * emission[:, clip]))
    behind = last.expand_as(ahead)
    found = [behind] * emission.shape[1]
    for clip in reversed(range(emission.shape[1])):
        if clip + 1 < emission.shape[1]:
            earlier = _to_one(backward(behind * emission[:, clip + 1]))
            behind = torch.where((clip >= count - 1)[:, None], last, earlier)
        found[clip] = _to_one(reached[clip] * behind)
    return torch.stack(found, 1)


def _to_one(values: torch.Tensor) -> torch.Tensor:
    return values / values.sum(1, keepdim=True).clamp_min(TINY)


def _even(num_clips: int, order: Sequence[int], kinds: Kinds) -> torch.Tensor:
    """`(clips, kinds)`: where parts would be if all were stretched alike."""
    around = kinds.around(order)
    ends = torch.tensor([kinds.typical[kind] for kind in around], dtype=torch.float64).cumsum(0)
    place = (torch.arange(num_clips, dtype=torch.float64) + 0.5) / num_clips
    part = torch.searchsorted(ends / ends[-1], place).clamp_max(len(around) - 1)
    return torch.nn.functional.one_hot(torch.tensor(around)[part], len(kinds.typical)).double()


def _emission(clips: torch.Tensor, shares: torch.Tensor, sharpness: float) -> Emission:
    mass = shares.sum(0).clamp_min(TINY)
    means = shares.T @ clips / mass[:, None]
    covariance = (clips.T @ clips - (means.T * mass) @ means) / len(clips)
    covariance += RIDGE * covariance.diagonal().mean() * torch.eye(len(covariance)).to(covariance)
    weight = torch.linalg.solve(covariance, means.T)
    return Emission(sharpness * weight, -sharpness / 2 * (means.T * weight).sum(0))


def _padded(log_likely: Sequence[torch.Tensor]) -> torch.Tensor:
    """Likelihoods, each clip's largest 1, with ones after a video's last clip."""
    return torch.nn.utils.rnn.pad_sequence(
        [(video - video.amax(1, keepdim=True)).exp() for video in log_likely], batch_first=True, padding_value=1.0
    )
