"""Action texts inform clips through a graph: MAG2 of MLAVL (Xu et al., equations 8-9), which is a plug-in of other heads, too."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from longtake.train.heads.blocks.dropout import Dropout
from longtake.train.heads.blocks.packing import Places

SAGE, GCN, NONE = "sage", "gcn", "none"


class SageLayer(nn.Module):
    """GraphSAGE with mean aggregation: `neighbours(mean of neighbours) + own(node)`."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.neighbours = nn.Linear(inputs, outputs)
        self.own = nn.Linear(inputs, outputs, bias=False)

    def forward(self, nodes: torch.Tensor, mean: torch.Tensor) -> torch.Tensor:
        return self.neighbours(mean) + self.own(nodes)


class MAG2(nn.Module):
    """Multidimensional Action Graph Guidance: action texts inform the clips (equations 8-9, or GraphSAGE as published).

    All clips of a video are neighbours of each other, all actions are, and every action is a neighbour of every clip. Of
    complete graphs, the mean over all others is a sum and a subtraction; no edges are listed. Actions do not depend on the
    video, so they are computed once a batch.
    """

    def __init__(self, width: int, form: str, dropout: float) -> None:
        super().__init__()
        self.form, self.dropout = form, Dropout(dropout)
        sizes = (width, width // 2, width)
        if form == SAGE:
            self.layers = nn.ModuleList(SageLayer(a, b) for a, b in zip(sizes, sizes[1:]))
        else:
            pairs = list(zip(sizes, sizes[1:]))
            self.temporal, self.cross = (nn.ModuleList(nn.Linear(a, b, bias=False) for a, b in pairs) for _ in range(2))
            # Nothing would read the last layer's actions.
            self.action = nn.ModuleList(nn.Linear(a, b, bias=False) for a, b in pairs[:-1])

    def forward(self, clips: torch.Tensor, mask: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
        """`(batch, clips, width)`, its mask and `(actions, width)` -> `(batch, clips, width)`, zero in the padding."""
        places = Places.of(mask)
        clips = places.pack(clips)
        step = self._sage if self.form == SAGE else self._gcn
        for layer in range(2):
            clips, actions = step(layer, clips, places, actions)
            if layer == 0:
                clips, actions = self.dropout(torch.relu(clips)), self.dropout(torch.relu(actions))
            elif self.form == GCN:
                clips = torch.relu(clips)
        return places.unpack(clips)

    def _sage(
        self, layer: int, clips: torch.Tensor, places: Places, actions: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        sage, summed = self.layers[layer], places.sum(clips) + actions.sum(0)
        informed = sage(actions, _mean_of_others(actions))
        if places.index is None:
            # Of videos of one length, a clip has the same share in each mean, so that both products with it are one.
            count = max(places.mask.shape[1] - 1 + len(actions), 1)
            mixed = F.linear(clips, sage.own.weight - sage.neighbours.weight / count)
            return mixed + places.share(sage.neighbours(summed / count)), informed
        count = (places.mask.sum(1, keepdim=True) - 1 + len(actions)).clamp_min(1)
        return sage(clips, (places.share(summed) - clips) / places.share(count)), informed

    def _gcn(
        self, layer: int, clips: torch.Tensor, places: Places, actions: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The adjacency of a complete graph is a node itself plus the mean of the others: with equal weights for all, every
        node would become the same. The cross mapping is the mean over all actions."""
        count = (places.mask.sum(1, keepdim=True) - 1).clamp_min(1)
        near = clips + (places.share(places.sum(clips)) - clips) / places.share(count)
        mixed = self.temporal[layer](near) + self.cross[layer](actions.mean(0))
        if layer < len(self.action):
            actions = self.action[layer](actions + _mean_of_others(actions))
        return mixed, actions


def _mean_of_others(nodes: torch.Tensor) -> torch.Tensor:
    return (nodes.sum(0) - nodes) / max(len(nodes) - 1, 1)
