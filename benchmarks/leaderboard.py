"""Write docs/leaderboard.md, and the tables of docs/real-data.md and README.md, from the cells of benchmarks/results/fisv: python
benchmarks/leaderboard.py [--check]

The cells are those of `train bench fisv --features features/fisv.h5 --out benchmarks/results/fisv --seeds 5 --no-keep-heads`, which trains those
that are missing; of each, settings and predictions are kept here. Nothing is written before all are there. With --check nothing is written, and exit
status 1 says that a page is not what the cells give.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import click
import page

from longtake.train.bench.cells import NOT_APPLICABLE
from longtake.train.bench.file import Bench, read_bench
from longtake.train.bench.formats import write_board
from longtake.train.bench.leaderboard import tables
from longtake.train.bench.sources import read_sources
from longtake.train.protocol.rows import AVERAGE
from longtake.train.runs.board import DONE_STATE, Row, Table

ROOT = Path(__file__).resolve().parents[1]
CELLS = ROOT / "benchmarks" / "results" / "fisv"
SEEDS = 5
BEGIN = "<!-- benchmarks/leaderboard.py writes this -->\n"
IN_README = {
    "metadata": "`metadata`: skater and event alone, no video",
    "kernel": "`kernel`",
    "ridge": "`ridge`, the baseline",
    "gdlt": "`gdlt` (CVPR 2022)",
}


def missing(table: Table) -> Iterator[str]:
    """Rows that are not whole."""
    for row in table.rows:
        if row.state not in (DONE_STATE, NOT_APPLICABLE):
            yield f"{table.split}: {row.name}: {row.state}"
        elif row.parameters is not None and row.num_seeds < SEEDS:
            yield f"{table.split}: {row.name}: {row.num_seeds} of {SEEDS} seeds"


def in_full(bench: Bench, made: Sequence[Table]) -> str:
    """The page as `train bench` writes it."""
    with tempfile.TemporaryDirectory() as folder:
        (text,) = [path for path in write_board(bench, made, Path(folder)) if path.suffix == ".md"]
        return text.read_text(encoding="utf-8")


def average(row: Row) -> str:
    rho, mse = (row.figures[AVERAGE][metric] for metric in ("spearman", "mse"))
    return f"{rho.value:.3f} [{rho.low:.2f}, {rho.high:.2f}] / {mse.value:.1f}"


def real_data(random: Table, skater: Table) -> str:
    """Both tables side by side, by rank on random folds."""
    lines = ["| head | random folds: rho / MSE | ranks | within event | by skater: rho / MSE | ranks | within event | epochs | s a model |",
             "|---|---|---|---|---|---|---|---|---|"]  # fmt: skip
    by_name = {row.name: row for row in skater.rows}
    for row in random.rows:
        if row.state != DONE_STATE:
            continue
        pair = row, by_name[row.name]
        columns = [
            f"{average(one)} | {one.rank_low}-{one.rank_high} | {one.figures[AVERAGE]['within_group'].value:.2f}"
            for one in pair
        ]
        seconds = sum(one.seconds_per_model or 0.0 for one in pair) / 2
        lines.append(f"| `{row.name}` | {' | '.join(columns)} | {_epochs(row)} | {max(1, round(seconds))} |")
    return "\n".join(lines) + "\n"


def _epochs(row: Row) -> str:
    """Of fewer than its preset has, both; a closed form has none."""
    if row.parameters is None:
        return "closed form"
    fewer = next((mark for mark in row.marks if " epochs, its preset has " in mark), "")
    return fewer.replace(" epochs, its preset has ", " of ") or "as its preset"


def readme(random: Table, skater: Table) -> str:
    lines = ["| head | skaters in training and test | no skater in both |", "|---|---|---|"]
    by_name = [{row.name: row for row in table.rows} for table in (random, skater)]
    lines += [f"| {title} | {average(by_name[0][n])} | {average(by_name[1][n])} |" for n, title in IN_README.items()]
    return "\n".join(lines) + "\n"


def replaced(path: Path, table: str) -> str:
    """The page with its table."""
    return page.readme(path.read_text(encoding="utf-8"), table, BEGIN)


@click.command()
@click.option("--check", is_flag=True, help="Write nothing; exit status 1 if a page is not what the cells give.")
def main(check: bool) -> None:
    bench = replace(read_bench(ROOT / "bench" / "fisv.toml"), seeds=SEEDS)
    made = tables(bench, CELLS, read_sources(CELLS))
    lacking = [line for table in made for line in missing(table)]
    if lacking:
        raise click.ClickException("\n".join(["the cells are not whole:", *lacking]))
    random, skater = made
    wanted = {
        ROOT / "docs" / "leaderboard.md": in_full(bench, made),
        ROOT / "docs" / "real-data.md": replaced(ROOT / "docs" / "real-data.md", real_data(random, skater)),
        ROOT / "README.md": replaced(ROOT / "README.md", readme(random, skater)),
    }
    stale = [path for path, text in wanted.items() if path.read_text(encoding="utf-8") != text]
    for path in stale:
        click.echo(f"{path.relative_to(ROOT)} {'is not what the cells give' if check else 'written'}")
        if not check:
            path.write_text(wanted[path], encoding="utf-8")
    sys.exit(check and bool(stale))


if __name__ == "__main__":
    main()
