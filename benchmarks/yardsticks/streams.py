"""Published modules that read several streams."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from longtake.train.heads.base import Batch, Head
from yardsticks.layers import convolutions, mlp


class ActionNetStream(nn.Module):
    def __init__(self, dim: int, width: int, attention: int) -> None:
        super().__init__()
        self.embed = nn.Sequential(nn.Linear(dim, dim // 2), nn.ReLU(), nn.Linear(dim // 2, width), nn.ReLU())
        self.graphs = nn.ModuleList(nn.Linear(width, width) for _ in range(2))
        self.att = mlp(2 * width, attention, 1)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        place = torch.arange(rows.shape[1])
        near = torch.exp(-(place[:, None] - place[None]).abs().float())
        root = near.sum(1) ** -0.5
        found = graph = self.embed(rows)
        for layer in self.graphs:
            graph = torch.relu(layer(root[:, None] * near * root @ graph))
        joined = torch.cat([found, graph], -1)
        return (self.att(joined).softmax(1) * joined).sum(1)


class ActionNet(nn.Module):
    def __init__(self, ours: Head, dim: int, other: int) -> None:
        super().__init__()
        s = ours.settings
        self.dynamic, self.static = (ActionNetStream(one, s.width, s.attention) for one in (dim, other))
        self.fc = nn.Sequential(nn.Linear(4 * s.width, s.last), nn.ReLU(), nn.Dropout(s.dropout), nn.Linear(s.last, 1))

    def forward(self, batch: Batch) -> torch.Tensor:
        both = torch.cat([self.dynamic(batch.clips), self.static(batch.audio)], -1)
        return F.mse_loss(torch.sigmoid(self.fc(both))[:, 0], batch.target01)


class SkatingMixer(nn.Module):
    def __init__(self, ours: Head, dim: int, audio_dim: int) -> None:
        super().__init__()
        s, tokens = ours.settings, ours.settings.tokens + 3
        self.embed, self.embed_audio = nn.Linear(dim, s.width), nn.Linear(audio_dim, s.width)
        self.memory, self.question = (nn.Parameter(torch.randn(1, s.width)) for _ in range(2))
        self.norms = nn.ModuleList(nn.LayerNorm(s.width) for _ in range(2 * s.layers))
        self.over_tokens = nn.ModuleList(
            nn.Sequential(nn.Conv1d(tokens, 4 * tokens, 1), nn.GELU(), nn.Conv1d(4 * tokens, tokens, 1))
            for _ in range(s.layers)
        )
        self.over_width = nn.ModuleList(mlp(s.width, 4 * s.width, s.width, activation=nn.GELU) for _ in range(s.layers))
        self.answer, self.output = nn.Linear(s.width, s.width), nn.Linear(s.width, 1)

    def walk(self, tokens: torch.Tensor, ahead: bool) -> torch.Tensor:
        memory, question = (one[None].expand(len(tokens), -1, -1) for one in (self.memory, self.question))
        said = []
        for step in tokens.unbind(1):
            mixed = torch.cat([memory, step, question] if ahead else [question, step, memory], 1)
            for index, (over_tokens, over_width) in enumerate(zip(self.over_tokens, self.over_width)):
                mixed = mixed + over_tokens(self.norms[2 * index](mixed))
                mixed = mixed + over_width(self.norms[2 * index + 1](mixed))
            first, last = mixed[:, :1], mixed[:, -1:]
            memory = first if ahead else last
            said.append(self.answer(last if ahead else first))
        return torch.cat(said, 1)

    def forward(self, batch: Batch) -> torch.Tensor:
        tokens = torch.stack([self.embed_audio(batch.audio), self.embed(batch.clips)], 2)
        both = self.walk(tokens, True).mean(1) + self.walk(tokens.flip(1), False).mean(1)
        return F.mse_loss(self.output(both / 2)[:, 0], batch.target01)


class Pair(nn.Module):
    """Twice a convolution over three steps, batch norm and activation."""

    def __init__(self, inputs: int, width: int, activation: type[nn.Module]) -> None:
        super().__init__()
        sizes = ((inputs, width), (width, width))
        self.layers = nn.Sequential(
            *(
                layer
                for one, two in sizes
                for layer in (nn.Conv1d(one, two, 3, padding=1), nn.BatchNorm1d(two), activation())
            )
        )

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return self.layers(values)


class Negative(nn.Module):
    """What a step is unlike, of n choices: `(batch, width, steps)` and n of them."""

    def __init__(self, width: int, heads: int, p: float) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.heads, self.drop = heads, nn.Dropout(p)

    def forward(
        self, query: torch.Tensor, choices: list[torch.Tensor], allowed: torch.Tensor | None = None
    ) -> torch.Tensor:
        rows = torch.stack(choices, -1).permute(0, 2, 3, 1)
        asked = self.query(query.transpose(1, 2)[:, :, None]).unflatten(-1, (self.heads, -1)).transpose(2, 3)
        keys, values = (layer(rows).unflatten(-1, (self.heads, -1)).transpose(2, 3) for layer in (self.key, self.value))
        logits = -asked @ keys.transpose(-1, -2) / keys.shape[-1] ** 0.5
        logits = logits if allowed is None else logits + allowed[:, :, None, None]
        return (self.drop(logits.softmax(-1)) @ values).flatten(2).transpose(1, 2)


class PAMFNBase(nn.Module):
    def __init__(self, dim: int, width: int) -> None:
        super().__init__()
        self.embed = nn.Sequential(convolutions(dim, 512, width), nn.Dropout(0.3))
        self.stages = nn.ModuleList(Pair(width, width, nn.GELU) for _ in range(3))
        self.fc = nn.Sequential(nn.Dropout(0.5), nn.Conv1d(width, 1, 1))

    def forward(self, clips: torch.Tensor) -> list[torch.Tensor]:
        found = [self.embed(clips.transpose(1, 2))]
        for index, stage in enumerate(self.stages):
            mixed = found[-1] + stage(found[-1])
            found.append(F.avg_pool1d(mixed, 2) if index < 2 else mixed.mean(-1, keepdim=True))
        return found


class PAMFNBlock(nn.Module):
    def __init__(self, s: object, last: bool) -> None:
        super().__init__()
        w, self.last = s.width, last
        self.conv, self.short_cut = Pair(3 * w, w, nn.ReLU), convolutions(3 * w, w)
        self.ask, self.ask_fused = nn.Conv1d(w, w, 1), nn.Conv1d(2 * w, w, 1)
        self.specific = Negative(w, s.feature_heads, s.attention_dropout)
        self.cross = Negative(w, s.cross_heads, s.attention_dropout)
        self.shares = nn.ModuleList(nn.Sequential(convolutions(w, w), nn.Conv1d(w, s.fusions, 1)) for _ in range(3))
        self.refine = nn.ModuleList(Pair(w, w, nn.ReLU) for _ in range(s.fusions))
        self.policy = nn.Conv1d(3 * w, s.fusions, 1)

    def pool(self, values: torch.Tensor) -> torch.Tensor:
        return values.mean(-1, keepdim=True) if self.last else F.avg_pool1d(values, 2)

    def forward(
        self, c: torch.Tensor, before: list[torch.Tensor], here: list[torch.Tensor], tau: torch.Tensor
    ) -> torch.Tensor:
        c = self.conv(c) + self.short_cut(c)
        own = self.specific(self.ask(c), here)
        shares = torch.stack([layer(one) for layer, one in zip(self.shares, before)]).softmax(0)
        fused = []
        for index, refine in enumerate(self.refine):
            mixed = sum(share[:, index, None] * one for share, one in zip(shares, before))
            fused.append(self.pool(mixed + refine(mixed)))
        chosen = F.gumbel_softmax(self.pool(self.policy(torch.cat(before, 1))).transpose(1, 2), tau, hard=True)
        later = chosen.cumsum(-1) - chosen
        found = self.cross(
            -self.ask_fused(torch.cat([c, own], 1)), fused, -1e9 * later.detach() + chosen - chosen.detach()
        )
        return torch.cat([c, own, found], 1)


class PAMFN(nn.Module):
    def __init__(self, ours: Head, dim: int, audio_dim: int) -> None:
        super().__init__()
        s = ours.settings
        self.bases = nn.ModuleList(PAMFNBase(one, s.width) for one in (dim, dim, audio_dim))
        self.blocks = nn.ModuleList(PAMFNBlock(s, last=index == 2) for index in range(3))
        self.tau, self.drop = nn.Parameter(torch.tensor(s.temperature)), nn.Dropout(s.feature_dropout)
        inner = s.width // s.reduction
        self.fc = nn.Sequential(convolutions(3 * s.width, inner), nn.Dropout(0.5), nn.Conv1d(inner, 1, 1))

    def forward(self, batch: Batch) -> torch.Tensor:
        given = batch.clips, batch.streams["flow"], batch.audio
        found = [base(one) for base, one in zip(self.bases, given)]
        own = [torch.sigmoid(base.fc(one[-1]))[:, 0, 0] for base, one in zip(self.bases, found)]
        loss = sum(F.mse_loss(one, batch.target01) for one in own)
        scales = [[self.drop(one) for one in of_one] for of_one in found]
        scales[:2] = [[one.detach() for one in of_one] for of_one in scales[:2]]
        c = scales[0][1].new_zeros(len(batch.clips), 3 * scales[0][1].shape[1], scales[0][1].shape[2])
        for index, block in enumerate(self.blocks):
            if index:
                c = block.pool(c)
            c = block(c, [one[index] for one in scales], [one[index + 1] for one in scales], self.tau)
        return loss + F.mse_loss(torch.sigmoid(self.fc(c))[:, 0, 0], batch.target01)
