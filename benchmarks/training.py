"""A training step of MLAVL's head against a straightforward one: python benchmarks/training.py [--batch 32] [--clips 68] [--actions 32]

The yardstick is the same head, the same weights and the same result, but for its graphs: it lists all edges of the complete graphs in Python at
every step and goes through the batch video by video, as one writes it with a graph library. SIMULATED features. Medians with their spread,
taken in turns in one run.
"""

from __future__ import annotations

import copy
import json
import statistics
import time
from pathlib import Path

import click
import numpy as np
import torch
from torch import nn

from train.dataset import Batch
from train.heads.mlavl import MAG2, MLAVL
from train.losses import LossWeights, total_loss
from train.prototypes import Prototypes


class EdgeListMAG2(nn.Module):
    """MAG2 with the layers of ours, message by message: edges from source to target, gathered, summed and divided."""

    def __init__(self, ours: MAG2) -> None:
        super().__init__()
        self.layers, self.dropout = ours.layers, ours.dropout

    def forward(self, clips: torch.Tensor, mask: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
        done = []
        for video, exists in zip(clips, mask):
            length = int(exists.sum())
            nodes = torch.cat([video[:length], actions])
            sources, targets = [], []
            for one in range(length):
                for other in range(length):
                    if one != other:
                        sources.append(one)
                        targets.append(other)
            for one in range(len(actions)):
                for other in range(len(actions)):
                    if one != other:
                        sources.append(length + one)
                        targets.append(length + other)
                for clip in range(length):
                    sources.append(length + one)
                    targets.append(clip)
            source, target = torch.tensor(sources), torch.tensor(targets)
            for index, layer in enumerate(self.layers):
                summed = torch.zeros_like(nodes).index_add(0, target, nodes[source])
                count = torch.zeros(len(nodes)).index_add(0, target, torch.ones(len(target))).clamp_min(1)
                nodes = layer(nodes, summed / count[:, None])
                if index == 0:
                    nodes = self.dropout(torch.relu(nodes))
            padded = nodes.new_zeros(clips.shape[1], nodes.shape[1])
            done.append(torch.cat([nodes[:length], padded[length:]]))
        return torch.stack(done)


def step(head: nn.Module, optimizer: torch.optim.Optimizer, batch: Batch) -> float:
    began = time.perf_counter()
    loss, _ = total_loss(head(batch), batch.target01, LossWeights())
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
    return time.perf_counter() - began


@click.command()
@click.option("--batch", "batch_size", default=32, show_default=True)
@click.option("--clips", default=68, show_default=True)
@click.option("--actions", default=32, show_default=True)
@click.option("--rounds", default=5, show_default=True)
@click.option("--json", "json_path", type=click.Path(path_type=Path))
def main(batch_size: int, clips: int, actions: int, rounds: int, json_path: Path | None) -> None:
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    counts = {"visual_actions": actions, "audio_actions": actions, "visual_grades": 6, "audio_visual_grades": 12}
    texts = {name: rng.normal(size=(n, 512)).astype(np.float32) for name, n in counts.items()}
    ours = MLAVL(1024, MLAVL.Settings(), Prototypes(texts, True), audio_dim=768)
    naive = copy.deepcopy(ours)
    naive.mag2_visual, naive.mag2_audio = EdgeListMAG2(naive.mag2_visual), EdgeListMAG2(naive.mag2_audio)
    mask = torch.arange(clips)[None] < torch.randint(clips // 2, clips + 1, (batch_size, 1))
    features = torch.randn(batch_size, clips, 1024) * mask[..., None]
    sound = torch.randn(batch_size, clips, 768) * mask[..., None]
    batch = Batch(features, mask, torch.rand(batch_size), tuple(range(batch_size)), sound)
    ours.eval(), naive.eval()
    with torch.no_grad():
        difference = float((ours(batch).score01 - naive(batch).score01).abs().max())
    if difference > 1e-5:
        raise SystemExit(f"the yardstick computes something else: scores differ by {difference}")
    heads = {"ours": ours.train(), "edge lists": naive.train()}
    optimizers = {name: torch.optim.Adam(head.parameters(), lr=1e-3) for name, head in heads.items()}
    for name, head in heads.items():
        step(head, optimizers[name], batch)
    seconds: dict[str, list[float]] = {name: [] for name in heads}
    for _ in range(rounds):
        for name, head in heads.items():
            seconds[name].append(step(head, optimizers[name], batch))
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    facts = {
        "batch": batch_size, "clips": clips, "actions": actions, "threads": torch.get_num_threads(), "largest_difference": difference,
        "seconds_per_step": {name: {"median": medians[name], "all": sorted(values)} for name, values in seconds.items()},
        "ratio": medians["ours"] / medians["edge lists"],
    }  # fmt: skip
    click.echo(json.dumps(facts, indent=2))
    if json_path:
        json_path.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
