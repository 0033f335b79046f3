"""CoRe: the difference to an exemplar by a regression tree over groups of differences (Yu et al., Group-aware Contrastive Regression for
Action Quality Assessment, ICCV 2021, section 3). A host that MVLA is plugged into."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn

from longtake.train.errors import require_at_least
from longtake.train.heads.base import Batch, HeadOutput, Source
from longtake.train.heads.blocks.contrast import Differences, GroupHead, GroupSettings, exemplars_of, judge
from longtake.train.heads.published import num_modules, size
from longtake.train.heads.usdl import mean_of_clips


@dataclass(frozen=True, repr=False)
class CoReSettings(GroupSettings):
    width: int = 256
    depth: int = 5
    """Levels of nodes, the root and the leaves included: 16 leaves."""
    mask: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least(self, depth=2)


class Nodes(nn.Module):
    """A linear layer for each node of a level: `(pairs, nodes, width)` -> `(pairs, nodes, outputs)`."""

    def __init__(self, nodes: int, width: int, outputs: int) -> None:
        super().__init__()
        bound = 1 / math.sqrt(width)
        self.weight = nn.Parameter(torch.empty(nodes, width, outputs).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(nodes, outputs).uniform_(-bound, bound))

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return torch.einsum("pnw,nwo->pno", values, self.weight) + self.bias


class RegressionTree(nn.Module):
    """A binary tree whose leaves are groups of differences (CoRe, section 3): at each node the probabilities of its two children, in each
    leaf a place."""

    def __init__(self, dim: int, width: int, depth: int) -> None:
        super().__init__()
        self.root = nn.Linear(dim, width)
        levels = [2**level for level in range(depth - 1)]
        self.choices = nn.ModuleList(Nodes(nodes, width, 2) for nodes in levels)
        self.descents = nn.ModuleList(Nodes(nodes, width, 2 * width) for nodes in levels)
        self.leaves = Nodes(2 ** (depth - 1), width, 1)

    def forward(self, values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """`(pairs, dim)` -> logarithms of the probabilities of leaves and places in them, both `(pairs, leaves)`."""
        nodes = torch.relu(self.root(values))[:, None]
        reached = values.new_zeros(len(values), 1)
        for choose, descend in zip(self.choices, self.descents):
            reached = (reached[..., None] + choose(nodes).float().log_softmax(-1)).flatten(1)
            nodes = torch.relu(descend(nodes)).reshape(len(values), 2 * nodes.shape[1], -1)
        return reached, self.leaves(nodes)[..., 0].float()


class CoRe(GroupHead):
    """CoRe: the mean of the clips, that of an exemplar and its score, to a tree of differences. 2,510,382 parameters for 1024-wide features."""

    SOURCE = Source(
        "Yu et al., Group-aware Contrastive Regression for Action Quality Assessment, ICCV 2021",
        2021, "yuxumin/CoRe", ("core",),
    )  # fmt: skip
    Settings = CoReSettings

    @classmethod
    def from_published(cls, state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """The published code compares [exemplar, query], and has the nodes of a level in one grouped convolution."""
        found = {}
        for name, value in state.items():
            kind, _, rest = name.partition(".")
            if kind == "first_layer":
                half = value.shape[-1] // 2
                if rest.endswith("weight"):
                    value = torch.cat([value[:, half : 2 * half], value[:, :half], value[:, 2 * half :]], 1)
                found[f"tree.root.{rest.removeprefix('0.')}"] = value
            elif kind in ("feature_layers", "clf_layers", "reg_layer"):
                level, _, parameter = rest.rpartition(".")
                level = level.partition(".")[0]
                nodes = 2 ** int(level) if level else len(value)
                value = value.reshape(nodes, -1, *value.shape[1:2])
                ours = {"feature_layers": f"descents.{level}", "clf_layers": f"choices.{level}", "reg_layer": "leaves"}[
                    kind
                ]
                found[f"tree.{ours}.{parameter}"] = value.transpose(1, 2) if value.dim() == 3 else value
            else:
                found[name] = value
        return found

    @classmethod
    def settings_in(cls, state: Mapping[str, torch.Tensor]) -> dict[str, object]:
        levels = num_modules(state, "tree.choices.")
        return {"width": size(state, "tree.root.weight"), "depth": levels + 1 if levels else None}

    def build(self, dim: int, audio_dim: int) -> None:
        s = self.settings
        self.tree = RegressionTree(2 * dim + 1, s.width, s.depth)
        self.differences = Differences(s, 2 ** (s.depth - 1))

    def forward(self, batch: Batch) -> HeadOutput:
        features = [mean_of_clips(one.clips, self.mask(one)) for one in (batch, exemplars_of(batch))]
        score01, losses = judge(batch, features[0], features[1], self._compare, self.differences)
        return HeadOutput(score01, losses=losses)

    def _compare(
        self, mine: torch.Tensor, theirs: torch.Tensor, known: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        return self.tree(torch.cat([mine, theirs, known[:, None]], -1))
