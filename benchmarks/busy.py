"""Training steps while one core is busy with other work, by how long threads spin: python benchmarks/busy.py [--rounds 3] [--json FILE]

SIMULATED features. Each way to wait is tried in a process of its own, since OpenMP reads it when torch is loaded: on the machine as it is,
and next to a process that computes all the time. Two threads, and one for comparison: next to a busy core, two threads cannot do better. Run it on
an idle machine with two cores; it takes two minutes a round.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import click
from measured import Machine, Result, Row, Table, ratios

from longtake.threads import CHOSEN_BY_USERS, SPIN_COUNT

DEFAULT = "OpenMP's default, 300000 turns"
OURS = f"the commands' choice, {SPIN_COUNT} turns"
ONE = "one thread"
COUNTS = {
    DEFAULT: None,
    "1000 turns": "1000",
    "3000 turns": "3000",
    "10000 turns": "10000",
    "30000 turns": "30000",
    OURS: SPIN_COUNT,
    ONE: None,
}
WAYS = {way: count for way, count in COUNTS.items() if way == OURS or count != SPIN_COUNT}
MOST_IDLE, MOST_BUSY = 1.05, 0.75
"""Over OpenMP's default where nothing else runs, and next to a busy core."""
STEPS = (("gdlt", "float32", 124), ("gdlt", "bfloat16", 124), ("avcf", "bfloat16", 68))
LEAST_STEPS, MOST_STEPS = 2, 12
BATCH = 16


def measure(budget_seconds: float, threads: int) -> None:
    """In a process of its own: the seconds of steps as JSON."""
    import torch
    from heads import Trained, make_batch, make_head

    from longtake.train.engine.settings import TrainSettings

    torch.set_num_threads(threads)
    found = {}
    for name, precision, clips in STEPS:
        torch.manual_seed(0)
        head = make_head(name, 1024)
        trained = Trained(
            head,
            make_batch(head.batch_needs, BATCH, clips, 1024),
            TrainSettings(optimizer="adam", lr=1e-4, precision=precision),
        )
        trained.step()
        values: list[float] = []
        began = time.perf_counter()
        while len(values) < LEAST_STEPS or (len(values) < MOST_STEPS and time.perf_counter() - began < budget_seconds):
            values.append(trained.step() / 1000)
        found[f"{name}, {precision}"] = statistics.median(values)
    print(json.dumps(found))


def measured(way: str, busy: bool, budget_seconds: float) -> dict[str, float]:
    count, threads = WAYS[way], 1 if way == ONE else 2
    clean = {name: value for name, value in os.environ.items() if name not in (*CHOSEN_BY_USERS, "OMP_NUM_THREADS")}
    other = subprocess.Popen([sys.executable, "-c", "while True: pass"]) if busy else None
    try:
        done = subprocess.run(
            [sys.executable, __file__, "--measure", str(threads), "--budget", str(budget_seconds)],
            env=clean if count is None else {**clean, "GOMP_SPINCOUNT": count},
            stdout=subprocess.PIPE, text=True, check=True,
        )  # fmt: skip
    finally:
        if other is not None:
            other.kill()
            other.wait()
    return dict(json.loads(done.stdout))


@click.command()
@click.option("--budget", default=1.0, show_default=True, help="Seconds for the steps of one head.")
@click.option("--rounds", default=1, show_default=True)
@click.option("--measure", "inside", type=int, hidden=True)
@click.option("--json", "json_path", type=click.Path(path_type=Path))
def main(budget: float, rounds: int, inside: int | None, json_path: Path | None) -> None:
    if inside:
        return measure(budget, inside)
    machine = Machine.this(threads=2)
    found: dict[tuple[str, bool, str], list[float]] = {}
    for number in range(rounds):
        for busy in (False, True):
            for way in WAYS:
                click.echo(f"{number + 1}: {way}, {'one core busy' if busy else 'nothing else runs'} ...", err=True)
                for step, value in measured(way, busy, budget).items():
                    found.setdefault((way, busy, step), []).append(value)
    tables = []
    for busy in (False, True):
        for step in dict.fromkeys(step for _, _, step in found):
            values = {way: tuple(found[way, busy, step]) for way in WAYS}
            rows = tuple(Row(way, "s", values[way]) for way in WAYS)
            bounds = [{"at_most": MOST_BUSY if busy else MOST_IDLE}, {}]
            found_ratios = tuple(
                ratios(f"{OURS} / {other}", values[OURS], values[other], **bound)
                for other, bound in zip((DEFAULT, ONE), bounds)
            )
            where = "one core busy" if busy else "nothing else runs"
            tables.append(Table(f"`{step.replace(', ', '`, ')}, {where}", rows, found_ratios))
    Result(
        "Training",
        "A training step next to other work, by how long threads wait in a loop",
        f"python benchmarks/busy.py --rounds {rounds}",
        machine,
        tuple(tables),
        simulated="features are random numbers",
    ).tell(json_path)


if __name__ == "__main__":
    main()
