"""A small bench on planted features, for the tests of this folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from longtake.train.bench.file import read_bench
from longtake.train.bench.leaderboard import tables
from longtake.train.bench.sources import read_sources
from tests.train.planted import planted_store

FILE = """
title = "Planted"
seeds = 2
metrics = ["spearman", "mse"]

[settings]
epochs = 2
precision = "float32"

[datasets.planted]
features = "{store}"

[splits.official]

[splits.random]
folds = 2

[heads.ridge]

[heads.gdlt]
settings = {{ width = 16 }}

[heads.heard]
head = "avcf"
about = "Needs sound."
"""
NESTED = """
title = "Planted"
[datasets.planted]
features = "{store}"
[splits.random]
folds = 2
[heads.chosen]
head = "ridge"
inner_folds = 2
choices = [{{ settings = {{ penalties = 2 }} }}, {{ settings = {{ penalties = 9 }} }}]
"""
GROUPED = """
title = "By skater"
metrics = ["spearman", "within_group"]
[datasets.planted]
features = "{store}"
resample = "skater"
within = "skater"
[splits.skater]
folds = 3
group = "skater"
[heads.metadata]
[heads.chosen]
head = "ridge"
inner_folds = 2
choices = [{{ settings = {{ penalties = 2 }} }}, {{ settings = {{ penalties = 9 }} }}]
"""


def bench_store(folder: Path, groups: dict[str, int] | None = None) -> Path:
    return planted_store(
        folder / "s.h5", num_train=32, num_test=32, scores=("total", "other"), with_text=False, groups=groups
    )


def bench_file(folder: Path, store: Path, text: str = FILE) -> Path:
    path = folder / "small.toml"
    path.write_text(text.format(store=store))
    return path


@dataclass(frozen=True)
class Made:
    """A bench that was run."""

    store: Path
    file: Path
    out: Path
    said: str

    @property
    def tables(self):
        bench = read_bench(self.file)
        return tables(bench, self.out, read_sources(self.out))
