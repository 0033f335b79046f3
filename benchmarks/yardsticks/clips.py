"""Published modules that read the clips of one video."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from longtake.train.heads.base import Batch, Head
from longtake.train.heads.usdl import gaussian_labels
from yardsticks.layers import convolutions, mlp, window


class GDLT(nn.Module):
    def __init__(self, ours: Head, dim: int) -> None:
        super().__init__()
        s = ours.settings
        self.in_proj = convolutions(dim, dim // 2, s.width, ends=False)
        kinds = nn.TransformerEncoderLayer, nn.TransformerDecoderLayer
        encode, decode = (kind(s.width, s.heads, 3 * s.width, s.dropout, batch_first=True) for kind in kinds)
        self.encoder = nn.TransformerEncoder(
            encode, s.encoder_layers, nn.LayerNorm(s.width), enable_nested_tensor=False
        )
        self.decoder = nn.TransformerDecoder(decode, s.decoder_layers, nn.LayerNorm(s.width))
        self.prototype = nn.Embedding(s.grades, s.width)
        self.regressor = nn.Linear(s.width, s.grades)
        self.register_buffer("values", torch.linspace(0, 1, s.grades))

    def patterns(self, batch: Batch) -> torch.Tensor:
        clips = self.encoder(self.in_proj(batch.clips.transpose(1, 2)).transpose(1, 2))
        return self.decoder(self.prototype.weight[None].expand(len(clips), -1, -1), clips)

    def read(self, regressor: nn.Linear, patterns: torch.Tensor) -> torch.Tensor:
        weights = torch.sigmoid(torch.diagonal(regressor(patterns), dim1=-2, dim2=-1))
        return (weights / weights.sum(-1, keepdim=True)) @ self.values

    def forward(self, batch: Batch) -> torch.Tensor:
        patterns = self.patterns(batch)
        return F.mse_loss(self.read(self.regressor, patterns), batch.target01) + triplet(patterns)


def triplet(patterns: torch.Tensor) -> torch.Tensor:
    """Batch-hard, over the whole matrix of distances."""
    batch, number, _ = patterns.shape
    flat = F.normalize(patterns.flatten(0, 1), dim=-1)
    distance, label = 1 - flat @ flat.T, torch.arange(number).repeat(batch)
    same = label[:, None] == label[None]
    farthest = distance.masked_fill(~same, 0.0).amax(1)
    return F.relu(farthest - distance.masked_fill(same, torch.inf).amin(1) + 1).mean()


class CoFInAl(GDLT):
    def __init__(self, ours: Head, dim: int) -> None:
        super().__init__(ours, dim)
        s = ours.settings
        self.regressor_revert = nn.Linear(s.width, s.grades)
        self.attention = nn.MultiheadAttention(s.width, 4)
        self.fine = nn.Sequential(nn.Linear(s.grades * s.width, s.width), nn.Linear(s.width, 100))
        self.register_buffer("frame", torch.eye(100))

    def forward(self, batch: Batch) -> torch.Tensor:
        patterns = self.patterns(batch)
        coarse, reverted = (self.read(one, patterns) for one in (self.regressor, self.regressor_revert))
        fine = F.normalize(self.fine(self.attention(patterns, patterns, patterns)[0].flatten(1)), dim=-1)
        whole = torch.trunc(batch.target01 * 10_000)
        number, which = torch.div(whole, 100, rounding_mode="floor") / 100, whole.long() % 100
        loss = F.mse_loss(coarse, number) + F.mse_loss(reverted, 1 - number)
        return loss + F.l1_loss(fine, self.frame[:, which].T) + triplet(patterns)


class SkipCell(nn.Module):
    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.cell = nn.LSTMCell(inputs, hidden)
        self.update = nn.Linear(hidden, 1)
        self.hidden = hidden

    def forward(self, steps: torch.Tensor) -> torch.Tensor:
        """`(batch, steps, inputs)` -> the last state."""
        h, c = torch.randn(2, len(steps), self.hidden)
        u, total = steps.new_ones(len(steps), 1), steps.new_zeros(len(steps), 1)
        for step in steps.unbind(1):
            new_h, new_c = self.cell(step, (h, c))
            total = total + torch.min(u, 1 - total)
            gate = torch.round(total)
            h, c = gate * new_h + (1 - gate) * h, gate * new_c + (1 - gate) * c
            u = gate * torch.sigmoid(self.update(new_c)) + (1 - gate) * u
            total = (1 - gate) * total
        return h


class MSLSTM(nn.Module):
    def __init__(self, ours: Head, dim: int) -> None:
        super().__init__()
        s = ours.settings
        self.front = nn.Sequential(nn.Conv1d(dim, s.width, 1), nn.ReLU(), nn.BatchNorm1d(s.width))
        self.attn = nn.Sequential(
            nn.Linear(s.width, s.attention, bias=False), nn.Tanh(), nn.Linear(s.attention, s.descriptors, bias=False)
        )
        self.norm, self.lstm = nn.BatchNorm1d(s.width), nn.LSTM(s.width, s.hidden, batch_first=True)
        self.convs = nn.ModuleList(
            nn.Sequential(nn.Conv1d(s.width, s.filters, k, k // 2), nn.ReLU(), nn.BatchNorm1d(s.filters))
            for k in (2, 4, 8)
        )
        self.cells = nn.ModuleList(SkipCell(s.filters, s.hidden) for _ in range(3))
        self.branches = nn.ModuleList(nn.Linear(s.hidden, s.last) for _ in range(4))
        self.merge, self.score = nn.Linear(4 * s.last, s.last), nn.Linear(s.last, 1)

    def forward(self, batch: Batch) -> torch.Tensor:
        clips = self.front(batch.clips.transpose(1, 2))
        looks = self.attn(clips.transpose(1, 2)).softmax(1).transpose(1, 2)
        alike = looks @ looks.transpose(1, 2) - torch.eye(looks.shape[1])
        found = self.norm((looks @ clips.transpose(1, 2)).transpose(1, 2)).transpose(1, 2)
        states = [self.lstm(found)[0][:, -1]]
        states += [cell(conv(clips).transpose(1, 2)) for cell, conv in zip(self.cells, self.convs)]
        parts = [torch.relu(branch(state)) for branch, state in zip(self.branches, states)]
        score = self.score(torch.relu(self.merge(torch.cat(parts, 1))))[:, 0]
        return F.mse_loss(score, batch.target01) + alike.square().sum() / len(alike)


class Adaptive(nn.Module):
    def __init__(self, inputs: int, width: int, nodes: int, groups: int) -> None:
        super().__init__()
        self.q, self.k = (nn.Conv1d(inputs, width, 1, groups=groups, bias=False) for _ in range(2))
        self.alpha, self.C = nn.Parameter(torch.ones(1, 1)), nn.Parameter(torch.eye(nodes))
        self.width = width

    def forward(self, nodes: torch.Tensor) -> torch.Tensor:
        return self.alpha * self.q(nodes).transpose(1, 2) @ self.k(nodes) / self.width**0.5 + self.C


class HGCN(nn.Module):
    def __init__(self, ours: Head, dim: int) -> None:
        super().__init__()
        s = ours.settings
        n, w, g = s.clips, s.width, s.groups
        place = torch.arange(n)
        apart = (place[:, None] - place[None]).abs()
        self.register_buffer("near", (apart < 2).float())
        self.register_buffer("band", (apart < s.neighbours).float())
        self.register_buffer("lower", torch.ones(s.scenes, s.scenes).tril())
        self.state, self.shot = nn.Conv1d(dim, dim // s.factor, 1, groups=g), nn.Conv1d(dim, w, 1, groups=g)
        self.scene_graph, self.scene = Adaptive(w, w // 4, n, g), nn.Conv1d(w, w // 2, 1, groups=g)
        self.trans_graph, self.trans = Adaptive(w, w // 4, n, 1), nn.Conv1d(w, s.scenes, 1)
        self.S, self.alpha = nn.Parameter(torch.ones(s.scenes, n)), nn.Parameter(torch.ones(1, 1))
        self.action_graph, self.action = (
            Adaptive(w // 2, w // 8, s.scenes, g),
            nn.Conv1d(w // 2, w // 4, 1, groups=g),
        )
        self.mean, self.log_variance = nn.Conv1d(w // 4, 1, 1), nn.Conv1d(w // 4, 1, 1)

    def forward(self, batch: Batch) -> torch.Tensor:
        clips = window(batch.clips, len(self.band)).transpose(1, 2)
        m = torch.relu(self.state(clips))
        pairs = torch.tanh(m[..., :, None] - m[..., None, :]).mean(1) + torch.eye(len(self.near))
        shots = torch.relu(self.shot(clips @ (pairs * self.near)))
        graph = (self.band + self.scene_graph(shots)).softmax(-1)
        scenes = torch.relu(self.scene(shots @ graph))
        graph = (self.band + self.trans_graph(shots)).softmax(-1)
        scenes = scenes @ (self.S + self.alpha * torch.relu(self.trans(shots @ graph))).transpose(1, 2)
        graph = (self.lower * self.action_graph(scenes)).softmax(-1)
        action = torch.relu(self.action(scenes @ graph))
        mean, deviation = self.mean(action), (0.5 * self.log_variance(action)).exp()
        score = (mean + deviation * torch.randn_like(mean)).mean(-1)[:, 0] * mean.shape[-1]
        return F.mse_loss(score, batch.target01)


class QTDLayer(nn.Module):
    def __init__(self, width: int, heads: int, inner: int, p: float) -> None:
        super().__init__()
        self.among, self.cross = (nn.MultiheadAttention(width, heads, dropout=p) for _ in range(2))
        self.linear1, self.linear2 = nn.Linear(width, inner), nn.Linear(inner, width)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3))
        self.drops = nn.ModuleList(nn.Dropout(p) for _ in range(4))

    def forward(
        self, queries: torch.Tensor, places: torch.Tensor, clips: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        normed = self.norms[0](queries)
        among = self.among(normed + places, normed + places, normed)[0]
        queries = among + self.drops[0](among)
        found = self.cross(self.norms[1](queries) + places, clips, clips)[0]
        queries = queries + self.drops[1](found)
        inner = self.linear2(self.drops[2](torch.relu(self.linear1(self.norms[2](queries)))))
        return queries + self.drops[3](inner), among, found


class QTD(nn.Module):
    def __init__(self, ours: Head, dim: int) -> None:
        super().__init__()
        s = ours.settings
        self.embedding, self.std = nn.Embedding(s.queries, dim), s.query_std
        self.layers = nn.ModuleList(QTDLayer(dim, s.heads, s.feed_forward, s.dropout) for _ in range(s.layers))
        self.norm = nn.LayerNorm(dim)
        self.score, self.weight = (mlp(dim, s.hidden, s.hidden // 2, 1) for _ in range(2))
        self.register_buffer("table", torch.randn(s.queries, 1, dim))

    def forward(self, batch: Batch) -> torch.Tensor:
        clips = batch.clips.transpose(0, 1)
        queries = self.embedding.weight[:, None].repeat(1, clips.shape[1], 1)
        places = (queries[:, :1] + self.table).repeat(1, clips.shape[1], 1)
        loss = torch.zeros(())
        for layer in self.layers:
            queries, *seen = layer(queries, places, clips)
            one, other = (rows.transpose(0, 1) for rows in seen)
            alike = [rows @ rows.transpose(1, 2) / rows.shape[-1] for rows in (one, other)]
            loss = loss + F.kl_div(alike[0].log_softmax(-1), alike[1].softmax(-1), reduction="sum")
        queries = self.norm(queries).transpose(0, 1)
        score = (self.weight(queries).softmax(1) * self.score(queries)).sum((1, 2))
        return loss + F.mse_loss(score, batch.target01)


class USDL(nn.Module):
    """And MUSDL, of as many judges."""

    def __init__(self, ours: Head, dim: int) -> None:
        super().__init__()
        s = self.settings = ours.settings
        self.judges = len(getattr(s, "columns", ()))
        self.paths = nn.ModuleList(mlp(dim, s.width, s.width // 2, s.bins) for _ in range(self.judges or 1))

    def forward(self, batch: Batch) -> torch.Tensor:
        features, s = batch.clips.mean(1), self.settings
        loss = torch.zeros(())
        for index, path in enumerate(self.paths):
            target = batch.scores[:, index + 1] / 10 if self.judges else batch.target01
            label = gaussian_labels(target, s.bins, s.sigma)
            loss = loss + F.kl_div(path(features).softmax(-1).log(), label, reduction="sum") / label.numel()
        return loss


class C3DLSTM(nn.Module):
    def __init__(self, ours: Head, dim: int) -> None:
        super().__init__()
        self.rnn = nn.LSTM(dim, ours.settings.width, batch_first=True)
        self.score = nn.Linear(ours.settings.width, 1)

    def forward(self, batch: Batch) -> torch.Tensor:
        return F.mse_loss(self.score(self.rnn(batch.clips)[0][:, -1])[:, 0], batch.target01)
