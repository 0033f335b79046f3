"""PCLN: scores are learnt together with differences of pairs of a batch (Li et al., Pairwise Contrastive Learning Network for Action Quality
Assessment, ECCV 2022, section 3).

    encoder   (rows, dim) -> width -> pooled by 2 -> 2 width -> pooled by 2, by linear layers on each row: (2 width, rows / 4)
    score     flattened - hidden - hidden / 2 - 1, sigmoid
    pair      both maps -> width, the matrix of their products over time, (width, width), read as (2 width, width / 8, 4) -> 1x1 convolution to 32, pooled -> 8, pooled
              -> 32 - 8 - 1, sigmoid: the absolute difference d of the scores
    loss      MSE(score) + MSE(d, difference of labels) + MSE(difference of scores, d), over all pairs of the batch; a tested video is scored alone

hqu-cst-mmc/PCLN, followed here, reads 160 frames of ResNet. The store's clips take their place, stretched to as many rows on straight lines between them: each row is then
no frame but a point between clips, and later papers with cached clips cannot have had more. The scores are of labels on the scale 0 to 1, as published. Deviations:
- Numbers of the published code prove the pair branch and the losses. Encoder and score branch follow what the code says of them, and their weights are imported; no numbers prove them. Its encoder
  carries a copy of the score branch that nothing reads, which is left out.
- Its dropout drops whole rows, and so does this one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from longtake.train.errors import SettingsError, require_at_least
from longtake.train.heads.base import Batch, Head, HeadOutput, Source
from longtake.train.heads.blocks.resample import resample
from longtake.train.heads.published import size


@dataclass(frozen=True)
class PCLNSettings:
    width: int = 256
    hidden: int = 4096
    rows: int = 160
    dropout: float = 0.3
    pair_weight: float = 1.0
    """Of the squared error of the pairs' differences."""
    consistency_weight: float = 1.0
    """Of the squared distance of both branches."""

    def __post_init__(self) -> None:
        require_at_least(self, hidden=2, rows=4)
        if self.width % 8:
            raise SettingsError(f"width must be a multiple of 8, got {self.width}")


class PairBranch(nn.Module):
    """How far the scores of two videos are apart. By position the rows of its matrix of products mean nothing; it is what the published code does."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.conv1d = nn.Linear(2 * width, width)
        self.conv2d_1, self.conv2d_2 = nn.Conv2d(2 * width, 32, 1), nn.Conv2d(32, 8, 1)
        self.pool = nn.MaxPool2d(2, ceil_mode=True)
        self.fc_1, self.fc_2, self.fc_3 = nn.Linear(8 * -(-width // 32), 32), nn.Linear(32, 8), nn.Linear(8, 1)

    def forward(self, encoded: torch.Tensor, one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        """`(batch, steps, 2 * width)` and which videos are pairs, int64 `(pairs,)` twice -> `(pairs,)`."""
        maps, half = self.conv1d(encoded), self.width // 2
        # The matrix of products is never made. Read as (2 width, width / 2), its row 2 i + e is half e of its row i, so that the convolution over rows
        # can go through the one video before both are multiplied: 14 times fewer operations.
        kernel = self.conv2d_1.weight.flatten(1).unflatten(1, (self.width, 2))
        mine = torch.einsum("bti,oie->bote", maps, kernel).flatten(2)
        theirs = maps.unflatten(-1, (2, half)).flatten(1, 2)
        found = mine[one] @ theirs[other] + self.conv2d_1.bias[:, None]
        found = found.unflatten(-1, (self.width // 8, 4))
        found = self.pool(self.conv2d_2(self.pool(found))).flatten(1)
        found = torch.relu(self.fc_2(torch.relu(self.fc_1(found))))
        return torch.sigmoid(self.fc_3(found)[:, 0].float())


def pairs_of(count: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Every pair of a batch once."""
    one, other = torch.triu_indices(count, count, 1, device=device)
    return one, other


class PCLN(Head):
    """PCLN: scores, learnt together with the differences of all pairs of a batch."""

    SOURCE = Source("Li et al., PCLN, ECCV 2022", 2022, "hqu-cst-mmc/PCLN", ("pcln_pair",))
    Settings = PCLNSettings
    KEY_MAP = {
        "encoder_backbone.conv1.": "first.",
        "encoder_backbone.conv2.": "second.",
        **{f"encoder_backbone.fc{number}.": None for number in (1, 2, 3)},
        **{f"mlp.fc{number}.": f"score.{2 * number - 2}." for number in (1, 2, 3)},
        **{name: f"pair.{name}" for name in ("conv1d.", "conv2d_1.", "conv2d_2.", "fc_1.", "fc_2.", "fc_3.")},
    }

    @classmethod
    def settings_in(cls, state: Mapping[str, torch.Tensor]) -> dict[str, object]:
        width, inputs = size(state, "first.weight"), size(state, "score.0.weight", 1)
        rows = 4 * (inputs // (2 * width)) if width and inputs else None
        return {"width": width, "hidden": size(state, "score.0.weight"), "rows": rows}

    def build(self, dim: int, audio_dim: int) -> None:
        s = self.settings
        self.first, self.second = nn.Linear(dim, s.width), nn.Linear(s.width, 2 * s.width)
        # On (batch, rows, width) it drops rows.
        self.dropout = nn.Dropout1d(s.dropout)
        self.score = nn.Sequential(
            nn.Linear(2 * s.width * (s.rows // 4), s.hidden), nn.ReLU(), nn.Linear(s.hidden, s.hidden // 2), nn.ReLU(),
            nn.Linear(s.hidden // 2, 1),
        )  # fmt: skip
        self.pair = PairBranch(s.width)

    def encode(self, batch: Batch) -> torch.Tensor:
        """`(batch, rows / 4, 2 * width)`, not below 0."""
        rows = resample(batch.clips, batch.mask, self.settings.rows)
        found = _pool(torch.relu(self.dropout(self.first(rows))))
        return _pool(torch.relu(self.dropout(self.second(found))))

    def forward(self, batch: Batch) -> HeadOutput:
        encoded = self.encode(batch)
        score01 = torch.sigmoid(self.score(encoded.transpose(1, 2).flatten(1))[:, 0].float())
        losses = self.losses(encoded, score01, batch.target01) if self.training and len(score01) > 1 else {}
        return HeadOutput(score01, losses=losses)

    def losses(self, encoded: torch.Tensor, score01: torch.Tensor, target01: torch.Tensor) -> dict[str, torch.Tensor]:
        """Of all pairs, in addition to the squared error of the scores."""
        s = self.settings
        one, other = pairs_of(len(score01), score01.device)
        apart = self.pair(encoded, one, other)
        true, own = ((values[one] - values[other]).abs() for values in (target01, score01))
        return {
            "pairs": s.pair_weight * F.mse_loss(apart, true),
            "consistency": s.consistency_weight * F.mse_loss(own, apart),
        }


def _pool(values: torch.Tensor) -> torch.Tensor:
    """The larger of every two rows."""
    return F.max_pool1d(values.transpose(1, 2), 2).transpose(1, 2)
