"""A training step of MLAVL's head against a straightforward one: python benchmarks/training.py [--batch 32] [--clips 68] [--actions 32]

The yardstick is the same head, the same weights and the same result, as one writes it from library parts: torch's Transformer, and a
graph of every video from an edge list, listed in Python at every step, the batch gone through video by video. SIMULATED features.
Medians with their spread, taken in turns in one run.
"""

from __future__ import annotations

import copy
import time
from pathlib import Path

import click
import numpy as np
import torch
import torch.nn.functional as F
from measured import WITHOUT_BFLOAT16, Machine, Result, Row, Table, has_bfloat16, ratios
from torch import nn

from longtake.train.engine.losses import alignment, total_loss
from longtake.train.engine.settings import TrainSettings
from longtake.train.heads.base import Batch, Prototypes
from longtake.train.heads.blocks.action_graph import MAG2
from longtake.train.heads.blocks.layers import project
from longtake.train.heads.blocks.transformer import Decoder, Encoder
from longtake.train.heads.mlavl import AVCF, MLAVL, VisualMLAVL

FLOAT32, BFLOAT16, PLAIN = "ours, float32", "ours, bfloat16", "straightforward, float32"
AT_MOST, STEPS = 0.4, 3


def edges_of(length: int, num_actions: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Sources and targets: all ordered pairs of clips, all of actions, and every action to every clip."""
    sources, targets = [], []
    for one in range(length):
        for other in range(length):
            if one != other:
                sources.append(one)
                targets.append(other)
    for one in range(num_actions):
        for other in range(num_actions):
            if one != other:
                sources.append(length + one)
                targets.append(length + other)
        for clip in range(length):
            sources.append(length + one)
            targets.append(clip)
    return torch.tensor(sources), torch.tensor(targets)


class EdgeListMAG2(nn.Module):
    """MAG2 with the layers of ours, message by message: edges from source to target, gathered, summed and divided. Videos of one
    length share their edges."""

    def __init__(self, ours: MAG2) -> None:
        super().__init__()
        self.layers, self.dropout = ours.layers, nn.Dropout(ours.dropout.p)

    def forward(self, clips: torch.Tensor, mask: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
        lengths = mask.sum(1).tolist()
        edges = {length: edges_of(length, len(actions)) for length in set(lengths)}
        done = []
        for video, length in zip(clips, lengths):
            nodes = torch.cat([video[:length], actions])
            source, target = edges[length]
            for index, layer in enumerate(self.layers):
                summed = torch.zeros_like(nodes).index_add(0, target, nodes[source])
                count = torch.zeros(len(nodes)).index_add(0, target, torch.ones(len(target))).clamp_min(1)
                nodes = layer(nodes, summed / count[:, None])
                if index == 0:
                    nodes = self.dropout(torch.relu(nodes))
            padded = nodes.new_zeros(clips.shape[1], nodes.shape[1])
            done.append(torch.cat([nodes[:length], padded[length:]]))
        return torch.stack(done)


class LibraryEncoder(nn.Module):
    """torch's own Transformer encoder in the place of ours."""

    def __init__(self, ours: Encoder) -> None:
        super().__init__()
        self.own = nn.TransformerEncoder(ours.layers[0], len(ours.layers), ours.norm, enable_nested_tensor=False)
        self.own.load_state_dict(ours.state_dict())

    def forward(self, clips: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return self.own(clips, src_key_padding_mask=~mask) * mask[..., None]


class LibraryDecoder(nn.Module):
    """torch's own Transformer decoder in the place of ours."""

    def __init__(self, ours: Decoder) -> None:
        super().__init__()
        self.own = nn.TransformerDecoder(ours.layers[0], len(ours.layers), ours.norm)
        self.own.load_state_dict(ours.state_dict())

    def forward(self, queries: torch.Tensor, clips: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return self.own(queries.expand(len(clips), -1, -1), clips, memory_key_padding_mask=~mask)


class LibraryAVCF(nn.Module):
    """AVCF with torch's own Transformer decoder."""

    def __init__(self, ours: AVCF) -> None:
        super().__init__()
        self.decoder, self.clip_wise = LibraryDecoder(ours.decoder).own, ours.clip_wise

    def forward(self, visual: torch.Tensor, audio: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        aligned = self.decoder(visual, audio, tgt_key_padding_mask=~mask, memory_key_padding_mask=~mask)
        matched = project(self.clip_wise, torch.cat([visual, audio], -1), mask)
        return (aligned + matched) * mask[..., None]


def straightforward(ours: MLAVL) -> MLAVL:
    """The same head and weights out of library parts and edge lists."""
    head = copy.deepcopy(ours)
    head.s2ce.encoder = LibraryEncoder(head.s2ce.encoder)
    head.pgt.decoder = LibraryDecoder(head.pgt.decoder)
    head.mag2_visual = EdgeListMAG2(head.mag2_visual)
    if ours.has_audio:
        head.avcf = LibraryAVCF(head.avcf)
        head.mag2_audio = EdgeListMAG2(head.mag2_audio)
    return head


MANY_IN_COMMON = 20


def dense_triplet(patterns: torch.Tensor, margin: float) -> torch.Tensor:
    """The batch-hard triplet loss with gradients through the whole matrix of distances."""
    batch, num_patterns, dim = patterns.shape
    flat = F.normalize(patterns.reshape(batch * num_patterns, dim), dim=-1, eps=1e-8)
    distance = 1 - flat @ flat.T
    label = torch.arange(num_patterns).repeat(batch)
    same = label[:, None] == label[None]
    positive = distance.masked_fill(~same, 0.0).amax(dim=1)
    negative = distance.masked_fill(same, float("inf")).amin(dim=1)
    return F.relu(positive - negative + margin).mean()


def step(head: nn.Module, optimizer: torch.optim.Optimizer, batch: Batch, precision: str) -> float:
    """As `longtake.train.engine.loop` takes one."""
    began = time.perf_counter()
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
        output = head(batch)
    loss, _ = total_loss(output, batch.target01, TrainSettings())
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
    return time.perf_counter() - began


def plain_loss(head: nn.Module, batch: Batch) -> torch.Tensor:
    output, settings = head(batch), TrainSettings()
    loss = settings.mse_weight * F.mse_loss(output.score01, batch.target01)
    loss = loss + settings.triplet_weight * sum(
        dense_triplet(patterns, settings.margin) for patterns in output.patterns
    )
    return loss + settings.ce_weight * sum(alignment(logits, settings.label_smoothing) for logits in output.logits)


def require_equal(ours: MLAVL, plain: nn.Module, batch: Batch) -> None:
    """A yardstick that computes something else ends the command: scores, loss, or gradients of what both have under one name."""
    ours.eval(), plain.eval()
    scores = [head(batch).score01.detach() for head in (ours, plain)]
    losses = total_loss(ours(batch), batch.target01, TrainSettings())[0], plain_loss(plain, batch)
    found = {
        "scores": (float((scores[0] - scores[1]).abs().max()), 1e-5),
        "losses": (abs((losses[0] - losses[1]).item()), 1e-4 * abs(losses[1].item())),
    }
    for loss in losses:
        loss.backward()
    theirs = dict(plain.named_parameters())
    for name, parameter in ours.named_parameters():
        if name in theirs and parameter.grad is not None:
            gradient = theirs[name].grad
            # Float32 sums in another order; another loss would differ by as much as it is.
            found[f"gradients of {name}"] = (
                float((parameter.grad - gradient).norm()),
                1e-2 * float(gradient.norm()) + 1e-6,
            )
        parameter.grad = None
    plain.zero_grad()
    if len(found) < MANY_IN_COMMON:
        raise SystemExit("the yardstick has no parameters under our names")
    for what, (difference, allowed) in found.items():
        if difference > allowed:
            raise SystemExit(
                f"the yardstick computes something else: {what} differ by {difference:g}, more than {allowed:g}"
            )


def plain_step(head: nn.Module, optimizer: torch.optim.Optimizer, batch: Batch) -> float:
    began = time.perf_counter()
    loss = plain_loss(head, batch)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return time.perf_counter() - began


def simulated_batch(rng: np.random.Generator, batch_size: int, clips: int, shortest: int) -> Batch:
    lengths = rng.integers(shortest, clips + 1, size=(batch_size, 1))
    mask = torch.from_numpy(np.arange(clips)[None] < lengths)
    features = torch.randn(batch_size, clips, 1024) * mask[..., None]
    sound = torch.randn(batch_size, clips, 768) * mask[..., None]
    return Batch(features, mask, torch.rand(batch_size), tuple(range(batch_size)), sound)


def measure(
    kind: type[MLAVL], batch: Batch, actions: int, rounds: int, names: tuple[str, ...]
) -> dict[str, list[float]]:
    """For each round the mean of `STEPS` steps."""
    rng = np.random.default_rng(0)
    counts = {"visual_actions": actions, "audio_actions": actions, "visual_grades": 6, "audio_visual_grades": 12}
    texts = {name: rng.normal(size=(n, 512)).astype(np.float32) for name, n in counts.items()}
    ours = kind(1024, kind.Settings(), Prototypes(texts, True), audio_dim=768)
    plain, rounded = straightforward(ours), copy.deepcopy(ours)
    require_equal(ours, plain, batch)
    heads = {name: head.train() for name, head in ((FLOAT32, ours), (BFLOAT16, rounded), (PLAIN, plain))}
    # The published code takes torch's plain Adam; ours is `longtake.train.engine.loop`'s.
    optimizers = {
        name: torch.optim.Adam(head.parameters(), lr=1e-3, fused=True if name != PLAIN else None)
        for name, head in heads.items()
    }
    takes = {
        FLOAT32: lambda: step(ours, optimizers[FLOAT32], batch, "float32"),
        BFLOAT16: lambda: step(rounded, optimizers[BFLOAT16], batch, "bfloat16"),
        PLAIN: lambda: plain_step(plain, optimizers[PLAIN], batch),
    }
    for name in names:
        takes[name]()
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(rounds):
        for name, values in seconds.items():
            values.append(float(np.mean([takes[name]() for _ in range(STEPS)])))
    return seconds


@click.command()
@click.option("--batch", "batch_size", default=32, show_default=True)
@click.option("--clips", default=68, show_default=True)
@click.option("--actions", default=32, show_default=True)
@click.option("--threads", "numbers_of_threads", default=(1, 2), multiple=True, show_default=True)
@click.option("--rounds", default=5, show_default=True)
@click.option("--json", "json_path", type=click.Path(path_type=Path))
def main(
    batch_size: int, clips: int, actions: int, numbers_of_threads: tuple[int, ...], rounds: int, json_path: Path | None
) -> None:
    torch.manual_seed(0)
    tables = []
    ours, without = ((FLOAT32, BFLOAT16), "") if has_bfloat16() else ((FLOAT32,), WITHOUT_BFLOAT16)
    cases = (
        (MLAVL, clips, "Pictures and sound, `avcf`"),
        (VisualMLAVL, clips, "Pictures alone, `pgt`"),
        (MLAVL, clips // 2, f"Pictures and sound, `avcf`, videos of {clips // 2} to {clips} clips"),
    )
    for kind, shortest, title in cases:
        batch = simulated_batch(np.random.default_rng(0), batch_size, clips, shortest)
        for threads in numbers_of_threads:
            torch.set_num_threads(threads)
            seconds = measure(kind, batch, actions, rounds, (*ours, PLAIN))
            found = (
                ratios(
                    f"{name} / {PLAIN}",
                    seconds[name],
                    seconds[PLAIN],
                    at_most=AT_MOST,
                    headline=kind is MLAVL and shortest == clips,
                )
                for name in ours
            )
            rows = tuple(Row(name, "s", tuple(values)) for name, values in seconds.items())
            tables.append(Table(f"{title}, threads: {threads}{without}", rows, tuple(found)))
    result = Result(
        "Training",
        f"A training step of MLAVL's head against a straightforward one{without}",
        "python benchmarks/training.py"
        + "".join(f" --threads {number}" for number in numbers_of_threads)
        + f" --batch {batch_size} --clips {clips} --actions {actions} --rounds {rounds}",
        Machine.this(threads=max(numbers_of_threads)),
        tuple(tables),
        simulated="features and texts",
        notes=(
            f"Batch {batch_size}, {clips} clips of 1024 (sound of 768), {actions} actions. The yardstick is the same head and the "
            "same result from torch's own Transformer layers, dropout and Adam, a triplet loss over the whole matrix of distances, "
            "and edge lists made in Python, batch looped over for each modality.",
        ),
    )
    result.tell(json_path)


if __name__ == "__main__":
    main()
