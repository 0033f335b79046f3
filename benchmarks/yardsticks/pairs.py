"""Published modules that compare a video with an exemplar."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from longtake.train.heads.base import Batch, Head
from yardsticks.layers import mlp, window


def group_loss(logs: torch.Tensor, places: torch.Tensor, differences: torch.Tensor) -> torch.Tensor:
    """Of even groups: the negative logarithm of the right one, and the error of the place in it, group by group."""
    groups = logs.shape[1]
    at = ((differences + 1) / 2 * groups).clamp(0, groups - 1e-3)
    which = at.long()
    loss = F.nll_loss(logs, which)
    for group in range(groups):
        inside = which == group
        if inside.any():
            loss = loss + F.mse_loss(places[inside, group], (at - which)[inside])
    return loss


def pairs_of(batch: Batch) -> tuple[Batch, torch.Tensor, torch.Tensor]:
    """The exemplars, which one each video has, and how much better the video is."""
    other, which = batch.exemplar, batch.voters[:, 0]
    return other, which, batch.target01 - other.target01[which]


class CoRe(nn.Module):
    def __init__(self, ours: Head, dim: int) -> None:
        super().__init__()
        w, self.depth = ours.settings.width, ours.settings.depth - 1
        self.root = nn.Linear(2 * dim + 1, w)
        nodes = [2**level for level in range(self.depth)]
        self.choices = nn.ModuleList(nn.Conv1d(n * w, n * 2, 1, groups=n) for n in nodes)
        self.descents = nn.ModuleList(nn.Conv1d(n * w, n * 2 * w, 1, groups=n) for n in nodes)
        self.leaves = nn.Conv1d(2**self.depth * w, 2**self.depth, 1, groups=2**self.depth)

    def tree(self, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        nodes, reached = torch.relu(self.root(rows))[..., None], rows.new_zeros(len(rows), 1)
        for choose, descend in zip(self.choices, self.descents):
            reached = (reached[..., None] + choose(nodes).view(len(rows), -1, 2).log_softmax(-1)).flatten(1)
            nodes = torch.relu(descend(nodes))
        return reached, self.leaves(nodes)[..., 0]

    def forward(self, batch: Batch) -> torch.Tensor:
        other, which, better = pairs_of(batch)
        mine, theirs = batch.clips.mean(1), other.clips.mean(1)[which]
        known = batch.target01[:, None], other.target01[which][:, None]
        one = self.tree(torch.cat([theirs, mine, known[1]], -1))
        two = self.tree(torch.cat([mine, theirs, known[0]], -1))
        return group_loss(*one, better) + group_loss(*two, -better)


class TPT(nn.Module):
    def __init__(self, ours: Head, dim: int) -> None:
        super().__init__()
        s = self.settings = ours.settings
        w, drop = s.width, s.dropout
        self.places = nn.Embedding(s.queries, w)
        self.temperatures = nn.ParameterList(nn.Parameter(torch.tensor(s.temperature)) for _ in range(s.layers))
        self.query = nn.ModuleList(nn.Linear(w, w) for _ in range(s.layers))
        self.key, self.value = (nn.ModuleList(nn.Linear(dim, w) for _ in range(s.layers)) for _ in range(2))
        self.norms = nn.ModuleList(nn.LayerNorm(w) for _ in range(2 * s.layers + 1))
        self.ffn = nn.ModuleList(mlp(w, s.feed_forward, w) for _ in range(s.layers))
        self.drop, self.among = nn.Dropout(drop), nn.MultiheadAttention(w, s.heads, drop, batch_first=True)
        self.pair = nn.Sequential(nn.Linear(2 * w, w), nn.ReLU(), nn.Dropout(drop), nn.Linear(w, w))
        self.cls, self.reg = mlp(w, 128, s.groups), mlp(w, 128, s.groups)

    def parse(self, clips: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        places = self.places.weight[None].expand(len(clips), -1, -1)
        parts, looks = torch.zeros_like(places), []
        for index in range(self.settings.layers):
            logits = self.query[index](parts + places) @ self.key[index](clips).transpose(1, 2)
            looks.append((logits / parts.shape[-1] / self.temperatures[index]).softmax(-1))
            parts = self.norms[2 * index](parts + self.drop(looks[-1] @ self.value[index](clips)))
            parts = self.norms[2 * index + 1](parts + self.drop(self.ffn[index](parts)))
            if index == 0:
                asked = parts + places
                parts = self.norms[-1](parts + self.drop(self.among(asked, asked, parts)[0]))
        return parts, looks

    def forward(self, batch: Batch) -> torch.Tensor:
        other, which, better = pairs_of(batch)
        mine, looks = self.parse(batch.clips)
        theirs, more = self.parse(other.clips[which])
        loss = torch.zeros(())
        for one, two, true in ((theirs, mine, better), (mine, theirs, -better)):
            relative = self.pair(torch.cat([one, two], -1)).mean(1)
            loss = loss + group_loss(self.cls(relative).log_softmax(-1), torch.sigmoid(self.reg(relative)), true)
        clip = torch.arange(1.0, batch.clips.shape[1] + 1)
        for seen in looks + more:
            centres = seen @ clip
            ends = clip[[0, -1]].expand(len(centres), -1)
            line = torch.cat([ends[:, :1], centres, ends[:, 1:]], -1)
            loss = loss + F.relu(1.0 - line.diff(dim=-1)).mean(0).sum() / 2
            loss = loss + 0.05 * ((clip - centres[..., None]).abs() * seen).sum(-1).mean() / 2
        return loss


class Excite(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        inner = max(width // 16, 4)
        self.fc = nn.Sequential(
            nn.Linear(width, inner, bias=False), nn.ReLU(), nn.Linear(inner, width, bias=False), nn.Sigmoid()
        )

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return rows * self.fc(rows.mean(1))[:, None]


class T2CRBlock(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3))
        self.q, self.k, self.v = (nn.Linear(width, width, bias=False) for _ in range(3))
        self.proj, self.mlp = nn.Linear(width, width), mlp(width, 4 * width, width, activation=nn.GELU)

    def forward(self, mine: torch.Tensor, theirs: torch.Tensor) -> torch.Tensor:
        asked = self.norms[1](theirs)
        q, k, v = (
            layer(rows).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for layer, rows in ((self.q, self.norms[0](mine)), (self.k, asked), (self.v, asked))
        )
        mixed = (q @ k.transpose(-2, -1) / k.shape[-1] ** 0.5).softmax(-1) @ v
        mine = mine + self.proj(mixed.transpose(1, 2).flatten(2))
        return mine + self.mlp(self.norms[2](mine))


class T2CR(nn.Module):
    def __init__(self, ours: Head, dim: int) -> None:
        super().__init__()
        s = self.settings = ours.settings
        n, w, inner = s.rows, s.width, max(s.rows // 10, 1)
        self.lift = nn.Sequential(
            nn.Conv1d(s.thin, n, 3, padding=1), nn.BatchNorm1d(n), nn.ReLU(), nn.Conv1d(n, n, 3, padding=1), nn.BatchNorm1d(n), nn.ReLU()
        )  # fmt: skip
        self.excite = Excite(dim)
        self.channels = nn.Sequential(nn.Linear(n, inner, bias=False), nn.ReLU(), nn.Linear(inner, n, bias=False))
        self.places = nn.Conv1d(2, 1, 3, padding=1)
        self.fc, self.score = mlp(dim, s.hidden, w), nn.Linear(w, 1)
        self.full, self.thin = nn.Conv1d(n, n, 1), nn.Conv1d(n, n, 1)
        self.i, self.k, self.v, self.o = (nn.Linear(w, size) for size in (1, w, w, w))
        self.blocks = nn.ModuleList(T2CRBlock(w, s.heads) for _ in range(s.layers))
        self.layers, self.weigh, self.last = nn.Sequential(mlp(w, s.hidden, w), nn.ReLU()), Excite(w), nn.Linear(w, 1)

    def view(self, rows: torch.Tensor) -> torch.Tensor:
        excited = self.excite(rows)
        by_row = torch.sigmoid(self.channels(excited.amax(-1)) + self.channels(excited.mean(-1)))
        weighed = excited * by_row[..., None]
        seen = torch.cat([weighed.amax(1, keepdim=True), weighed.mean(1, keepdim=True)], 1)
        return torch.relu(self.fc(weighed * torch.sigmoid(self.places(seen)) + excited))

    def separable(self, rows: torch.Tensor) -> torch.Tensor:
        context = (self.i(rows).softmax(1) * self.k(rows)).sum(1, keepdim=True)
        return rows + self.o(self.v(rows) * context)

    def compare(self, mine: torch.Tensor, theirs: torch.Tensor) -> torch.Tensor:
        mine, theirs = self.separable(mine), self.separable(theirs)
        for block in self.blocks:
            mine = block(mine, theirs)
        return mine

    def regress(self, rows: torch.Tensor) -> torch.Tensor:
        return self.last(self.weigh(self.layers(rows))).mean(1)[:, 0]

    def forward(self, batch: Batch) -> torch.Tensor:
        other, which, better = pairs_of(batch)
        s, true = self.settings, (batch.target01, other.target01[which])
        clips = window(torch.cat([batch.clips, other.clips[which]]), s.rows)
        full, thin = self.view(clips), self.view(self.lift(clips[:, :: s.rows // s.thin]))
        one, two = self.full(full), self.thin(thin)
        halves = [torch.cat(pair, 1) for pair in zip(one.chunk(2), two.chunk(2))]
        relative = self.regress(self.compare(*halves)), self.regress(self.compare(*halves[::-1]))
        loss = F.mse_loss(relative[0], better) + F.mse_loss(relative[1], -better)
        for mine, theirs in zip(full.chunk(2), thin.chunk(2)):
            rows = F.normalize(torch.cat([mine.mean(1), theirs.mean(1)]), dim=-1)
            logits = (rows @ rows.T / 0.1).masked_fill(torch.eye(len(rows), dtype=torch.bool), -torch.inf)
            loss = loss + F.mse_loss(mine, theirs) + F.cross_entropy(logits, torch.arange(len(rows)).roll(len(mine)))
        for values in (self.regress(full), self.regress(thin), *(self.score(v).mean(1)[:, 0] for v in (full, thin))):
            loss = loss + sum(F.mse_loss(part, target) for part, target in zip(values.chunk(2), true))
        for part in self.regress(self.compare(one, two)).chunk(2):
            loss = loss + 10 * part.square().mean()
        return loss
