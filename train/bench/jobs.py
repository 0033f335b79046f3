"""A cell with all that training it takes, and whether a finished one is that."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from longtake.train.bench.cells import Cell, Done
from longtake.train.bench.file import Bench, HeadEntry, SplitEntry
from longtake.train.bench.reads import preset_rows
from longtake.train.bench.sources import Source, Stamp


@dataclass(frozen=True)
class Job:
    """A cell with all that training it takes, for any process."""

    cell: Cell
    entry: HeadEntry
    split: SplitEntry
    stamp: Stamp
    out: Path
    path: Path | str
    named: str
    """How the bench file names the store."""
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
        """What a finished cell must have been made of in addition to the store, to be this one."""
        entry = {name: value for name, value in asdict(self.entry).items() if name not in ("name", "about")}
        split = {name: value for name, value in asdict(self.split).items() if name not in ("name", "about")}
        taken = {"categories": self.categories, "scores": self.scores}
        of_all = {"entry": entry, "split": split, "taken": taken}
        return dict(json.loads(json.dumps(of_all)))


def jobs_of(
    bench: Bench, sources: Mapping[str, Source], cells: Iterable[Cell], out: Path, device: str, parallel: str, keep_heads: bool,
    memory: str | None = None,
) -> list[Job]:  # fmt: skip
    found = []
    for cell in cells:
        source, split = sources[cell.dataset], bench.splits[cell.split]
        path = source.path if "://" in source.path else Path(source.path).absolute()
        of_data = path, source.entry.features, source.entry.categories, source.entry.scores
        entry = bench.settings_of(bench.heads[cell.head])
        stamp = source.stamp(cell.backbone, split, entry)
        found.append(Job(cell, entry, split, stamp, out.absolute(), *of_data, device, parallel, keep_heads, memory))
    return found


def why_other(done: Done, job: Job) -> str:
    """Why a finished cell is not what is asked for now; empty where it is."""
    same = {
        "other settings": done.entry == job.same["entry"],
        "another split": done.split == job.same["split"],
        "other features, labels, groups or ranges of scores": same_stamp(done.stamp, job.stamp),
        "other categories or scores": done.taken in (None, job.same["taken"]),
        "another version of its preset": _same_presets(done, job),
    }
    return " and ".join(words for words, is_same in same.items() if not is_same)


def same_stamp(one: Stamp, other: Stamp) -> bool:
    """Whether two are equal in all that both say: an earlier version wrote less."""
    later = ("further", "card")
    unknown = {name: getattr(other, name) for name in later if not (getattr(one, name) and getattr(other, name))}
    return replace(one, **unknown) == other


def _same_presets(done: Done, job: Job) -> bool:
    """Whether what the preset sets now is what it set then."""
    categories = dict.fromkeys(unit.category for unit in done.units)
    rows = preset_rows(job.entry, done.stamp.dataset, categories)
    if done.presets is not None:
        return list(done.presets) == rows
    return all(
        done.recorded.get(category, {}).get(name, value) == value
        for category, row in rows[0].items()
        for name, value in row.items()
    )
