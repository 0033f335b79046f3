"""One training step of every head, with GDLT as the unit: python benchmarks/heads.py [--batch 8] [--head NAME ...] [--json FILE]

SIMULATED features of the shapes of Rhythmic Gymnastics (68 clips) and Fis-V (124), 1024 values a clip, sound of 768, one exemplar a video. A
step is forward, loss, backward and optimizer, on one thread, in float32 and bfloat16, in turns in one run. Where the published module can be
written plainly (yardsticks), it is measured in the same turns, with torch's own Adam, each first every other time: no head takes more than its
time. A head that sees no more than the mean of the clips gets the means, as in training, where they are taken once and not in each step.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, fields, replace
from pathlib import Path

import click
import numpy as np
import torch
from measured import WITHOUT_BFLOAT16, Machine, Result, Row, Table, has_bfloat16, ratios
from torch import nn
from yardsticks import PLAIN

from longtake.train.engine.loop import optimizer_of
from longtake.train.engine.losses import autocast, batch_loss
from longtake.train.engine.settings import BFLOAT16, FLOAT32, TrainSettings
from longtake.train.heads import TABLE, get_head
from longtake.train.heads.base import Batch, Head, Needs, Prototypes

UNIT = "gdlt"
WITH_AUDIO = ("action-net", "skating-mixer", "pamfn")
"""Their yardsticks read a second stream."""
AS_PUBLISHED = " as published"
SHAPES = {"Rhythmic Gymnastics": 68, "Fis-V": 124}
AUDIO_DIM, TEXT_DIM = 768, 512
TEXTS = {"grades": 4, "scores": 101, "visual_actions": 32, "audio_actions": 32, "audio_visual_grades": 12, "visual_grades": 6,
         "stages": 12, "videos": 24}  # fmt: skip
JUDGES = {"judges": "a,b,c,d,e,f,g", "drop": 2, "times": "difficulty"}


def by_gradient() -> list[str]:
    return [name for name in TABLE if not get_head(name).closed_form]


def make_head(name: str, dim: int) -> Head:
    head_class = get_head(name)
    known = {field.name for field in fields(head_class.Settings)}
    settings = head_class.Settings(**{key: value for key, value in JUDGES.items() if key in known})
    rng = np.random.default_rng(0)
    texts = {group: rng.normal(size=(n, TEXT_DIM)).astype(np.float32) for group, n in TEXTS.items()}
    streams = dict.fromkeys(head_class.needs(settings).streams, dim)
    return head_class(dim, settings, Prototypes(texts, True), AUDIO_DIM, streams)


def make_batch(needs: Needs, size: int, clips: int, dim: int) -> Batch:
    times = torch.arange(clips + 1.0)
    stages = needs.boundaries + 1
    made = Batch(
        torch.randn(size, clips, dim), torch.ones(size, clips, dtype=torch.bool), torch.rand(size), tuple(range(size)),
        audio=torch.randn(size, clips, AUDIO_DIM),
        streams={name: torch.randn(size, clips, dim) for name in needs.streams},
        seconds=torch.stack([times[:-1], times[1:]], -1).expand(size, -1, -1),
        boundaries=torch.linspace(0, clips, stages + 1)[1:-1].expand(size, -1) if needs.boundaries else None,
        terms=torch.zeros(size, stages + 1, dtype=torch.long) if needs.terms and needs.boundaries else None,
        scores=torch.ones(size, len(needs.columns)),
    )  # fmt: skip
    if needs.exemplars is None:
        return made
    return replace(made, exemplar=made, voters=torch.arange(size).roll(1)[:, None])


def means_of(batch: Batch) -> Batch:
    """The batch of videos of one clip each, the mean of their clips."""
    return replace(batch, clips=batch.clips.mean(1, keepdim=True), mask=batch.mask[:, :1])


@dataclass
class Trained:
    """A head, its batch and its optimizer in one precision."""

    head: Head
    batch: Batch
    settings: TrainSettings

    def __post_init__(self) -> None:
        self.head.train()
        self.optimizer = optimizer_of(self.head.parameters(), self.settings)

    def step(self) -> float:
        """Milliseconds."""
        began = time.perf_counter()
        loss, _ = batch_loss(self.head, self.batch, self.settings)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return 1000 * (time.perf_counter() - began)


@dataclass
class Plain:
    """The published module, written plainly, and torch's Adam."""

    network: nn.Module
    batch: Batch
    settings: TrainSettings

    def __post_init__(self) -> None:
        self.network.train()
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=1e-4)

    @classmethod
    def of(cls, name: str, ours: Head, dim: int, batch: Batch, settings: TrainSettings) -> Plain:
        widths = (dim, AUDIO_DIM) if name in WITH_AUDIO else (dim,)
        network = PLAIN[name](ours, *widths)
        found, expected = (sum(one.numel() for one in module.parameters()) for module in (network, ours))
        if found != expected:
            raise SystemExit(f"the yardstick of {name} is another network: {found} parameters instead of {expected}")
        return cls(network, batch, settings)

    def step(self) -> float:
        """Milliseconds."""
        began = time.perf_counter()
        with autocast(self.batch.clips.device, self.settings):
            loss = self.network(self.batch)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return 1000 * (time.perf_counter() - began)


