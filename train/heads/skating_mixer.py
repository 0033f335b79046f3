"""Skating-Mixer: an MLP-Mixer with a memory walks through a programme, forwards and backwards, over sound and pictures (Xia et al.,
Skating-Mixer: Long-Term Sport Audio-Visual Modeling with MLPs, AAAI 2023, section 4).

Of each clip, a vector of sound and `tokens` vectors of pictures are embedded by a linear layer. A step mixes [memory, sound, pictures, class],
`(tokens + 3, width)`, in blocks x <- x + MLP over tokens(norm(x)), x <- x + MLP over the width(norm(x)). The first token is the next step's memory; the last one, through a
linear layer, is what the step says. The backward walk has the same weights and the order [class, sound, pictures, memory]. The score is a linear layer on the mean over
clips and both walks.

The published code, followed here, reads 15 vectors of TimeSformer a clip and one of AST. The features in circulation have one vector of pictures a clip: `tokens=1`. Deviations:
- Sound of another width than pictures has an embedding of its own; the published one is shared.
- Each video is walked backwards over its own clips. The published code reads the backward walk of a shorter video of a batch in its padding:
  `published_defects=true`.
- A norm that the published network makes and never uses is left out: 2 x width parameters.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from longtake.train.errors import DataError, require_at_least
from longtake.train.heads.base import Batch, Head, HeadOutput, Needs, Source
from longtake.train.heads.blocks.layers import two_layers
from longtake.train.heads.blocks.units import UnitSettings
from longtake.train.heads.published import num_modules, size


@dataclass(frozen=True)
class SkatingMixerSettings(UnitSettings):
    width: int = 512
    layers: int = 2
    tokens: int = 1
    """Vectors of pictures in the features of a clip, side by side."""
    audio: bool = True
    """False mixes pictures alone."""
    published_defects: bool = False

    def __post_init__(self) -> None:
        require_at_least(self, layers=1, tokens=1)


class Mix(nn.Module):
    """Mixes along the width, or along the tokens: norm, perceptron four times as wide, both around a residual."""

    def __init__(self, width: int, tokens: int | None = None) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        size = tokens or width
        self.fn = two_layers(size, 4 * size, size, 0.0, nn.GELU)
        self.across_tokens = tokens is not None

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """`(batch, tokens, width)` -> the same."""
        normed = self.norm(values)
        return values + (self.fn(normed.transpose(1, 2)).transpose(1, 2) if self.across_tokens else self.fn(normed))


def backwards(values: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """`(batch, clips, ...)`: the clips of each video in reverse order, its padding where it was."""
    place = torch.arange(values.shape[1], device=values.device)[None]
    index = torch.where(place < lengths[:, None], lengths[:, None] - 1 - place, place)
    return values[torch.arange(len(values), device=values.device)[:, None], index]


class SkatingMixer(Head):
    """Skating-Mixer: an MLP-Mixer with a memory, over pictures and sound of one clip after the other, in both directions."""

    SOURCE = Source(
        "Xia et al., Skating-Mixer, AAAI 2023", 2023, "AndyFrancesco29/Audio-Visual-Figure-Skating", ("skating_mixer",)
    )
    Settings = SkatingMixerSettings
    bfloat16 = True
    KEY_MAP = {
        "hidden_state": "memory",
        "cls_token": "question",
        "linear1.": "embed.",
        "linear_forward.": "blocks.",
        "layer_norm.": None,
        "hidden_linear.": "answer.",
        "output.linear.": "output.",
    }

    @classmethod
    def needs(cls, settings: SkatingMixerSettings) -> Needs:
        return Needs(audio=settings.audio, sees_padding=settings.published_defects)

    @classmethod
    def settings_in(cls, state: Mapping[str, torch.Tensor]) -> dict[str, Any]:
        mixed = size(state, "blocks.0.0.fn.0.weight", 1)
        return {
            "width": size(state, "embed.weight"),
            "layers": num_modules(state, "blocks.") or None,
            "tokens": mixed and mixed - 3,
            "judges_units": True,
        }

    def build(self, dim: int, audio_dim: int) -> None:
        s = self.settings
        if dim % s.tokens:
            raise DataError(f"tokens={s.tokens} does not divide features of {dim} values a clip")
        self.embed = nn.Linear(dim // s.tokens, s.width)
        apart = s.audio and audio_dim != dim // s.tokens
        self.embed_audio = nn.Linear(audio_dim, s.width) if apart else None
        self.memory, self.question = (nn.Parameter(torch.randn(1, s.width)) for _ in range(2))
        mixed = s.tokens + 2 + s.audio
        self.blocks = nn.ModuleList(nn.Sequential(Mix(s.width, mixed), Mix(s.width)) for _ in range(s.layers))
        self.answer = nn.Linear(s.width, s.width)
        self.output = nn.Linear(s.width, 1)

    def forward(self, batch: Batch) -> HeadOutput:
        lengths = batch.mask.sum(1)
        return HeadOutput(self.score01(batch.clips, batch.audio, lengths, lengths))

    def score01(
        self, clips: torch.Tensor, audio: torch.Tensor | None, lengths: torch.Tensor, audio_lengths: torch.Tensor
    ) -> torch.Tensor:
        """`(batch,)` of clips `(batch, clips, dim)` and sound of as many, which in published data may end sooner or later."""
        tokens = self.embed(clips.unflatten(-1, (self.settings.tokens, -1)))
        ahead, back = [tokens], [backwards(tokens, lengths)]
        if self.settings.audio:
            assert audio is not None
            sound = (self.embed_audio or self.embed)(audio)[:, :, None]
            ahead.insert(0, sound)
            back.insert(0, backwards(sound, audio_lengths))
            lengths = torch.minimum(lengths, audio_lengths)
        ahead_said, back_said = self.walk(torch.cat(ahead, 2), torch.cat(back, 2))
        if self.settings.published_defects:
            back_said = back_said.flip(1)
        mask = torch.arange(clips.shape[1], device=clips.device)[None] < lengths[:, None]
        mean = ((ahead_said + back_said) * mask[..., None]).sum(1) / (2 * lengths[:, None])
        # A linear layer of a mean is the mean of linear layers.
        return self.settings.to01(self.output(self.answer(mean))[:, 0].float())

    def walk(self, ahead: torch.Tensor, back: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Embedded tokens `(batch, clips, tokens, width)` in both orders -> the class tokens of all steps, `(batch, clips, width)`. Both walks
        are one batch; steps follow each other, since each reads the memory of the one before."""
        num_videos = len(ahead)
        memory, question = (one.expand(num_videos, -1) for one in (self.memory, self.question))
        memories = memory, memory
        said = []
        for tokens in torch.cat([ahead, back]).unbind(1):
            first, last = torch.cat([memories[0], question]), torch.cat([question, memories[1]])
            mixed = torch.cat([first[:, None], tokens, last[:, None]], 1)
            for block in self.blocks:
                mixed = block(mixed)
            memories = mixed[:num_videos, 0], mixed[num_videos:, -1]
            said.append(torch.cat([mixed[:num_videos, -1], mixed[num_videos:, 0]]))
        both = torch.stack(said, 1)
        return both[:num_videos], both[num_videos:]
