"""Every head in float32 and in bfloat16: python benchmarks/precision.py [--head NAME ...] [--json FILE]

SIMULATED features with a planted score. Of each head that is trained by gradient it says

- the change of scores: the head as float32 has trained it scores other videos in both precisions; the root of the mean square of the difference,
  as a share of the score's range;
- the loss of rank: trained in bfloat16 from the same start, how much lower the rank correlation with the planted score is, the mean over seeds;
- the time of a step in bfloat16 over that in float32, on one thread, in turns, at the size of Rhythmic Gymnastics.

`precision=auto` takes bfloat16 for the heads whose attribute `bfloat16` says so: those within all three bounds. Run it on a processor with bfloat16.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import click
import numpy as np
import torch
from heads import Trained, by_gradient, make_batch, make_head
from measured import Machine, Ratio, Result, Row, Table, has_bfloat16
from scipy.stats import spearmanr

from longtake.train.engine.losses import autocast
from longtake.train.engine.settings import BFLOAT16, FLOAT32, TrainSettings
from longtake.train.heads import get_head
from longtake.train.heads.base import Batch

MOST_CHANGE = 0.01
"""Of the score's range: a tenth of what separates neighbours among the best heads."""
MOST_LOSS = 0.03
"""Of rank correlation; seeds differ by as much."""
MOST_TIME = 0.9
"""A gain below this is not worth other numbers."""
PRECISIONS = (FLOAT32, BFLOAT16)


def planted(name: str, dim: int, clips: int, train: int, test: int) -> tuple[Batch, Batch]:
    """A batch to train on and one to test on; along three directions, clips follow the score."""
    head = make_head(name, dim)
    made = []
    for size in (train, test):
        batch = make_batch(replace(head.batch_needs, exemplars=None), size, clips, dim)
        for table in (batch.clips, *batch.streams.values()):
            table[..., :3] += (4 * batch.target01 - 2)[:, None, None]
        made.append(batch)
    if head.batch_needs.exemplars is not None:
        first = made[0]
        made = [
            replace(one, exemplar=first, voters=((torch.arange(len(one.rows)) + 1) % train)[:, None]) for one in made
        ]
    return made[0], made[1]


def scores(trained: Trained, batch: Batch, precision: str) -> np.ndarray:
    trained.head.eval()
    with torch.inference_mode(), autocast(torch.device("cpu"), TrainSettings(precision=precision)):
        return trained.head(batch).score01.float().numpy()


def rank(found: np.ndarray, batch: Batch) -> float:
    return float(spearmanr(found, batch.target01.numpy())[0])


def of_head(name: str, seeds: int, steps: int, size: tuple[int, int], lr: float) -> tuple[list[float], list[float]]:
    """The change of scores and the loss of rank, one of each a seed."""
    dim, clips = size
    changes, losses = [], []
    for seed in range(seeds):
        torch.manual_seed(seed)
        training, test = planted(name, dim, clips, 32, 64)
        found = {}
        for precision in PRECISIONS:
            torch.manual_seed(seed)
            trained = Trained(
                make_head(name, dim), training, TrainSettings(optimizer="adam", lr=lr, precision=precision)
            )
            for _ in range(steps):
                trained.step()
            found[precision] = scores(trained, test, precision)
            if precision == FLOAT32:
                changes.append(float(np.sqrt(np.mean((scores(trained, test, BFLOAT16) - found[FLOAT32]) ** 2))))
        losses.append(rank(found[FLOAT32], test) - rank(found[BFLOAT16], test))
    return changes, losses


def times(name: str, rounds: int) -> list[float]:
    """bfloat16 over float32, of steps in turns: the processor's time, which other work does not change much."""
    made = {}
    for precision in PRECISIONS:
        torch.manual_seed(0)
        head = make_head(name, 1024)
        batch = make_batch(head.batch_needs, 8, 68, 1024)
        made[precision] = Trained(head, batch, TrainSettings(optimizer="adam", lr=1e-4, precision=precision))
        made[precision].step()
    taken: dict[str, list[float]] = {precision: [] for precision in PRECISIONS}
    for _ in range(rounds):
        for precision in PRECISIONS:
            began = time.process_time()
            made[precision].step()
            taken[precision].append(time.process_time() - began)
    return [b / a for a, b in zip(taken[FLOAT32], taken[BFLOAT16])]


@click.command()
@click.option("--head", "names", multiple=True, help="May be repeated. Default: all that are trained by gradient.")
@click.option("--seeds", default=2, show_default=True)
@click.option("--steps", default=30, show_default=True)
@click.option("--dim", default=128, show_default=True)
@click.option("--clips", default=16, show_default=True)
@click.option("--lr", default=1e-3, show_default=True, help="At 0.001, mvla gives all videos one score: try 0.0001.")
@click.option("--rounds", default=3, show_default=True, help="Of the times; 0 leaves them out.")
@click.option("--json", "json_path", type=click.Path(path_type=Path))
def main(
    names: tuple[str, ...], seeds: int, steps: int, dim: int, clips: int, lr: float, rounds: int, json_path: Path | None
) -> None:
    torch.set_num_threads(1)
    if not has_bfloat16():
        return click.echo("skipped: this processor does not compute in bfloat16")
    tables = []
    for name in names or by_gradient():
        changes, losses = of_head(name, seeds, steps, (dim, clips), lr)
        rows = (
            Row("change of scores / range", "", tuple(changes), f"at most {MOST_CHANGE}"),
            Row("loss of rank", "", (float(np.mean(losses)),), f"at most {MOST_LOSS}"),
        )
        taken = tuple(times(name, rounds))
        found = (Ratio("step in bfloat16 / in float32", taken, at_most=MOST_TIME),) if taken else ()
        fits = (
            max(changes) <= MOST_CHANGE
            and np.mean(losses) <= MOST_LOSS
            and bool(found)
            and found[0].median <= MOST_TIME
        )
        says = get_head(name).bfloat16
        verdict = f"`{name}`: auto takes {BFLOAT16 if says else FLOAT32}" + (
            "" if fits == says else ", **against these numbers**"
        )
        tables.append(Table(verdict, rows, found))
        click.echo(
            f"{verdict}: change {max(changes):.4f}, loss {np.mean(losses):+.3f}, time {found[0].median if found else 0:.2f}",
            err=True,
        )
    Result(
        "Training",
        "Heads in float32 and in bfloat16",
        "python benchmarks/precision.py",
        Machine.this(threads=1),
        tuple(tables),
        simulated="features are random numbers with a planted score",
    ).tell(json_path)


if __name__ == "__main__":
    main()
