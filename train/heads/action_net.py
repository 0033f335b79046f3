"""ACTION-NET: what moves and what is held, each in its context (Zeng et al., Hybrid Dynamic-static Context-aware Attention Network for
Action Assessment in Long Videos, ACM Multimedia 2020, sections 3.2 to 3.4).

The dynamic stream reads clips `(batch, clips, dim)`, the static one pictures `(batch, pictures, dim)`: a second stream, such as ResNet-50
of a picture each second. Without a second stream both read the clips. In each stream, with x the embedded features `(n, 256)`:

    A[i, j] = exp(-|i - j|), normalised by the degrees of i and j
    g = ReLU(W2 A ReLU(W1 A x)), z = [x, g], stream = sum of softmax(attention(z)) z over time

and the score is a perceptron with a sigmoid on both streams side by side. Published with 26 clips of I3D and 80 pictures, for Rhythmic
Gymnastics alone: qinghuannn/ACTION-NET. 3,542,787 parameters for 1024 and 2048 values.

Deviations: padding is masked in both streams; the published code pads the pictures with zeros and attends to them. So does
`published_defects`: to those of the batch where pictures have the clock of the clips, else up to so many as `pictures` says.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from longtake.train.errors import require_at_least
from longtake.train.heads.base import Batch, Head, HeadOutput, Needs, Source
from longtake.train.heads.blocks.dropout import Dropout
from longtake.train.heads.blocks.packing import Places
from longtake.train.heads.published import WithDefects, size


@dataclass(frozen=True)
class ActionNetSettings(WithDefects):
    width: int = 256
    """Of a stream's embedding and graph layers."""
    attention: int = 128
    """Width of the attention over time."""
    last: int = 128
    """Width of the perceptron that scores."""
    dropout: float = 0.5
    pictures: int = 80
    """Fewest pictures of a video where padding is read; zeros fill up those of a clock of their own."""

    def __post_init__(self) -> None:
        require_at_least(self, pictures=1)


class ContextStream(nn.Module):
    """One stream: `(batch, n, dim)` and its mask -> `(batch, 2 * width)`. The names of the layers are the published ones."""

    def __init__(self, dim: int, width: int, attention: int) -> None:
        super().__init__()
        self.embedding = nn.Sequential(nn.Linear(dim, dim // 2), nn.ReLU(), nn.Linear(dim // 2, width), nn.ReLU())
        self.gcn1, self.gcn2 = nn.Linear(width, width), nn.Linear(width, width)
        self.att = nn.Sequential(nn.Linear(2 * width, attention), nn.ReLU(), nn.Linear(attention, 1))

    def forward(self, features: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        places = Places.of(mask)
        embedded = places.unpack(self.embedding(places.pack(features)))
        graph = embedded
        for layer in (self.gcn1, self.gcn2):
            graph = torch.relu(layer(near_in_time(graph, mask)))
        joined = torch.cat([embedded, graph], -1)
        logits = self.att(joined)[..., 0].float()
        weights = logits.masked_fill(~mask, -torch.inf).softmax(-1).to(joined.dtype)
        return (weights[:, None] @ joined)[:, 0]


def near_in_time(values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """`A values`, `(batch, n, width)`, where A has `exp(-|i - j|)` between the n places that exist, divided by the root of both their sums
    (section 3.3)."""
    place = torch.arange(mask.shape[1], device=mask.device)
    near = torch.exp(-(place[:, None] - place[None]).abs().float())
    there = mask.float()
    # The sum is at least 1 where there is a clip; far from all of them it is 0.
    share = (there / (there @ near).clamp(min=1).sqrt())[..., None].to(values.dtype)
    return share * (near.to(values.dtype) @ (share * values))


class ActionNet(Head):
    """ACTION-NET: clips and pictures, each in the context of their neighbours in time, weighed by attention."""

    SOURCE = Source(
        "Zeng et al., Hybrid Dynamic-static Context-aware Attention Network, ACM MM 2020", 2020, "qinghuannn/ACTION-NET",
        ("action_net", "action_net_full_rule"),
    )  # fmt: skip
    Settings = ActionNetSettings
    KEY_MAP = {"d_ct.": "dynamic.", "s_ct.": "static.", "adj1": None, "adj2": None}
    stacks = True
    bfloat16 = True

    @classmethod
    def needs(cls, settings: ActionNetSettings) -> Needs:
        return Needs(second_stream=True, sees_padding=settings.sees_padding)

    @classmethod
    def settings_in(cls, state: Mapping[str, torch.Tensor]) -> dict[str, object]:
        layers = {"width": "dynamic.gcn1.weight", "attention": "dynamic.att.0.weight", "last": "fc.0.weight"}
        return {setting: size(state, name) for setting, name in layers.items()}

    @classmethod
    def settings_in_published(cls, state: Mapping[str, torch.Tensor]) -> dict[str, object]:
        """The second graph has a row for each picture."""
        return {**super().settings_in_published(state), "pictures": size(state, "adj2")}

    def build(self, dim: int, audio_dim: int) -> None:
        s = self.settings
        self.dynamic = ContextStream(dim, s.width, s.attention)
        self.static = ContextStream(audio_dim or dim, s.width, s.attention)
        self.fc = nn.Sequential(nn.Linear(4 * s.width, s.last), nn.ReLU(), Dropout(s.dropout), nn.Linear(s.last, 1))
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                nn.init.xavier_uniform_(layer.weight)
                nn.init.zeros_(layer.bias)

    def streams(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """Vectors of the dynamic and of the static stream, `(batch, 2 * width)` each."""
        mask = self.mask(batch)
        pictures, there = batch.clips if batch.audio is None else batch.audio, mask
        if batch.second_stream is not None:
            pictures, there = batch.second_stream.features, batch.second_stream.mask
            if self.batch_needs.sees_padding:
                fewest = self.settings.pictures
                pictures = F.pad(pictures, (0, 0, 0, max(fewest - pictures.shape[1], 0)))
                ends = there.sum(1, keepdim=True).clamp(min=fewest)
                there = torch.arange(pictures.shape[1], device=there.device) < ends
        return self.dynamic(batch.clips, mask), self.static(pictures, there)

    def forward(self, batch: Batch) -> HeadOutput:
        return HeadOutput(torch.sigmoid(self.fc(torch.cat(self.streams(batch), -1))[:, 0]))
