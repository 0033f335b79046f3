"""A cell with all that training it takes, and whether a finished one is that."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from longtake.train.bench.cells import Cell, Done, Source, Stamp
from longtake.train.bench.file import Bench, HeadEntry, SplitEntry


@dataclass(frozen=True)
class Job:
    """A cell with all that training it takes, for any process."""

    cell: Cell
    entry: HeadEntry
    split: SplitEntry
    stamp: Stamp
    out: Path
    path: Path | str
    categories: tuple[str, ...]
    scores: tuple[str, ...]
    device: str
    parallel: str
    keep_heads: bool
    memory: str | None = None
    """As `Options` has it."""

    @property
    def folder(self) -> Path:
        return self.out / self.cell.folder

    @property
    def same(self) -> dict[str, Any]:
        """What a finished cell must have been made of, to be this one."""
        entry = {name: value for name, value in asdict(self.entry).items() if name not in ("name", "about")}
        split = {name: value for name, value in asdict(self.split).items() if name not in ("name", "about")}
        taken = {"categories": self.categories, "scores": self.scores}
        of_all = {"entry": entry, "split": split, "stamp": asdict(self.stamp), "taken": taken}
        return dict(json.loads(json.dumps(of_all)))


def jobs_of(
    bench: Bench, sources: Mapping[str, Source], cells: Iterable[Cell], out: Path, device: str, parallel: str, keep_heads: bool,
    memory: str | None = None,
) -> list[Job]:  # fmt: skip
    found = []
    for cell in cells:
        source, split = sources[cell.dataset], bench.splits[cell.split]
        path = source.path if "://" in source.path else Path(source.path).absolute()
        of_data = path, source.entry.categories, source.entry.scores
        entry = bench.settings_of(bench.heads[cell.head])
        stamp = source.stamp(cell.backbone, split)
        found.append(Job(cell, entry, split, stamp, out.absolute(), *of_data, device, parallel, keep_heads, memory))
    return found


def why_other(done: Done, job: Job) -> str:
    """Why a finished cell is not what is asked for now; empty where it is."""
    there = {"entry": done.entry, "split": done.split, "stamp": asdict(done.stamp), "taken": done.taken}
    names = [name for name, value in job.same.items() if there[name] is not None and there[name] != value]
    words = {
        "entry": "other settings",
        "split": "another split",
        "stamp": "other features, labels or groups",
        "taken": "other categories or scores",
    }
    return " and ".join(words[name] for name in names)
