"""What benchmarks measure, as JSON that the performance page is made from: python benchmarks/page.py.

A benchmark makes one `Result`, prints it and, with --json, writes it. Results that the page shows are in benchmarks/results, one file a
benchmark. A file is the dataclasses below, field by field:

    {"section": "Extraction", "title": "...", "command": "python benchmarks/NAME.py ...", "date": "2026-11-24",
     "machine": {"cpu": "...", "cores": 2, "memory_gb": 23, "accelerator": "", "threads": 2}, "simulated": "...", "notes": ["..."],
     "tables": [{"title": "...",
                 "rows":   [{"name": "...", "unit": "s", "values": [one a round], "note": ""}],
                 "ratios": [{"name": "...", "values": [one a round], "at_most": 1.05, "at_least": null, "headline": true}]}]}
"""

from __future__ import annotations

import json
import os
import platform
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import click

SECTIONS = ("Extraction", "Training", "Stores", "Commands")


@dataclass(frozen=True)
class Row:
    """One thing measured once a round."""

    name: str
    unit: str
    """`s`, `MB`, `clips/s`, ..."""
    values: tuple[float, ...]
    """In the order of the rounds, so that those of one round can be compared."""
    note: str = ""

    def __post_init__(self) -> None:
        if not self.values:
            raise ValueError(f"{self.name} was not measured")

    @property
    def median(self) -> float:
        return statistics.median(self.values)


@dataclass(frozen=True)
class Ratio:
    """Two things of the same round, one over the other; what the project promises is a bound on it."""

    name: str
    """`run / (model + decode)`"""
    values: tuple[float, ...]
    at_most: float | None = None
    at_least: float | None = None
    headline: bool = False
    """Also in the README."""

    def __post_init__(self) -> None:
        if not self.values:
            raise ValueError(f"{self.name} was not measured")

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def target(self) -> str:
        bounds = ((self.at_most, "at most"), (self.at_least, "at least"))
        return ", ".join(f"{words} {bound:g}" for bound, words in bounds if bound is not None)

    @property
    def verdict(self) -> str:
        """By the median; empty without a bound."""
        if not self.target:
            return ""
        low, high = self.at_least, self.at_most
        is_met = (low is None or self.median >= low) and (high is None or self.median <= high)
        return "met" if is_met else "**missed**"


@dataclass(frozen=True)
class Table:
    title: str
    rows: tuple[Row, ...]
    ratios: tuple[Ratio, ...] = ()


@dataclass(frozen=True)
class Machine:
    cpu: str
    cores: int
    memory_gb: int
    accelerator: str
    """Empty without one."""
    threads: int
    """Of the network; 0 where there is none."""

    @classmethod
    def this(cls, *, threads: int = 0, accelerator: str = "") -> Machine:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
        return cls(_cpu(), len(os.sched_getaffinity(0)), round(memory), accelerator, threads)


@dataclass(frozen=True)
class Result:
    """What one command measured on one machine."""

    section: str
    """One of `SECTIONS`."""
    title: str
    command: str
    machine: Machine
    tables: tuple[Table, ...]
    simulated: str = ""
    """What is SIMULATED, or of random weights; empty where all of it is real."""
    notes: tuple[str, ...] = ()
    """Sentences below the tables."""
    date: str = ""
    """Of the measurement; today's if it is not given."""

    def __post_init__(self) -> None:
        if self.section not in SECTIONS:
            raise ValueError(f"section {self.section!r} is not one of {', '.join(SECTIONS)}")
        if not self.date:
            object.__setattr__(self, "date", datetime.now(UTC).date().isoformat())

    def write(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")

    def tell(self, path: Path | None) -> None:
        """Print it, and keep it where a path is given."""
        click.echo(self.markdown())
        if path:
            self.write(path)

    @classmethod
    def read(cls, path: Path) -> Result:
        found = json.loads(path.read_text(encoding="utf-8"))
        tables = tuple(
            Table(
                table["title"],
                tuple(Row(**{**row, "values": tuple(row["values"])}) for row in table["rows"]),
                tuple(Ratio(**{**ratio, "values": tuple(ratio["values"])}) for ratio in table["ratios"]),
            )
            for table in found.pop("tables")
        )
        machine, notes = Machine(**found.pop("machine")), tuple(found.pop("notes"))
        return cls(machine=machine, tables=tables, notes=notes, **found)

    def markdown(self) -> str:
        """Its tables, each number the median with the smallest and the largest."""
        found = []
        for table in self.tables:
            if table.title:
                found.append(f"{table.title}\n")
            if table.rows:
                lines = [[row.name, _spread(row.values, row.unit), row.note] for row in table.rows]
                found.append(_table(["", "median (least to most)", ""], lines))
            if table.ratios:
                lines = [[r.name, _spread(r.values), r.target, r.verdict] for r in table.ratios]
                found.append(_table(["ratio, round by round", "median (least to most)", "target", ""], lines))
        return "\n".join(found)


def most_memory() -> int:
    """Bytes that this process held at most. Not `ru_maxrss`, which a process has from the one that started it."""
    return 1024 * int(Path("/proc/self/status").read_text(encoding="ascii").partition("VmHWM:")[2].split()[0])


def ratios(name: str, above: Sequence[float], below: Sequence[float], **bounds: object) -> Ratio:
    """Of what was measured in the same rounds."""
    return Ratio(name, tuple(a / b for a, b in zip(above, below, strict=True)), **bounds)


WITHOUT_BFLOAT16 = ", on a processor without bfloat16"
"""In titles of tables, which are kept next to those of a processor with it."""


def has_bfloat16() -> bool:
    """Whether the processor computes in bfloat16. One that imitates it takes 15 to 50 times as long as in float32."""
    from longtake.train.protocol.precision import computes_in_bfloat16

    return computes_in_bfloat16()


def _cpu() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.machine()


def _spread(values: Sequence[float], unit: str = "") -> str:
    median = statistics.median(values)
    if all(isinstance(value, int) for value in values) and len(values) == 1:  # a count
        return f"{median}{f' {unit}' * bool(unit)}"
    digits = 0 if abs(median) >= 100 else 1 if abs(median) >= 20 else 2 if abs(median) >= 1 else 3
    shown = f"{median:.{digits}f}{f' {unit}' * bool(unit)}"
    return shown if len(values) == 1 else f"{shown} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def _table(headers: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rows = [headers, ["---"] * len(headers), *lines]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)