@click.command()
@click.option("--head", "names", multiple=True, help="May be repeated. Default: all that are trained by gradient.")
@click.option("--batch", "size", default=8, show_default=True)
@click.option("--dim", default=1024, show_default=True)
@click.option("--clips", type=int, help="Of every shape.  [default: those of the datasets]")
@click.option("--rounds", default=4, show_default=True)
@click.option("--json", "json_path", type=click.Path(path_type=Path))
def main(names: tuple[str, ...], size: int, dim: int, clips: int | None, rounds: int, json_path: Path | None) -> None:
    torch.set_num_threads(1)
    chosen = list(dict.fromkeys((UNIT, *(names or by_gradient()))))
    precisions = (FLOAT32, BFLOAT16) if has_bfloat16() else (FLOAT32,)
    tables = []
    for dataset, window in SHAPES.items():
        torch.manual_seed(0)
        made: dict[tuple[str, str], Trained | Plain] = {}
        for name in chosen:
            batch = make_batch(make_head(name, dim).batch_needs, size, clips or window, dim)
            for precision in precisions:
                settings = TrainSettings(optimizer="adam", lr=1e-4, precision=precision)
                head = make_head(name, dim)
                made[name, precision] = Trained(head, means_of(batch) if head.sees_means else batch, settings)
                if name in PLAIN:
                    made[name + AS_PUBLISHED, precision] = Plain.of(name, make_head(name, dim), dim, batch, settings)
        for one in made.values():
            one.step()
        taken: dict[tuple[str, str], list[float]] = {key: [] for key in made}
        for index in range(rounds):
            for key, one in reversed(made.items()) if index % 2 else made.items():
                taken[key].append(one.step())
        for precision in precisions:
            rows = tuple(Row(name, "ms", tuple(values)) for (name, at), values in taken.items() if at == precision)
            unit = taken[UNIT, precision]
            of_unit = tuple(ratios(f"{name} / {UNIT}", taken[name, precision], unit) for name in chosen[1:])
            of_plain = tuple(
                ratios(f"{name} / {name}{AS_PUBLISHED}", taken[name, precision], taken[name + AS_PUBLISHED, precision], at_most=1)
                for name in chosen if name in PLAIN
            )  # fmt: skip
            title = f"{dataset}, {size} videos of {clips or window} clips, {precision}"
            tables.append(Table(title + ("" if has_bfloat16() else WITHOUT_BFLOAT16), rows, of_plain + of_unit))
    asked = "".join(f" --head {name}" for name in names)
    result = Result(
        "Training",
        "A training step of every head",
        f"python benchmarks/heads.py --batch {size} --rounds {rounds}{asked}",
        Machine.this(threads=1),
        tuple(tables),
        simulated="features, sound and texts",
        notes=(
            "`as published` is the published module without masks, from torch's own layers (benchmarks/yardsticks), with as many parameters as the head; a "
            "Python loop over steps, groups or videos where the published code has one. The other heads have no published code, or it reads no vectors of clips.",
        ),
    )
    result.tell(json_path)


if __name__ == "__main__":
    main()
