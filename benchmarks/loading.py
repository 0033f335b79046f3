"""The share of an epoch in which batches are made: python benchmarks/loading.py [--rounds 5] [--json FILE]

SIMULATED features of RG's size (200 training videos, 68 clips of 1024, for `avcf` sound of 768 too), batches of 32, one thread, trained by
`longtake.train.engine.loop`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path

import click
import numpy as np
import torch
from measured import WITHOUT_BFLOAT16, Machine, Result, Row, Table, has_bfloat16, ratios

from longtake.features.types import FeatureHeader
from longtake.train.data.batches import BatchMaker
from longtake.train.data.clip_table import ClipTable
from longtake.train.data.dataset import FeatureSet, ScoreScale
from longtake.train.engine import loop
from longtake.train.engine.job import Job, Task
from longtake.train.engine.settings import TrainSettings
from longtake.train.heads import get_head
from longtake.train.heads.base import Batch, Prototypes

CLIPS, BATCH = 68, 32
AT_MOST = 0.05
HEADS = "gdlt", "avcf"
TEXTS = {"visual_actions": 32, "audio_actions": 32, "visual_grades": 6, "audio_visual_grades": 12}
spent: list[float] = []
"""Seconds in which each batch was made."""


class Timed(BatchMaker):
    def train(self, *arguments: object, **options: object) -> Iterator[Batch]:
        batches = super().train(*arguments, **options)
        while True:
            began = time.perf_counter()
            batch = next(batches, None)
            spent.append(time.perf_counter() - began)
            if batch is None:
                return
            yield batch


def simulated(videos: int) -> FeatureSet:
    rng = np.random.default_rng(0)
    header = FeatureHeader("simulated", "video", 1024, "none", None, False, 16, 16, "pad", None)
    clips, sound = (torch.from_numpy(rng.normal(size=(videos * CLIPS, dim)).astype(np.float32)) for dim in (1024, 768))
    times = np.tile(np.arange(float(CLIPS)), videos)
    seconds, offsets = np.stack([times, times + 1], 1), np.arange(videos + 1) * CLIPS
    return FeatureSet(
        clips=ClipTable(header, clips, offsets, seconds),
        video_ids=tuple(f"v{number}" for number in range(videos)),
        splits=np.full(videos, "train", dtype=object),
        categories=np.full(videos, "", dtype=object),
        scores={"total": rng.uniform(size=videos)},
        audio=ClipTable(replace(header, dim=768), sound, offsets, seconds),
    )


@click.command()
@click.option("--videos", default=200, show_default=True)
@click.option("--rounds", default=5, show_default=True)
@click.option("--json", "json_path", type=click.Path(path_type=Path))
def main(videos: int, rounds: int, json_path: Path | None) -> None:
    torch.set_num_threads(1)
    loop.BatchMaker = Timed
    data, rng = simulated(videos), np.random.default_rng(1)
    texts = {name: rng.normal(size=(count, 512)).astype(np.float32) for name, count in TEXTS.items()}
    rows = np.arange(videos)
    tables = []
    precisions, without = (("float32", "bfloat16"), "") if has_bfloat16() else (("float32",), WITHOUT_BFLOAT16)
    for head, precision in product(HEADS, precisions):
        head_class = get_head(head)
        build = partial(head_class, 1024, head_class.Settings(), Prototypes(texts, True), 768)
        settings = TrainSettings(epochs=1, batch_size=BATCH, lr=1e-4, precision=precision)
        heard = data if head == "avcf" else replace(data, audio=None)
        task = Task(heard, ScoreScale("total", 0.0, 1.0, True), rows, rows[:2], CLIPS, 1.0)
        epochs, loading = [], []
        for number in range(rounds + 1):
            spent.clear()
            seconds = loop.fit(Job(task, build, settings, seed=number)).seconds_per_epoch
            # The first one warms up.
            if number:
                epochs.append(seconds)
                loading.append(sum(spent))
        found = Row("an epoch", "s", tuple(epochs)), Row("making its batches", "s", tuple(loading))
        share = ratios("batches / epoch", loading, epochs, at_most=AT_MOST, headline=precision == precisions[-1])
        tables.append(Table(f"`{head}`, {precision}{without}", found, (share,)))
    result = Result(
        "Training",
        f"The share of an epoch in which batches are made{without}",
        f"python benchmarks/loading.py --videos {videos} --rounds {rounds}",
        Machine.this(threads=1),
        tuple(tables),
        simulated="features, texts and labels",
    )
    result.tell(json_path)


if __name__ == "__main__":
    main()
