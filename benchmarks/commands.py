"""One `train heads` for twenty models against twenty of them: python benchmarks/commands.py [--rounds 3] [--json FILE]

SIMULATED features in RG's size (benchmarks/protocol.py), small heads by their published settings, 4 categories and 5 seeds. Twenty commands, one
after the other with all cores, are what a script of today starts; each starts Python, opens the store and loads the features again.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import click
from measured import Machine, Result, Row, Table, ratios
from protocol import write_dataset

from longtake.manifests.card import find_card

DATASET, HEADS, AT_MOST = "rg", ("i3d-mlp", "usdl"), 0.5


def command(store: Path, out: Path, head: str, *arguments: str) -> float:
    """Wall-clock seconds of one `train heads`."""
    call = [
        sys.executable,
        "-m",
        "longtake.train.cli",
        "heads",
        "--features",
        str(store),
        "--backbone",
        "planted-pictures",
    ]
    call += ["--head", head, "--out", str(out), "--no-floor", "--evaluate-every", "1000", "--quiet", *arguments]
    began = time.perf_counter()
    subprocess.run(call, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def measure(folder: Path, head: str, categories: Sequence[str], seeds: int, epochs: int, rounds: int) -> Table:
    store = folder / f"{DATASET}.h5"
    given = ("--epochs", str(epochs)) if epochs else ()
    number = len(categories) * seeds
    taken: dict[str, list[float]] = {f"{number} commands": [], "one command": []}
    for turn in range(rounds):
        at = folder / f"{head}-{turn}"
        one_by_one = 0.0
        for category in categories:
            for seed in range(seeds):
                one_by_one += command(store, at / f"{category}-{seed}", head, "--category", category, *given)
        chosen = [part for category in categories for part in ("--category", category)]
        together = command(store, at / "together", head, *chosen, "--seeds", str(seeds), *given)
        for name, seconds in zip(taken, (one_by_one, together)):
            taken[name].append(seconds)
    of_commands, of_one = taken.values()
    return Table(
        f"`{head}`, published settings, {number} models",
        tuple(Row(name, "s", tuple(values)) for name, values in taken.items()),
        (ratios(f"one command / {number} commands", of_one, of_commands, at_most=AT_MOST, headline=True),),
    )


@click.command()
@click.option("--rounds", default=3, show_default=True)
@click.option("--seeds", default=5, show_default=True)
@click.option("--category", "categories", multiple=True, help="May be repeated. Default: all of RG.")
@click.option("--epochs", default=0, help="Instead of the published number.")
@click.option("--head", "heads", multiple=True, default=HEADS, show_default=True)
@click.option("--json", "json_path", type=click.Path(path_type=Path))
def main(
    rounds: int, seeds: int, categories: tuple[str, ...], epochs: int, heads: tuple[str, ...], json_path: Path | None
) -> None:
    chosen = categories or tuple(find_card(DATASET).categories)
    with tempfile.TemporaryDirectory() as folder:
        write_dataset(Path(folder) / f"{DATASET}.h5", DATASET, None)
        tables = tuple(measure(Path(folder), head, chosen, seeds, epochs, rounds) for head in heads)
    Result(
        "Training",
        "One command for twenty models",
        "python benchmarks/commands.py" + "".join(f" --head {head}" for head in heads) + f" --rounds {rounds}",
        Machine.this(threads=len(os.sched_getaffinity(0))),
        tables,
        simulated="features in RG's size; labels are RG's own",
        notes=(
            "Start, loading and writing of results included. `--parallel auto` decides how the one command trains. The twenty run one after the other, each category five times with the same seed, which costs what five seeds cost.",
        ),
    ).tell(json_path)


if __name__ == "__main__":
    main()
