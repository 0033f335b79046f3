"""`train bench` without the command line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor
from pathlib import Path

from longtake.train.bench.cells import FAILED, plan
from longtake.train.bench.file import Bench
from longtake.train.bench.jobs import Job, jobs_of
from longtake.train.bench.reads import reads_of
from longtake.train.bench.sources import Source, read_source, write_sources
from longtake.train.bench.training import Outcome, not_done, run_cell
from longtake.train.errors import SettingsError
from longtake.train.runs.cells import run_cells


def sources_of(bench: Bench, stores: Sequence[str]) -> dict[str, Source]:
    """Open the store of every dataset. `stores` are NAME=PATH, or a PATH where there is one dataset, in place of those of the file.
    Raises a `LongtakeError`."""
    paths: dict[str, str] = {}
    for given in stores:
        name, equals, path = given.partition("=")
        if not equals or name not in bench.datasets:
            if len(bench.datasets) > 1:
                names = ", ".join(bench.datasets)
                raise SettingsError(f"--features takes NAME=STORE for the datasets {names} of the bench, got {given!r}")
            name, path = next(iter(bench.datasets)), given
        paths[name] = path
    return {
        name: read_source(
            entry, paths.get(name, entry.features),
            dict.fromkeys(stream for head in bench.heads.values() for stream in reads_of(head, entry.dataset).streams),
        )
        for name, entry in bench.datasets.items()
    }  # fmt: skip


def jobs(
    bench: Bench, sources: Mapping[str, Source], out: Path, only: Sequence[str], device: str, parallel: str, keep_heads: bool,
    memory: str | None = None,
) -> list[Job]:  # fmt: skip
    """Of all cells, finished ones included: those are compared with what the file says now."""
    return jobs_of(bench, sources, plan(bench, sources, only), out, device, parallel, keep_heads, memory)


def run_bench(
    jobs: Sequence[Job], sources: Mapping[str, Source], out: Path, executor: Executor | None
) -> Iterator[Outcome]:
    """Train every cell that is not done, here or by the executor; no cell's end is that of the others."""
    write_sources(out, sources)
    yield from run_cells(jobs, run_cell, lambda job, error: not_done(job, FAILED, error), executor)
