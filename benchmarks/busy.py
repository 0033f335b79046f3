"""Training steps while one core is busy with other work, by how long threads spin: python benchmarks/busy.py [--json FILE]

SIMULATED features. Each way to wait is tried in a process of its own, since OpenMP reads it when torch is loaded: on the machine as it is,
and next to a process that computes all the time. Two threads. Run it on an idle machine with two cores; it takes less than two minutes.
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

DEFAULT = "OpenMP's default"
OURS = f"the commands' choice, {SPIN_COUNT} turns"
WAYS = {
    DEFAULT: None,
    "1000 turns": "1000",
    OURS: SPIN_COUNT,
    "100000 turns": "100000",
}
STEPS = (("gdlt", "float32", 124), ("gdlt", "bfloat16", 124), ("avcf", "bfloat16", 68))
LEAST_STEPS, MOST_STEPS = 2, 12
BATCH = 16


def measure(budget_seconds: float) -> None:
    """In a process of its own: the seconds of steps as JSON."""
    import torch
    from heads import Trained, make_batch, make_head

    from longtake.train.engine.settings import TrainSettings

    torch.set_num_threads(2)
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


def measured(count: str | None, busy: bool, budget_seconds: float) -> dict[str, float]:
    clean = {name: value for name, value in os.environ.items() if name not in (*CHOSEN_BY_USERS, "OMP_NUM_THREADS")}
    other = subprocess.Popen([sys.executable, "-c", "while True: pass"]) if busy else None
    try:
        done = subprocess.run(
            [sys.executable, __file__, "--measure", "--budget", str(budget_seconds)],
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
@click.option("--measure", "inside", is_flag=True, hidden=True)
@click.option("--json", "json_path", type=click.Path(path_type=Path))
def main(budget: float, inside: bool, json_path: Path | None) -> None:
    if inside:
        return measure(budget)
    machine = Machine.this(threads=2)
    found = {}
    for busy in (False, True):
        for way, count in WAYS.items():
            click.echo(f"{way}, {'one core busy' if busy else 'nothing else runs'} ...", err=True)
            found[way, busy] = measured(count, busy, budget)
    tables = []
    for busy in (False, True):
        for step in found[DEFAULT, False]:
            rows = tuple(Row(way, "s", (found[way, busy][step],)) for way in WAYS)
            # On an idle machine the choice may cost 5%; on a busy one it must not cost more than half of what spinning does.
            bound = {"at_most": 0.75} if busy else {"at_most": 1.05}
            ours = ratios(f"{OURS} / {DEFAULT}", (found[OURS, busy][step],), (found[DEFAULT, busy][step],), **bound)
            tables.append(
                Table(
                    f"`{step.replace(', ', '`, ')}, {'one core busy' if busy else 'nothing else runs'}", rows, (ours,)
                )
            )
    Result(
        "Training",
        "A training step next to other work, by how long threads wait in a loop",
        "python benchmarks/busy.py",
        machine,
        tuple(tables),
        simulated="features are random numbers",
    ).tell(json_path)


if __name__ == "__main__":
    main()
