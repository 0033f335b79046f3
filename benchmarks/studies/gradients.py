"""Experiments that are trained by gradient: a small head with attention, alone, taught by the kernel, with mixed videos, or trained before without labels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from torch import nn

from studies.models import WITH_JUMPS, Fold, Model, Rows, by_gram, joined
from studies.neighbours import left_out_of

PLACES, WIDTH, QUERIES = 64, 64, 8


def spread_clips(videos: Sequence[torch.Tensor]) -> torch.Tensor:
    """`(videos, PLACES, components)`: means of equal parts, so that videos can be mixed place by place; of deviation 1."""
    found = torch.stack([torch.nn.functional.adaptive_avg_pool1d(one.T[None].float(), PLACES)[0].T for one in videos])
    return found / found.std((0, 1))


class Encoder(nn.Module):
    """Looks at neighbours of each clip."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.into = nn.Linear(dim, WIDTH)
        self.near = nn.Conv1d(WIDTH, WIDTH, 5, padding=2)

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        hidden = torch.relu(self.into(clips))
        return hidden + torch.relu(self.near(hidden.transpose(1, 2)).transpose(1, 2))


class SmallAttention(nn.Module):
    """Queries attend to clips; scores are linear in what they find."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder
        self.query = nn.Linear(WIDTH, QUERIES)
        self.place = nn.Parameter(torch.zeros(QUERIES, PLACES))
        self.drop = nn.Dropout(0.5)
        self.score = nn.Linear(QUERIES * WIDTH, 2)

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        hidden = self.encoder(clips)
        shares = torch.softmax(self.query(hidden).transpose(1, 2) + self.place, 2)
        return self.score(self.drop((shares @ hidden).flatten(1)))


def trained_before(clips: torch.Tensor, task: str, steps: int = 200) -> Encoder:
    """`masked`: clips that are hidden are predicted from the others; `order`: which of two stretches is the earlier one. All videos, no labels."""
    torch.manual_seed(0)
    encoder = Encoder(clips.shape[2])
    out = nn.Linear(WIDTH, clips.shape[2] if task == "masked" else 1)
    optimizer = torch.optim.AdamW([*encoder.parameters(), *out.parameters()], lr=2e-3, weight_decay=1e-2)
    for _ in range(steps):
        batch = clips[torch.randint(len(clips), (32,))]
        if task == "masked":
            hidden = torch.rand(batch.shape[:2]) < 0.25
            guess = out(encoder(batch.masked_fill(hidden[..., None], 0)))
            loss = ((guess - batch)[hidden] ** 2).mean()
        else:
            first, second = torch.randint(PLACES - 8, (2,)).tolist()
            looks = [out(encoder(batch[:, at : at + 8])).mean((1, 2)) for at in (first, second)]
            sign = 1.0 if first > second else -1.0
            loss = nn.functional.softplus(-sign * (looks[0] - looks[1])).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return encoder


@dataclass(frozen=True)
class Way:
    taught: float = 0.0
    """Share of the kernel's left-out predictions in the targets."""
    mix: bool = False
    exchange: bool = False
    before: str = ""
    epochs: int = 25
    seeds: int = 1
    residual: bool = False
    """Learns what the kernel leaves."""


def small_attention(get_clips: Callable[[], torch.Tensor], way: Way) -> Model:
    def predict(fold: Fold) -> np.ndarray:
        clips = get_clips()
        gram = joined(fold, WITH_JUMPS)
        scores, base = fold.scores, np.zeros((len(fold.test), 2))
        if way.taught or way.residual:
            left_out = left_out_of(fold, gram)
            scores = scores - left_out if way.residual else (1 - way.taught) * scores + way.taught * left_out
            if way.residual:
                base = by_gram(fold, gram)
        mean, spread = scores.mean(0), fold.scores.std(0)
        target = torch.from_numpy((scores - mean) / spread).float()
        found = [
            one_training(clips[fold.train], target, clips[fold.test], clips, way, seed) for seed in range(way.seeds)
        ]
        return base + np.mean(found, 0) * spread + mean

    return predict


def one_training(
    train: torch.Tensor, target: torch.Tensor, test: torch.Tensor, every: torch.Tensor, way: Way, seed: int
) -> np.ndarray:
    encoder = trained_before(every, way.before) if way.before else None
    torch.manual_seed(seed)
    model = SmallAttention(encoder or Encoder(train.shape[2]))
    average = {name: value.clone() for name, value in model.state_dict().items()}
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.1)
    steps = way.epochs * (len(train) // 32)
    for step in range(steps):
        rows = torch.randint(len(train), (32,))
        clips, true = train[rows], target[rows]
        if way.mix or way.exchange:
            others = torch.randint(len(train), (32,))
            part = torch.distributions.Beta(0.5, 0.5).sample((32, 1))
            if way.exchange:
                part = (part * 8).round() / 8
                kept = torch.rand(32, 8).argsort(1).argsort(1) < (part * 8)
                share = kept.repeat_interleave(PLACES // 8, 1)[..., None].float()
            else:
                share = part[..., None]
            clips, true = share * clips + (1 - share) * train[others], part * true + (1 - part) * target[others]
        loss = ((model(clips) - true) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        keep = 0.0 if step < steps // 2 else 0.98
        for name, value in model.state_dict().items():
            average[name].mul_(keep).add_((1 - keep) * value)
    model.load_state_dict(average)
    model.eval()
    with torch.no_grad():
        return model(test).numpy().astype(float)


def rows(clips: Callable[[], torch.Tensor]) -> Rows:
    ways = {
        "small attention": Way(),
        "small attention, videos mixed": Way(mix=True),
        "small attention, stretches exchanged": Way(exchange=True),
        "small attention, taught half by the kernel": Way(taught=0.5),
        "small attention, taught by the kernel alone": Way(taught=1.0),
        "small attention, masked clips before": Way(before="masked"),
        "small attention, order of time before": Way(before="order"),
        "small attention on what the kernel leaves": Way(residual=True, epochs=15),
    }
    read = cache(clips)
    return {name: [small_attention(read, way)] for name, way in ways.items()}
