"""Networks and training steps with large arrays kept in the process, and as glibc has them: python benchmarks/allocator.py [--rounds 3] [--json FILE]

A run keeps the memory of large arrays while it computes (longtake/allocator.py). Each backbone's batch, with random weights, and a training step of
each head, on SIMULATED features, both ways in turns, in processes of their own: seconds of a batch, and the most memory that the process ever held.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import click
from extraction import clock
from measured import Machine, Result, Row, Table, most_memory, ratios

from longtake.allocator import large_arrays_kept

KEPT, MAPPED = "kept", "as glibc has them"
BACKBONES, HEADS = ("i3d", "vst", "c3d", "resnet50"), ("gdlt", "t2cr", "pcln")
AT_MOST, MEMORY_AT_MOST = 0.95, 1.5
"""Of a network's time, and of its memory."""
STEPS, CLIPS, BATCH = 3, 68, 8


def measure(name: str, way: str) -> None:
    """In a process of its own: seconds and megabytes as JSON."""
    with large_arrays_kept() if way == KEPT else nullcontext():
        work = step_of(name) if name in HEADS else batch_of(name)
        work()
        seconds = statistics.median(clock(work) for _ in range(STEPS))
    print(json.dumps([seconds, most_memory() / 1e6]))


def batch_of(name: str) -> Callable[[], object]:
    from longtake.extract.backbones import build
    from longtake.extract.backbones.to_openvino import example_clips

    backbone = build(name, device="cpu")
    backbone.init_random(0)
    spec, length = backbone.spec, backbone.spec.clips.length
    clips = example_clips(spec, spec.batch_size // (length if spec.modality == "image" else 1) or 1, length)
    return lambda: backbone.forward(clips)


def step_of(name: str) -> Callable[[], object]:
    from heads import Trained, make_batch, make_head

    from longtake.train.engine.settings import TrainSettings

    head = make_head(name, 1024)
    batch = make_batch(head.batch_needs, BATCH, CLIPS, 1024)
    return Trained(head, batch, TrainSettings(optimizer="adam", lr=1e-4)).step


@click.command()
@click.option(
    "--only", multiple=True, help=f"A backbone or head; may be repeated.  [default: {', '.join(BACKBONES + HEADS)}]"
)
@click.option("--rounds", default=3, show_default=True)
@click.option("--measure", "inside", nargs=2, hidden=True)
@click.option("--json", "json_path", type=click.Path(path_type=Path))
def main(only: tuple[str, ...], rounds: int, inside: tuple[str, str] | None, json_path: Path | None) -> None:
    if inside:
        return measure(*inside)
    import torch

    tables = []
    for name in only or BACKBONES + HEADS:
        found: dict[str, list[list[float]]] = {KEPT: [], MAPPED: []}
        for _ in range(rounds):
            for way, values in found.items():
                call = [sys.executable, __file__, "--measure", name, way]
                values.append(json.loads(subprocess.run(call, stdout=subprocess.PIPE, text=True, check=True).stdout))
        seconds, memory = (
            {way: tuple(one[place] for one in values) for way, values in found.items()} for place in (0, 1)
        )
        rows = [Row(f"large arrays {way}", "s", values) for way, values in seconds.items()]
        rows += [Row(f"memory, large arrays {way}", "MB", values) for way, values in memory.items()]
        compared = (
            ratios(f"{name}: time, kept / as glibc has them", seconds[KEPT], seconds[MAPPED], **({} if name in HEADS else {"at_most": AT_MOST})),
            ratios(f"{name}: memory, kept / as glibc has them", memory[KEPT], memory[MAPPED], at_most=MEMORY_AT_MOST),
        )  # fmt: skip
        title = f"a training step of {BATCH} videos of {CLIPS} clips" if name in HEADS else "a batch"
        tables.append(Table(f"`{name}`, {title}", tuple(rows), compared))
        click.echo(f"{name}: done", err=True)
    Result(
        "Extraction",
        "Large arrays, kept in the process and as glibc has them",
        f"python benchmarks/allocator.py --rounds {rounds}",
        Machine.this(threads=torch.get_num_threads()),
        tuple(tables),
        simulated="Weights are random, inputs and features random numbers",
    ).tell(json_path)


if __name__ == "__main__":
    main()
