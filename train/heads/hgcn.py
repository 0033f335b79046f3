"""HGCN: clips become shots, shots scenes, scenes an action, by graphs (Zhou et al., Hierarchical Graph Convolutional Networks for Action
Quality Assessment, TCSVT 2023, sections III-B to III-D).

A published checkpoint's graphs have a fixed number of nodes: `clips` of them, by the weights that are learnt for pairs of places.

    shots  (batch, clips, 512)   A = mean over channels of tanh(m_n - m_j) of neighbours, m = ReLU(W x); one shared matrix
    scenes (batch, 7, 256)       softmax of (places at distance < k + alpha q'k / sqrt(128) + C), and T = S + alpha ReLU(graph)
    action (batch, 7, 128)       the same on the scenes, only from earlier ones, where `motion` is on
    score                        sum over scenes of mu + exp(logvar / 2) * noise, noise ~ N(0, 1)

ZhouKanglei/HGCN_AQA, whose text and code differ: see docs/heads.md. The defaults are those of its authors' later toolbox for long videos, with
1,259,962 parameters for 68 clips of 1024 values. On diving the first code has 10 clips, 4 groups and no motion: 406,682.

Deviations: no noise is drawn when videos are scored (the published code does, which `published_defects` restores); padding is no node of
the graphs; a video of more than `clips` clips is averaged to as many parts of equal length.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from longtake.train.errors import DataError, SettingsError, require_at_least
from longtake.train.heads.base import Batch, Head, HeadOutput, Needs, Source
from longtake.train.heads.blocks.units import UnitSettings
from longtake.train.heads.published import WithDefects, size


@dataclass(frozen=True)
class HGCNSettings(UnitSettings, WithDefects):
    clips: int = 68
    """Nodes of the graphs of clips and shots."""
    scenes: int = 7
    neighbours: int = 3
    """Shots at a smaller distance than this are neighbours."""
    width: int = 512
    """Of shots; scenes have half of it, the action a quarter."""
    factor: int = 4
    """Clips, shots and scenes are compared in a width of theirs divided by this."""
    groups: int = 1
    """Of all layers, which see as many parts of their input each by itself."""
    motion: bool = True
    """The third graph, which relates each scene to those before it."""
    refine: bool = True
    """The first graph. False makes each clip a shot by itself."""
    construct: bool = True
    """The second graph. False makes each shot a scene by itself; the score is then the mean over these, times `scenes`."""
    times: str = ""
    """A score that is known beforehand, such as `difficulty`, by which what the layers give is multiplied, as published for MTL-AQA."""

    def __post_init__(self) -> None:
        require_at_least(self, clips=1, scenes=1, neighbours=1, groups=1, factor=1, width=4)
        if self.width % (4 * self.groups):
            raise SettingsError(f"width must be a multiple of 4 * groups, got {self.width} and groups={self.groups}")


class GroupedLinear(nn.Module):
    """A 1x1 convolution in groups, on the last axis. Weights `(outputs, inputs / groups)` as the convolution has them."""

    def __init__(self, inputs: int, outputs: int, groups: int, bias: bool = True) -> None:
        super().__init__()
        if inputs % groups or outputs % groups:
            raise SettingsError(f"layers of {inputs} and {outputs} values cannot have groups={groups}")
        self.groups = groups
        limit = (inputs // groups) ** -0.5
        self.weight = nn.Parameter(torch.empty(outputs, inputs // groups).uniform_(-limit, limit))
        self.bias = nn.Parameter(torch.empty(outputs).uniform_(-limit, limit)) if bias else None

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        mixed = self.mix(values)
        return mixed if self.bias is None else mixed + self.bias

    def mix(self, values: torch.Tensor) -> torch.Tensor:
        """Without the bias."""
        if self.groups == 1:
            return F.linear(values, self.weight)
        parts = values.unflatten(-1, (self.groups, -1))
        return torch.einsum("...gi,goi->...go", parts, self.weight.unflatten(0, (self.groups, -1))).flatten(-2)


class Adaptive(nn.Module):
    """How nodes are related by what they are: `(batch, n, inputs)` -> `(batch, n, n)`; row i is what node i asks (section III-C)."""

    def __init__(self, inputs: int, width: int, nodes: int, groups: int) -> None:
        super().__init__()
        self.conv_q = GroupedLinear(inputs, width, groups, bias=False)
        self.conv_k = GroupedLinear(inputs, width, groups, bias=False)
        self.alpha = nn.Parameter(torch.ones(1, 1))
        self.C = nn.Parameter(torch.eye(nodes))

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        query, key = self.conv_q(values), self.conv_k(values)
        nodes = values.shape[1]
        products = query @ key.transpose(1, 2) * query.shape[-1] ** -0.5
        return self.alpha * products + self.C[:nodes, :nodes]


class ShotGraph(nn.Module):
    """`(batch, n, inputs)` -> `(batch, n, outputs)`, at least 0: each shot of its neighbours (section III-C)."""

    def __init__(self, inputs: int, width: int, outputs: int, nodes: int, neighbours: int, groups: int) -> None:
        super().__init__()
        self.adaptive = Adaptive(inputs, width, nodes, groups)
        self.layer = GroupedLinear(inputs, outputs, groups)
        place = torch.arange(nodes)
        near = ((place[:, None] - place[None]).abs() < neighbours).float()
        self.register_buffer("near", near, persistent=False)

    def forward(self, shots: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """`shots` are zero where the mask is False."""
        nodes = shots.shape[1]
        logits = self.near[:nodes, :nodes] + self.adaptive(shots)
        weights = logits.float().masked_fill(~mask[:, None], -torch.inf).softmax(-1).to(shots.dtype)
        # The layer first, so that sums over nodes are of as few values as it gives.
        return torch.relu(weights.transpose(1, 2) @ self.layer.mix(shots) + self.layer.bias)


class ActionGraph(nn.Module):
    """Scenes `(batch, scenes, inputs)` -> `(batch, scenes, outputs)`, at least 0 (section III-D). As in the published code, the softmax is over
    later scenes as well, whose weights are those of a zero."""

    def __init__(self, inputs: int, width: int, outputs: int, scenes: int, groups: int, motion: bool) -> None:
        super().__init__()
        self.adaptive = Adaptive(inputs, width, scenes, groups) if motion else None
        self.layer = GroupedLinear(inputs, outputs, groups)

    def forward(self, scenes: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """`scenes` are zero where the mask is False."""
        if self.adaptive is None:
            return torch.relu(self.layer(scenes))
        logits = self.adaptive(scenes).float().tril()
        if mask is not None:
            logits = logits.masked_fill(~mask[:, None], -torch.inf)
        weights = logits.softmax(-1).to(scenes.dtype)
        return torch.relu(weights.transpose(1, 2) @ self.layer.mix(scenes) + self.layer.bias)


def factor_in(state: Mapping[str, torch.Tensor], width: int, groups: int) -> int | None:
    """What divides the widths in which clips, shots and scenes are compared; the smallest that does, None where nothing is compared."""
    widths = {"state.weight": groups * (size(state, "shot.weight", 1) or 0), "scene.adaptive.conv_q.weight": width,
              "action.adaptive.conv_q.weight": width // 2}  # fmt: skip
    divided = {wide: size(state, name) for name, wide in widths.items() if name in state}
    fitting = (n for n in range(1, width + 1) if all(wide // n == found for wide, found in divided.items()))
    return next(fitting, None) if divided else None


def at_most(clips: torch.Tensor, mask: torch.Tensor, most: int) -> tuple[torch.Tensor, torch.Tensor]:
    """`(batch, clips, dim)` and its mask: videos of more than `most` clips averaged to as many parts of equal length, others as they are."""
    if clips.shape[1] <= most:
        return clips, mask
    lengths = mask.sum(1, keepdim=True)
    parts = lengths.clamp(max=most)
    width = (lengths / parts)[..., None]
    place = torch.arange(clips.shape[1], device=clips.device)
    part = torch.arange(most, device=clips.device)[:, None]
    overlap = (torch.minimum(place + 1, (part + 1) * width) - torch.maximum(place, part * width)).clamp_min(0)
    there = part[:, 0] < parts
    shares = overlap / width * (there[..., None] & mask[:, None])
    return shares.to(clips.dtype) @ clips, there


class HGCN(Head):
    """HGCN: graphs refine clips to shots, shots to scenes and scenes to an action, each of which has a score."""

    SOURCE = Source(
        "Zhou et al., Hierarchical Graph Convolutional Networks for AQA, TCSVT 2023", 2023, "ZhouKanglei/HGCN_AQA",
        ("hgcn", "hgcn_motion", "hgcn_full_rule"),
    )  # fmt: skip
    Settings = HGCNSettings
    not_in_weights = ("neighbours", "scenes")
    KEY_MAP = {
        "shot_gen.state_gen.0.": "state.",
        "shot_gen.info_trans.0.": "shot.",
        "shot_gen.mlp.0.": "shot.",
        "scene_gen.shot_gcn.adp_adj.": "scene.adaptive.",
        "scene_gen.shot_gcn.shot_agg.0.": "scene.layer.",
        "scene_gen.mlp.0.": "single.",
        "scene_gen.trans_gcn.adp_adj.": "assignment.adaptive.",
        "scene_gen.trans_gcn.shot_agg.0.": "assignment.layer.",
        "scene_gen.trans_gcn.S": "prior",
        "scene_gen.trans_gcn.alpha": "alpha",
        "mot_agg.adp_A.": "action.adaptive.",
        "mot_agg.mot_agg.0.": "action.layer.",
        "mot_agg.mlp.0.": "action.layer.",
        "fc2_mean.": "mean.",
        "fc2_logvar.": "log_variance.",
    }
    stacks = True

    @classmethod
    def needs(cls, settings: HGCNSettings) -> Needs:
        return Needs(scores=(settings.times,) if settings.times else (), sees_padding=settings.sees_padding)

    @classmethod
    def settings_in(cls, state: Mapping[str, torch.Tensor]) -> dict[str, object]:
        width, motion, construct = size(state, "shot.weight"), "action.adaptive.C" in state, "prior" in state
        seen = size(state, "action.layer.weight", 1)
        groups = width // 2 // seen if width and seen else None
        return {
            "clips": size(state, "scene.adaptive.C") or size(state, "action.adaptive.C"),
            "scenes": size(state, "prior") or size(state, "action.adaptive.C"),
            "width": width,
            "groups": groups,
            "factor": factor_in(state, width or 0, groups or 1),
            "motion": motion,
            "refine": "state.weight" in state,
            "construct": construct,
            "judges_units": True,
        }

    def build(self, dim: int, audio_dim: int) -> None:
        s = self.settings
        if dim < s.factor or s.width < 2 * s.factor:
            raise SettingsError(f"clips of {dim} values and width={s.width} cannot be divided by factor={s.factor}")
        keys = s.width // s.factor
        self.state = GroupedLinear(dim, dim // s.factor, s.groups) if s.refine else None
        self.shot = GroupedLinear(dim, s.width, s.groups)
        if s.construct:
            self.scene = ShotGraph(s.width, keys, s.width // 2, s.clips, s.neighbours, s.groups)
            self.assignment = ShotGraph(s.width, keys, s.scenes, s.clips, s.neighbours, groups=1)
            self.prior = nn.Parameter(torch.ones(s.scenes, s.clips))
            self.alpha = nn.Parameter(torch.ones(1, 1))
        else:
            self.single = GroupedLinear(s.width, s.width // 2, s.groups)
        nodes = s.scenes if s.construct else s.clips
        self.action = ActionGraph(s.width // 2, s.width // 2 // s.factor, s.width // 4, nodes, s.groups, s.motion)
        self.mean, self.log_variance = nn.Linear(s.width // 4, 1), nn.Linear(s.width // 4, 1)

    def shots(self, clips: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """`(batch, n, dim)` -> `(batch, n, width)`, zero where the mask is False: clips with what distinguishes them from their neighbours
        (section III-B). Of the matrix A only the places next to the diagonal are not zero."""
        clips = clips.masked_fill(~mask[..., None], 0.0)
        if self.state is None:
            return torch.relu(self.shot(clips)).masked_fill(~mask[..., None], 0.0)
        states = torch.relu(self.state(clips))
        rise = torch.tanh(states[:, 1:] - states[:, :-1]).mean(-1, keepdim=True)
        mixed = clips + F.pad(rise * clips[:, 1:], (0, 0, 0, 1)) - F.pad(rise * clips[:, :-1], (0, 0, 1, 0))
        return torch.relu(self.shot(mixed)).masked_fill(~mask[..., None], 0.0)

    def scenes(self, shots: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """`(batch, n, width)` -> `(batch, scenes, width / 2)` (section III-C)."""
        assigned = self.prior[:, : shots.shape[1]] + self.alpha * self.assignment(shots, mask).transpose(1, 2)
        return assigned @ self.scene(shots, mask).masked_fill(~mask[..., None], 0.0)

    def scores(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
        """Mean and deviation of the score of each scene, `(batch, scenes)`, and which of them exist; None where all do."""
        clips, mask = at_most(batch.clips, self.mask(batch), self.settings.clips)
        shots = self.shots(clips, mask)
        if self.settings.construct:
            action, there = self.action(self.scenes(shots, mask)), None
        else:
            there = mask
            action = self.action(torch.relu(self.single(shots)).masked_fill(~mask[..., None], 0.0), mask)
        return self.mean(action)[..., 0].float(), (0.5 * self.log_variance(action)[..., 0].float()).exp(), there

    def forward(self, batch: Batch) -> HeadOutput:
        mean, deviation, there = self.scores(batch)
        if self.training or self.settings.published_defects:
            mean = mean + deviation * torch.randn_like(mean)
        if there is None:
            score = mean.sum(-1)
        else:
            score = (mean * (there / there.sum(-1, keepdim=True))).sum(-1) * self.settings.scenes
        if self.settings.times:
            if batch.scores is None:
                raise DataError(f"times={self.settings.times} takes a score that the batch does not have")
            score = score * batch.scores[:, 0]
        return HeadOutput(self.settings.to01(score))
