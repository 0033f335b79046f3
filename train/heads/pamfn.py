"""PAMFN: pictures, flow and sound are fused step by step, by as many of several fusions as a policy takes (Zeng and Zheng, Multimodal
Action Quality Assessment, IEEE TIP 2024).

Base net of a modality: dim -> 512 -> `width` for each clip, then three residual blocks of convolutions over time with means over pairs of steps in between and over all after the
last: f0 (clips), f1 (1/2), f2 (1/4), f3 (1); a linear layer on f3 is its own score.
Block i = 1, 2, 3 takes c, at first zeros, and of all modalities f_(i-1) and s = f_i:
    c <- convolutions of c + linear(c)
    s <- attention of each step over the modalities' s, softmax(-q k / sqrt(d)): what c lacks
    f <- K sequences, each the modalities' f_(i-1) by a softmax over them, + convolutions, pooled; attention of -W [c, s] over the first j + 1 of them
    j by Gumbel-softmax of a linear layer on the modalities' f_(i-1), pooled: the policy
    c <- [c, s, f], pooled
Score: sigmoid of two layers on the last c.

qinghuannn/PAMFN, followed here, trains the base nets first, each alone, and then freezes those of pictures and flow (sound trains further). Here all learn at once, with the published flow of gradients:
base nets of pictures and flow learn from their own scores alone (`base_weight`), and what is fused is detached. Deviations:
- A tested video takes the policy's likeliest choice; the published code draws it (`published_defects=true`).
- Padding is not read (`mask`); a video of fewer than four clips is filled with zeros to four.
- Norms that the published network makes and never uses are left out: 12 x width parameters.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from longtake.train.errors import SettingsError, require_at_least
from longtake.train.heads.base import Batch, Head, HeadOutput, Needs, Source
from longtake.train.heads.blocks.dropout import Dropout
from longtake.train.heads.blocks.negative_attention import NegativeAttention
from longtake.train.heads.blocks.packing import Places
from longtake.train.heads.blocks.time_net import ConvPair, mean, pool
from longtake.train.heads.published import WithDefects, size, substitute

MODALITIES = ("pictures", "flow", "sound")
LEAST_CLIPS = 4


@dataclass(frozen=True)
class PAMFNSettings(WithDefects):
    width: int = 256
    fusions: int = 10
    """K, the most that the policy can take."""
    feature_heads: int = 1
    cross_heads: int = 1
    reduction: int = 2
    """The last hidden layer is `width / reduction` wide."""
    temperature: float = 10.0
    """Of the Gumbel-softmax; learnt. It begins here, and matters for gradients only."""
    base_weight: float = 1.0
    """Of the squared error of each base net's own score; 0 for base nets that are trained already."""
    dropout: float = 0.3
    """Of the base nets."""
    base_dropout: float = 0.5
    """Before their scores."""
    feature_dropout: float = 0.5
    """Of their features where they are fused."""
    joined_dropout: float = 0.0
    """Of what all modalities give together, before the last layers; the published code has 0.3 for its second set of features (UMT, I3D, MAST)."""
    head_dropout: float = 0.5
    """Between the last layers."""
    attention_dropout: float = 0.1

    def __post_init__(self) -> None:
        require_at_least(self, fusions=1, reduction=1)
        for name in ("feature_heads", "cross_heads", "reduction"):
            if not getattr(self, name) or self.width % getattr(self, name):
                raise SettingsError(f"{name}={getattr(self, name)} does not divide width={self.width}")


class Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.pair = ConvPair(width, width, nn.GELU)

    def forward(self, values: torch.Tensor, places: Places) -> torch.Tensor:
        return values + self.pair.over(values, places)


