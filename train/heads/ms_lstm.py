"""MS-LSTM: attention over the whole video, and LSTMs that skip at three scales of time (Xu et al., Learning to Score Figure Skating Sport
Videos, TCSVT 2019, sections 4.2 and 4.3).

    front    (batch, clips, 128)    linear, ReLU, batch norm
    S-LSTM   A = softmax over time of W2 tanh(W1 x), 50 descriptors A x, batch norm, LSTM 256; |A A' - I|^2 is a penalty
    M-LSTM   convolutions of 2, 4 and 8 clips at half their step, ReLU, batch norm, an LSTM of 256 each that may skip steps
    score    the four last states to 64 each, side by side, to 64, to 1

A skip LSTM (Campos et al., Skip RNN, ICLR 2018) adds up what its states say, u = sigmoid(w c + b), and takes a step when the sum rounds to 1.
chmxu/MS_LSTM, for C3D of 4096 values, 3,054,724 parameters; the two scores of a skater have a model each, of labels as they are.

Deviations: the published code rounds without a gradient, so that w and b never learn, and starts skip LSTMs from noise, in tests too. Here the
gradient passes straight through the rounding, as in Skip RNN, and the first states are zero; `published_defects` restores both. Convolutions
end within the video; a shorter one is filled with zeros, so that there are two windows at each scale, from 12 clips without any. The published code
needs 8 clips for one window; with `windows=1`, which imports take, and with `published_defects` so many are enough.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence

from longtake.train.errors import require_at_least
from longtake.train.heads.base import Batch, Head, HeadOutput, Needs, Source
from longtake.train.heads.blocks.packing import Places
from longtake.train.heads.blocks.units import UnitSettings
from longtake.train.heads.published import WithDefects, size

SCALES = (2, 4, 8)
"""Clips of a convolution; its step is half of them."""


@dataclass(frozen=True)
class MSLSTMSettings(UnitSettings, WithDefects):
    width: int = 128
    """Of clips after the front."""
    attention: int = 64
    descriptors: int = 50
    filters: int = 256
    """Of each convolution."""
    hidden: int = 256
    """Of each LSTM."""
    last: int = 64
    """What each of the four branches gives, and what they are merged into."""
    windows: int = 2
    """Fewest of a video at each scale; a video that has not so many is filled with zeros. Published: 1."""
    penalty_weight: float = 1.0
    """Of descriptors that look at the same clips; of squared errors in judges' units."""

    def __post_init__(self) -> None:
        require_at_least(self, width=1, attention=1, descriptors=1, filters=1, hidden=1, last=1, windows=1)


