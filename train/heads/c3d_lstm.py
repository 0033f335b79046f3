"""C3D-LSTM: the last state of an LSTM over clips (Parmar and Morris, Learning to Score Olympic Events, CVPR Workshops 2017, section 3.3).

Clips `(batch, clips, dim)`, an LSTM of 256 from zero, and a linear layer on its state after a video's last clip: any number. ParitoshParmar/C3D-LSTM--PyTorch,
for six clips of C3D's fc6 after its ReLU, 4,458,753 parameters for 4096 values; not checked by its author against the Caffe code of the paper,
which learns the score times i / 9 after clip i of 9.

Deviations: the published code learns scores divided by 100 and by their deviation in the class (`judges_units` with `unit` of a hundred such
deviations); it reads one clip less than it means to, and stops with an error in its fifth epoch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence

from longtake.train.heads.base import Batch, Head, HeadOutput, Needs, Source
from longtake.train.heads.blocks.units import UnitSettings
from longtake.train.heads.published import WithDefects, size


@dataclass(frozen=True)
class C3DLSTMSettings(UnitSettings, WithDefects):
    width: int = 256


class C3DLSTM(Head):
    """C3D-LSTM: a linear layer on the last state of an LSTM over clips."""

    SOURCE = Source(
        "Parmar and Morris, Learning to Score Olympic Events, CVPRW 2017", 2017, "ParitoshParmar/C3D-LSTM--PyTorch",
        ("c3d_lstm",),
    )  # fmt: skip
    Settings = C3DLSTMSettings
    KEY_MAP = {"fc_final_score.": "score."}

    @classmethod
    def needs(cls, settings: C3DLSTMSettings) -> Needs:
        return Needs(sees_padding=settings.sees_padding)

    @classmethod
    def settings_in(cls, state: Mapping[str, torch.Tensor]) -> dict[str, object]:
        return {"width": size(state, "rnn.weight_hh_l0", 1), "judges_units": True}

    def build(self, dim: int, audio_dim: int) -> None:
        self.rnn = nn.LSTM(dim, self.settings.width, batch_first=True)
        self.score = nn.Linear(self.settings.width, 1)

    def forward(self, batch: Batch) -> HeadOutput:
        lengths = self.mask(batch).sum(1).cpu()
        steps = pack_padded_sequence(batch.clips, lengths, batch_first=True, enforce_sorted=False)
        _, (last, _) = self.rnn(steps)
        return HeadOutput(self.settings.to01(self.score(last[0])[:, 0]))
