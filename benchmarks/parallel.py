"""Twenty models at once against one by one: python benchmarks/parallel.py [--rounds 5] [--json FILE]

SIMULATED features of RG's size: 4 categories of 200 training and 50 test videos, 68 clips each, and 5 seeds. Each way trains the same models
for a few epochs, in turns in one run; both begin with the features in memory, and neither tests between epochs. What twenty commands
cost compared with one is what benchmarks/commands.py measures.
"""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path

import click
import numpy as np
import torch
from measured import Machine, Result, Row, Table, ratios

from longtake.features.types import FeatureHeader
from longtake.train.data.clip_table import ClipTable
from longtake.train.data.dataset import FeatureSet, ScoreScale
from longtake.train.engine.job import Job, Task
from longtake.train.engine.parallel import NONE, PROCESSES, STACKED, train_all
from longtake.train.engine.settings import TrainSettings
from longtake.train.heads import get_head

CATEGORIES, SEEDS, TRAIN, TEST, CLIPS = 4, 5, 200, 50, 68
AT_MOST = 1.0
"""Where `auto` takes a way, it must be worth taking."""
_DIRECT = {"optimizer": "adam", "lr": 1e-4}
CASES = (
    ("i3d-mlp", 1024, {"width": 32}, {**_DIRECT, "epochs": 4}, STACKED, True),
    ("usdl", 1024, {"width": 32}, {**_DIRECT, "mse_weight": 0.0, "epochs": 4}, STACKED, True),
    ("i3d-mlp", 1024, {}, {**_DIRECT, "epochs": 4}, STACKED, False),
    ("gdlt", 64, {"width": 32}, {"mse_weight": 1.0, "epochs": 2}, STACKED, False),
    ("gdlt", 64, {"width": 32}, {"mse_weight": 1.0, "epochs": 8}, PROCESSES, False),
)
"""Head, width of the features, the head's settings, the trainer's, the way, and whether `auto` takes it for this size.
One thread; two processes against one by one on one thread."""


def simulated(dim: int) -> FeatureSet:
    rng = np.random.default_rng(0)
    videos = CATEGORIES * (TRAIN + TEST)
    header = FeatureHeader("simulated", "video", dim, "none", None, False, 16, 16, "pad", None)
    clips = torch.from_numpy(rng.normal(size=(videos * CLIPS, dim)).astype(np.float32))
    times = np.tile(np.arange(float(CLIPS)), videos)
    return FeatureSet(
        clips=ClipTable(header, clips, np.arange(videos + 1) * CLIPS, np.stack([times, times + 1], 1)),
        video_ids=tuple(f"v{number}" for number in range(videos)),
        splits=np.array((["train"] * TRAIN + ["test"] * TEST) * CATEGORIES, dtype=object),
        categories=np.repeat([f"category {number}" for number in range(CATEGORIES)], TRAIN + TEST).astype(object),
        scores={"total": rng.uniform(size=videos)},
    )


def jobs_of(data: FeatureSet, head: str, head_settings: dict[str, object], settings: dict[str, object]) -> list[Job]:
    head_class = get_head(head)
    chosen = head_class.Settings(**head_settings)
    jobs = []
    for category in dict.fromkeys(data.categories):
        rows = (data.rows(split=split, category=category) for split in ("train", "test"))
        task = Task(data, ScoreScale("total", 0.0, 1.0, True), *rows, CLIPS, 1.0)
        build = partial(head_class, data.header.dim, chosen)
        trained = TrainSettings(**settings)
        jobs += [Job(task, build, trained, seed, head_class, chosen, 1_000_000) for seed in range(SEEDS)]
    return jobs


def seconds(jobs: list[Job], way: str) -> float:
    began = time.perf_counter()
    found = dict(train_all(jobs, way, lambda *_: None))
    assert len(found) == len(jobs)
    return time.perf_counter() - began


@click.command()
@click.option("--rounds", default=5, show_default=True)
@click.option("--way", "ways", multiple=True, default=(STACKED, PROCESSES), show_default=True)
@click.option("--json", "json_path", type=click.Path(path_type=Path))
def main(rounds: int, ways: tuple[str, ...], json_path: Path | None) -> None:
    torch.set_num_threads(1)
    tables = []
    for head, dim, head_settings, settings, way, chosen in CASES:
        if way not in ways:
            continue
        jobs = jobs_of(simulated(dim), head, head_settings, settings)
        # What is read or compiled once is neither way's.
        seconds(jobs[:1], NONE)
        taken: dict[str, list[float]] = {NONE: [], way: []}
        for _ in range(rounds):
            for one, values in taken.items():
                # Processes are as many as torch has threads.
                torch.set_num_threads(2 if one == PROCESSES else 1)
                values.append(seconds(jobs, one))
        what = ", ".join(f"{name} {value}" for name, value in head_settings.items())
        tables.append(
            Table(
                f"`{head}`{f', {what}' if what else ''}, features of {dim}, {settings['epochs']} epochs: {way}",
                tuple(Row(f"{len(jobs)} models, {one}", "s", tuple(values)) for one, values in taken.items()),
                (
                    ratios(f"{way} / one by one", taken[way], taken[NONE], at_most=AT_MOST if chosen else None,
                           headline=chosen),
                ),
            )
        )  # fmt: skip
    result = Result(
        "Training",
        f"Twenty models at once: {', '.join(ways)}",
        "python benchmarks/parallel.py " + " ".join(f"--way {way}" for way in ways) + f" --rounds {rounds}",
        Machine.this(threads=1),
        tuple(tables),
        simulated="features and labels",
        notes=(
            "A head that sees every clip, or has more than some 65,536 parameters, fills the processor with numbers, so that a stack saves "
            "nothing. The times above include the start of processes. `auto` takes only ways whose numbers are those of one by one: no "
            "stacks, and processes with as many threads as one by one has.",
        ),
    )
    result.tell(json_path)


if __name__ == "__main__":
    main()