class BaseNet(nn.Module):
    """One modality: its features at four scales, and its own score."""

    def __init__(self, dim: int, settings: PAMFNSettings) -> None:
        super().__init__()
        s = settings
        self.embedding = nn.Sequential(
            nn.Linear(dim, 512), nn.BatchNorm1d(512), nn.ReLU(), nn.Linear(512, s.width), nn.BatchNorm1d(s.width), nn.ReLU(),
            Dropout(s.dropout),
        )  # fmt: skip
        self.stages = nn.ModuleList(Residual(s.width) for _ in range(3))
        self.fc = nn.Sequential(Dropout(s.base_dropout), nn.Linear(s.width, 1))

    def forward(self, clips: torch.Tensor, scales: list[Places]) -> list[torch.Tensor]:
        """`(batch, clips, dim)` -> f0 to f3, `(batch, steps, width)`."""
        features = [scales[0].unpack(self.embedding(scales[0].pack(clips)))]
        for index, stage in enumerate(self.stages):
            found = stage(features[-1], scales[index])
            features.append(pool(found, scales[index])[0] if index < 2 else mean(found, scales[2]))
        return features

    def score(self, last: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid(self.fc(last[:, 0])[:, 0].float())


class Fusion(nn.Module):
    """One block."""

    def __init__(self, settings: PAMFNSettings, last: bool) -> None:
        super().__init__()
        self.last = last
        s, width, joined = settings, settings.width, len(MODALITIES) * settings.width
        self.settings = s
        self.conv = ConvPair(joined, width, nn.ReLU)
        self.short_cut = nn.Sequential(nn.Linear(joined, width), nn.BatchNorm1d(width), nn.ReLU())
        self.ask = nn.Linear(width, width)
        self.specific = NegativeAttention(width, s.feature_heads, s.attention_dropout)
        self.shares = nn.ModuleList(
            nn.Sequential(nn.Linear(width, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Linear(width, s.fusions))
            for _ in MODALITIES
        )
        # All K sequences in one convolution of K groups.
        self.refine = ConvPair(width, width, nn.ReLU, groups=s.fusions)
        self.ask_fused = nn.Linear(2 * width, width)
        self.cross = NegativeAttention(width, s.cross_heads, s.attention_dropout)
        self.policy = nn.Linear(joined, s.fusions)

    def forward(
        self,
        c: torch.Tensor,
        before: torch.Tensor,
        here: torch.Tensor,
        places: tuple[Places, Places],
        tau: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """c `(batch, steps, 3 * width)`; features before and after pooling, `(batch, steps, modalities, width)`, and which steps of both exist ->
        [c, s, f], and the choices, one-hot `(batch, steps, K)`."""
        long, short = places
        c = self.conv.over(c, short) + short.unpack(self.short_cut(short.pack(c)))
        s = self.specific(self.ask(c), here)
        shares = torch.stack([
            long.unpack(layer(long.pack(before[:, :, index]))) for index, layer in enumerate(self.shares)
        ], -1).softmax(-1)  # fmt: skip
        fused = torch.einsum("btkm,btmw->btkw", shares, before).flatten(2)
        fused = fused * long.mask[..., None]
        fused = pooled(fused + self.refine.over(fused, long), long, self.last)
        logits = pooled(long.unpack(self.policy(long.pack(before.flatten(2)))), long, self.last)
        chosen, allowed = self.choose(logits, tau)
        f = self.cross(-self.ask_fused(torch.cat([c, s], -1)), fused.unflatten(-1, (-1, s.shape[-1])), allowed)
        return torch.cat([c, s, f], -1) * short.mask[..., None], chosen

    def choose(self, logits: torch.Tensor, tau: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The policy's choice, one-hot, and what is added to attention: -1e9 for fusions after the chosen one; gradients are those of
        the Gumbel-softmax."""
        noisy = logits.float()
        if self.training or self.settings.published_defects:
            noisy = noisy + self.noise(noisy)
        chosen = F.one_hot(noisy.argmax(-1), noisy.shape[-1]).to(noisy)
        later = chosen.cumsum(-1) - chosen
        soft = (noisy / tau).softmax(-1)
        return chosen, -1e9 * later + (soft - soft.detach())

    def noise(self, like: torch.Tensor) -> torch.Tensor:
        """Of a Gumbel distribution."""
        return -torch.empty_like(like).exponential_().log()


def pooled(values: torch.Tensor, places: Places, last: bool) -> torch.Tensor:
    """Means of pairs of steps, or in the last block of all."""
    return mean(values, places) if last else pool(values, places)[0]


class PAMFN(Head):
    """PAMFN: pictures, flow and sound, fused step by step as a policy says."""

    SOURCE = Source(
        "Zeng and Zheng, PAMFN, IEEE TIP 2024", 2024, "qinghuannn/PAMFN", ("pamfn", "pamfn_base", "pamfn_full_rule")
    )
    Settings = PAMFNSettings
    not_in_weights = ("feature_heads", "cross_heads")

    @classmethod
    def needs(cls, settings: PAMFNSettings) -> Needs:
        return Needs(audio=True, streams=("flow",), sees_padding=settings.sees_padding)

    @classmethod
    def from_published(cls, state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """The convolutions of K sequences are joined to one of K groups."""
        flat = {name: one.squeeze(-1) if one.dim() == 3 and one.shape[-1] == 1 else one for name, one in state.items()}
        made: dict[str, torch.Tensor] = {}
        parts: dict[str, dict[int, torch.Tensor]] = {}
        for name, value in substitute(flat, NAMES).items():
            start, found, rest = name.partition(".refine.")
            if found:
                number, _, rest = rest.partition(".")
                parts.setdefault(f"{start}.refine.{rest}", {})[int(number)] = value
            elif ".norm." not in name and name != "c":
                made[name] = value
        for name, values in parts.items():
            ordered = [values[number] for number in sorted(values)]
            made[name] = torch.cat(ordered) if ordered[0].dim() else ordered[0]
        return made

    @classmethod
    def settings_in(cls, state: Mapping[str, torch.Tensor]) -> dict[str, Any]:
        width, last = size(state, "blocks.0.ask.weight"), size(state, "fc.1.weight")
        return {
            "width": width,
            "fusions": size(state, "blocks.0.policy.weight"),
            "reduction": width // last if width and last else None,
        }

    def build(self, dim: int, audio_dim: int) -> None:
        s = self.settings
        dims = dim, self.stream_dims["flow"], audio_dim
        self.bases = nn.ModuleDict({name: BaseNet(one, s) for name, one in zip(MODALITIES, dims)})
        self.blocks = nn.ModuleList(Fusion(s, last=index == 2) for index in range(3))
        self.tau = nn.Parameter(torch.tensor(s.temperature))
        inner = s.width // s.reduction
        self.fc = nn.Sequential(
            Dropout(s.joined_dropout), nn.Linear(len(MODALITIES) * s.width, inner), nn.BatchNorm1d(inner), nn.ReLU(),
            Dropout(s.head_dropout), nn.Linear(inner, 1),
        )  # fmt: skip
        self.feature_dropout = Dropout(s.feature_dropout)

    def scales(self, batch: Batch) -> list[Places]:
        """Which steps exist of f0 to f3."""
        mask = self.mask(batch)
        mask = F.pad(mask, (0, max(LEAST_CLIPS - mask.shape[1], 0)))
        mask = mask | (torch.arange(mask.shape[1], device=mask.device) < LEAST_CLIPS)
        half, quarter = mask[:, 1::2], mask[:, 3::4]
        return [Places.of(one) for one in (mask, half, quarter, quarter[:, :1])]

    def fuse(
        self, features: list[list[torch.Tensor]], scales: list[Places]
    ) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        """f0 to f3 of each modality -> [c, s, f] of each block, and the policy's choices."""
        by_scale = [torch.stack(one, 2) for one in zip(*features)]
        c = by_scale[1].new_zeros(*by_scale[1].shape[:2], len(MODALITIES) * self.settings.width)
        joined: list[torch.Tensor] = []
        chosen: list[torch.Tensor] = []
        for index, block in enumerate(self.blocks):
            if index:
                c = pooled(joined[-1], scales[index], block.last)
            places = scales[index], scales[index + 1]
            found, choice = block(c, by_scale[index], by_scale[index + 1], places, self.tau)
            joined.append(found)
            chosen.append(choice)
        return joined, chosen

    def forward(self, batch: Batch) -> HeadOutput:
        s, scales = self.settings, self.scales(batch)
        missing = scales[0].mask.shape[1] - batch.mask.shape[1]
        assert batch.audio is not None
        streams = [F.pad(one, (0, 0, 0, missing)) for one in (batch.clips, batch.streams["flow"], batch.audio)]
        features = [base(one, scales) for base, one in zip(self.bases.values(), streams)]
        given = [[self.feature_dropout(one) for one in of_one] for of_one in features]
        given[:2] = [[one.detach() for one in of_one] for of_one in given[:2]]
        joined, _ = self.fuse(given, scales)
        score01 = torch.sigmoid(self.fc(joined[-1][:, 0])[:, 0].float())
        losses = {}
        if self.training and s.base_weight:
            own = [base.score(of_one[-1]) for base, of_one in zip(self.bases.values(), features)]
            losses["modalities"] = s.base_weight * sum(F.mse_loss(one, batch.target01) for one in own)
        return HeadOutput(score01, losses=losses)


NAMES = (
    (r"^model_r\.", "bases.pictures."),
    (r"^model_f\.", "bases.flow."),
    (r"^model_a\.", "bases.sound."),
    (r"^(bases\.\w+\.)stage1\.", r"\1stages.0."),
    (r"^(bases\.\w+\.)stage2\.", r"\1stages.1."),
    (r"^(bases\.\w+\.)stage3\.", r"\1stages.2."),
    (r"(stages\.\d\.)conv1\.", r"\1pair."),
    (r"(stages\.\d\.)conv2\.0", r"\1pair.3"),
    (r"(stages\.\d\.)conv2\.1", r"\1pair.4"),
    (r"^stage1\.", "blocks.0."),
    (r"^stage2\.", "blocks.1."),
    (r"^stage3\.", "blocks.2."),
    (r"s_fusion\.proj\.0", "ask"),
    (r"s_fusion\.fusion_s\.", "specific."),
    (r"f_fusion\.fusion_f\.", "cross."),
    (r"linear_layers\.0", "query"),
    (r"linear_layers\.1", "key"),
    (r"linear_layers\.2", "value"),
    (r"f_fusion\.proj1", "shares"),
    (r"f_fusion\.proj2\.0", "ask_fused"),
    (r"f_fusion\.policy\.0", "policy"),
    (r"f_fusion\.ffn", "refine"),
)
"""Patterns of published names, in order -> ours."""