class SkipLSTM(nn.Module):
    """An LSTM that keeps its state where the sum of its updates rounds to 0. Names of weights are the published ones."""

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.weight_ih, self.weight_hh = (nn.Parameter(torch.empty(4 * hidden, n)) for n in (inputs, hidden))
        self.bias_ih, self.bias_hh = (nn.Parameter(torch.zeros(4 * hidden)) for _ in range(2))
        self.weight_uh, self.bias_uh = nn.Parameter(torch.empty(1, hidden)), nn.Parameter(torch.ones(1))
        for weight in (self.weight_ih, self.weight_hh, self.weight_uh):
            nn.init.xavier_uniform_(weight)

    def forward(
        self, steps: PackedSequence, defects: bool, first: tuple[torch.Tensor, torch.Tensor] | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Packed steps `(n, inputs)` -> last states `(batch, hidden)`, and which steps were taken, `(batch, steps)`, False after a video's end.
        `defects` takes rounding as it is, without a gradient. `first`: cells and states to begin with, zeros where there are none."""
        # All steps at once as far as they do not depend on each other.
        given = F.linear(steps.data, self.weight_ih, self.bias_ih + self.bias_hh)
        sizes = steps.batch_sizes.tolist()
        cell, state = first or (given.new_zeros(sizes[0], self.weight_hh.shape[1]),) * 2
        update, total = given.new_ones(sizes[0], 1), given.new_zeros(sizes[0], 1)
        ended, taken = [], []
        for inputs in given.split(sizes):
            number = len(inputs)
            if number < len(state):
                # Videos come by length, the longest first.
                ended.append(state[number:])
                cell, state, update, total = (values[:number] for values in (cell, state, update, total))
            gates = inputs + state @ self.weight_hh.T
            into, forget, change, out = gates.chunk(4, 1)
            new_cell = torch.sigmoid(forget) * cell + torch.sigmoid(into) * torch.tanh(change)
            new_state = torch.sigmoid(out) * torch.tanh(new_cell)
            total = total + torch.minimum(update, 1 - total)
            gate = torch.round(total)
            if not defects:
                gate = gate + total - total.detach()
            cell, state = gate * new_cell + (1 - gate) * cell, gate * new_state + (1 - gate) * state
            said = torch.sigmoid(F.linear(new_cell, self.weight_uh, self.bias_uh))
            update, total = gate * said + (1 - gate) * update, (1 - gate) * total
            taken.append(F.pad(gate.detach()[:, 0] > 0.5, (0, sizes[0] - number)))
        order = steps.unsorted_indices
        return torch.cat([state, *reversed(ended)])[order], torch.stack(taken, 1)[order]


class Scale(nn.Module):
    """One branch of M-LSTM: `(batch, clips, width)`, zero where the mask is False, -> as `SkipLSTM`."""

    def __init__(self, width: int, clips: int, filters: int, hidden: int) -> None:
        super().__init__()
        self.convolution = nn.Conv1d(width, filters, clips, clips // 2)
        self.norm = nn.BatchNorm1d(filters)
        self.lstm = SkipLSTM(filters, hidden)

    def forward(
        self, values: torch.Tensor, lengths: torch.Tensor, defects: bool, windows: int = 2
    ) -> tuple[torch.Tensor, torch.Tensor]:
        clips, step = self.convolution.kernel_size[0], self.convolution.stride[0]
        # A batch norm cannot learn from the one window of a single video.
        fewest = 1 if defects else windows
        if self.training and len(values) == 1:
            fewest = max(fewest, 2)
        values = F.pad(values, (0, 0, 0, max(clips + (fewest - 1) * step - values.shape[1], 0)))
        found = torch.relu(self.convolution(values.transpose(1, 2))).transpose(1, 2)
        counts = (torch.div(lengths - clips, step, rounding_mode="floor") + 1).clamp(min=fewest)
        places = Places.of(torch.arange(found.shape[1], device=found.device)[None] < counts[:, None])
        found = places.unpack(self.norm(places.pack(found)))
        steps = pack_padded_sequence(found, counts.cpu(), batch_first=True, enforce_sorted=False)
        first = None
        if defects:
            noise = torch.randn(2, len(found), self.lstm.weight_hh.shape[1], device=found.device, dtype=found.dtype)
            first = (noise[0][steps.sorted_indices], noise[1][steps.sorted_indices])
        return self.lstm(steps, defects, first)


class Descriptors(nn.Module):
    """S-LSTM's attention (section 4.2): clips `(batch, clips, width)` and their mask -> descriptors `(batch, descriptors, width)` and the mean
    over videos of `|A A' - I|^2`."""

    def __init__(self, width: int, attention: int, descriptors: int) -> None:
        super().__init__()
        self.linear_1, self.linear_2 = (
            nn.Linear(width, attention, bias=False),
            nn.Linear(attention, descriptors, bias=False),
        )
        self.bn = nn.BatchNorm1d(width)

    def forward(self, values: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        logits = self.linear_2(torch.tanh(self.linear_1(values))).float().transpose(1, 2)
        looks = logits.masked_fill(~mask[:, None], -torch.inf).softmax(-1)
        alike = looks @ looks.transpose(1, 2) - torch.eye(looks.shape[1], device=looks.device)
        found = (looks.to(values.dtype) @ values).flatten(0, 1)
        return self.bn(found).unflatten(0, looks.shape[:2]), alike.square().sum() / len(alike)


class MSLSTM(Head):
    """MS-LSTM: an LSTM over descriptors of the whole video, and LSTMs that skip steps at three scales of time."""

    SOURCE = Source(
        "Xu et al., Learning to Score Figure Skating Sport Videos, TCSVT 2019", 2019, "chmxu/MS_LSTM",
        ("ms_lstm", "ms_lstm_zero_state"),
    )  # fmt: skip
    Settings = MSLSTMSettings
    KEY_MAP = {
        "conv.0.": "front.",
        "conv.2.": "norm.",
        "attn.": "descriptors.",
        "linear_attn.": "branches.0.",
        "linear_merge.": "merge.",
        "cls.": "score.",
        **{
            f"scale{number}.{theirs}": f"scales.{number - 1}.{ours}"
            for number in (1, 2, 3)
            for theirs, ours in {
                "conv.0.": "convolution.",
                "conv.2.": "norm.",
                **{f"lstm.{name}.0": f"lstm.{name}" for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")},
                "lstm.": "lstm.",
            }.items()
        },
        **{f"linear_skip{number}.": f"branches.{number}." for number in (1, 2, 3)},
    }

    @classmethod
    def needs(cls, settings: MSLSTMSettings) -> Needs:
        return Needs(sees_padding=settings.sees_padding)

    @classmethod
    def settings_in(cls, state: Mapping[str, torch.Tensor]) -> dict[str, object]:
        layers = {
            "width": "front.weight", "attention": "descriptors.linear_1.weight", "descriptors": "descriptors.linear_2.weight",
            "filters": "scales.0.convolution.weight", "last": "merge.weight",
        }  # fmt: skip
        found = {setting: size(state, name) for setting, name in layers.items()}
        return {**found, "hidden": size(state, "lstm.weight_hh_l0", 1), "judges_units": True, "windows": 1}

    def build(self, dim: int, audio_dim: int) -> None:
        s = self.settings
        self.front, self.norm = nn.Linear(dim, s.width), nn.BatchNorm1d(s.width)
        self.descriptors = Descriptors(s.width, s.attention, s.descriptors)
        self.lstm = nn.LSTM(s.width, s.hidden, batch_first=True)
        self.scales = nn.ModuleList(Scale(s.width, clips, s.filters, s.hidden) for clips in SCALES)
        self.branches = nn.ModuleList(nn.Linear(s.hidden, s.last) for _ in range(1 + len(SCALES)))
        self.merge, self.score = nn.Linear(s.last * len(self.branches), s.last), nn.Linear(s.last, 1)

    def clips(self, batch: Batch, mask: torch.Tensor) -> torch.Tensor:
        """`(batch, clips, width)`, zero where there is none."""
        places = Places.of(mask)
        return places.unpack(self.norm(torch.relu(self.front(places.pack(batch.clips)))))

    def forward(self, batch: Batch) -> HeadOutput:
        s, mask = self.settings, self.mask(batch)
        clips, lengths = self.clips(batch, mask), mask.sum(1)
        descriptors, penalty = self.descriptors(clips, mask)
        _, (last, _) = self.lstm(descriptors)
        states = [last[0], *(scale(clips, lengths, s.published_defects, s.windows)[0] for scale in self.scales)]
        parts = [torch.relu(branch(state)) for branch, state in zip(self.branches, states)]
        merged = torch.relu(self.merge(torch.cat([*parts[1:], parts[0]], -1)))
        losses = {}
        if self.training and s.penalty_weight:
            # The penalty is weighed against errors in judges' units; those of the loop are on the scale 0 to 1.
            losses["penalty"] = s.penalty_weight * penalty / (s.score_maximum - s.score_minimum) ** 2
        return HeadOutput(s.to01(self.score(merged)[:, 0]), losses=losses)
