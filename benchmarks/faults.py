"""What is lost, doubled or read wrongly when things go wrong: python benchmarks/faults.py [--rounds 25] [--flips 300] [--json FILE]

Runs of `extract`, `features` and `train` are killed (kill -9) at random moments, meet a full disk, or each other, and are repeated: the store must be
that of an undisturbed run, bit for bit. Bytes of stores, parts, checkpoints and videos are changed at random: no value that differs may be read, no
traceback shown. Hostile files must not run code, and named pipes must not stop a command. Exit status 1 if anything of that happens.
"""

from __future__ import annotations

import random
import sys
import tempfile
from pathlib import Path

import click
from fault_files import FLIPS, hostile_files, videos_flipped
from fault_kills import KILLS
from fault_world import Tally, World
from measured import Machine, Ratio, Result, Table


def result_of(tallies: list[Tally], rounds: int, flips: int) -> Result:
    faults = sum(len(tally.faults) for tally in tallies)
    nothing = Ratio("lost, doubled or changed values, tracebacks, code that ran", (faults,), at_most=0)
    return Result(
        "Stores", "Kills, full disks, damage and hostile files", f"python benchmarks/faults.py --rounds {rounds} --flips {flips}",
        Machine.this(), (Table("", tuple(tally.row for tally in tallies), (nothing,)),),
        simulated="Features are the brightness of pictures; weights of the head are of one epoch",
    )  # fmt: skip


@click.command()
@click.option("--rounds", default=25, show_default=True, help="Of each kind of kill.")
@click.option("--flips", default=300, show_default=True, help="Stores, and checkpoints, with changed bytes.")
@click.option("--seed", default=0, show_default=True)
@click.option("--only", help="Only the kind with this function's name.")
@click.option("--json", "json_path", type=click.Path(path_type=Path))
def main(rounds: int, flips: int, seed: int, only: str | None, json_path: Path | None) -> None:
    plan = [(*item, rounds) for item in KILLS.items()] + [(*item, flips) for item in FLIPS.items()]
    plan += [(videos_flipped, ("videos with changed bytes", "videos"), max(1, flips // 12)),
             (hostile_files, ("pickles with code, pipes, folders, loops, devices", "commands"), 1)]  # fmt: skip
    names = [function.__name__ for function, _, _ in plan]
    if only not in (None, *names):
        raise click.UsageError(f"no kind {only}; there are {', '.join(names)}")
    tallies = []
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder), random.Random(seed))
        for function, (name, unit), count in plan:
            if only in (None, function.__name__):
                tallies.append(Tally(name, unit))
                for _ in range(count):
                    function(world, tallies[-1])
                if json_path:  # hours of work are not lost when this command is killed
                    result_of(tallies, rounds, flips).write(json_path)
                click.echo(f"{name}: {tallies[-1].tried} {unit}, {len(tallies[-1].faults)} faults", err=True)
    result_of(tallies, rounds, flips).tell(json_path)
    sys.exit(any(tally.faults for tally in tallies))


if __name__ == "__main__":
    main()
