"""Write docs/performance.md, and the README's table, from benchmarks/results/*.json: python benchmarks/page.py [--check]

Nothing on the page is written by hand but the sentences here. With --check nothing is written, and exit status 1 says that the page is
not what the results give.
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import click
from measured import SECTIONS, Result

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PAGE, README = ROOT / "docs" / "performance.md", ROOT / "README.md"
SHOWN = (
    "i3d: run / (model + decode)",
    "memory for 120 minutes / for 2, both processes",
    "one command / 20 commands (`i3d-mlp`, published settings, 20 models)",
    "slowest of `--help` and `extract list`, seconds",
)
"""Rows of the README's table."""
BEGIN, END = "<!-- benchmarks/page.py writes this -->\n", "<!-- until here -->\n"

INTRODUCTION = """# How fast is it?

Measured, not promised: each table is what its command printed, on the machine that it names. A ratio compares two things of the same
round, so that it says the same on a slower machine; targets are bounds on the median of the rounds. Rounds go in turns: each thing
measured once, then all of them again. The machine had other work now and then, which the spreads show.

This page is written by `python benchmarks/page.py` from the files of benchmarks/results, which hold every value. To
measure on your own machine, call a table's command, with `--json benchmarks/results/NAME.json` to put it on the page.

Why the code is as it is, with profiles from before and after: [extraction](performance/extraction.md), [training](performance/training.md).
"""


def read_results() -> dict[str, list[Result]]:
    """Section -> its results, by file name."""
    found = [Result.read(path) for path in sorted(RESULTS.glob("*.json"))]
    return {section: [result for result in found if result.section == section] for section in SECTIONS}


def page(results: dict[str, list[Result]]) -> str:
    parts = [INTRODUCTION]
    for section, entries in results.items():
        if entries:
            parts.append(f"## {section}\n")
        parts += [entry(result) for result in entries]
    return "\n".join(parts)


def entry(result: Result) -> str:
    machine = result.machine
    where = [f"{_count(machine.cores, 'core')} of {machine.cpu}", f"{machine.memory_gb} GiB"]
    where += [_count(machine.threads, "thread")] if machine.threads else []
    where += [machine.accelerator] if machine.accelerator else []
    counts = sorted({len(row.values) for table in result.tables for row in table.rows})
    rounds = _count(" to ".join(map(str, counts)), "round")
    facts = [f"`{result.command}`", ", ".join(where), rounds, result.date]
    lines = [f"### {result.title}\n", f"{'; '.join(facts)}.{f' {result.simulated}.' * bool(result.simulated)}\n"]
    lines.append(result.markdown())
    lines += [f"{note}\n" for note in result.notes]
    return "\n".join(lines)


def _count(number: int | str, what: str) -> str:
    return f"{number} {what}{'s' * (str(number) != '1')}"


def headlines(results: dict[str, list[Result]]) -> str:
    """The README's table. Ratios of one name are distinguished by the titles of their tables."""
    found = [
        (table.title, ratio)
        for entries in results.values()
        for result in entries
        for table in result.tables
        for ratio in table.ratios
        if ratio.headline
    ]
    names = Counter(ratio.name for _, ratio in found)
    named = [(f"{ratio.name}{f' ({title})' * (names[ratio.name] > 1)}", ratio) for title, ratio in found]
    rows = [
        f"| {name} | {ratio.median:.2f} | {ratio.target} | {ratio.verdict} |\n"
        for name, ratio in named
        if name in SHOWN
    ]
    if not rows:
        return ""
    met = sum(ratio.verdict == "met" for _, ratio in named)
    counts = f"Of {len(named)} such bounds, {met} are met."
    return f"| measured | median | target | |\n| --- | --- | --- | --- |\n{''.join(rows)}\n{counts}\n"


def readme(text: str, table: str, begin: str = BEGIN) -> str:
    """The README, or another page, with a table replaced. Raises `ValueError` where it has no place for one."""
    before, _, rest = text.partition(begin)
    _, end, after = rest.partition(END)
    if not end:
        raise ValueError(f"the page has no lines {begin.strip()} and {END.strip()}")
    return f"{before}{begin}\n{table}\n{END}{after}"


@click.command()
@click.option("--check", is_flag=True, help="Write nothing; exit status 1 if the page is not what the results give.")
def main(check: bool) -> None:
    results = read_results()
    wanted = {PAGE: page(results), README: readme(README.read_text(encoding="utf-8"), headlines(results))}
    stale = [path for path, text in wanted.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    if check:
        for path in stale:
            click.echo(f"{path.relative_to(ROOT)} is not what benchmarks/results give; run: python benchmarks/page.py")
        sys.exit(bool(stale))
    for path in stale:
        path.write_text(wanted[path], encoding="utf-8")
        click.echo(path.relative_to(ROOT))


if __name__ == "__main__":
    main()
