"""The leaderboard as text, Markdown, LaTeX, JSON, and as one HTML page that needs nothing else."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from longtake.files import write_whole
from longtake.safe_text import in_markdown
from longtake.terminal import finite
from longtake.train.bench.file import METRICS, Bench
from longtake.train.pages.environment import render
from longtake.train.pages.table import html_table
from longtake.train.protocol.rows import AVERAGE
from longtake.train.runs.board import DONE_STATE, Figure, Row, Table
from longtake.train.runs.compare import FORMATS, Line
from longtake.train.runs.fitted import Cell, fitted_lines, fitted_table, text_table
from longtake.train.runs.folder import versions
from longtake.train.runs.latex import INSIDE, Entry, Paper, Value, escaped, latex_table, method_name
from longtake.train.runs.tables import RANDOM_NOTE, shown_error

PAGE = Path(__file__).with_name("page.html")
MOST_COLUMNS = 8
"""With figures, of a table on the page of a laptop; with more, rows are shown as lists, as on a phone."""
CORRELATIONS = ("spearman", "within_group")
NAME = "leaderboard"
WIDTH = 160
"""Characters of a line in leaderboard.txt."""
PAPERS_NOTE = (
    "As the papers print them, by their own rules: the official split, and the epoch that was best on the test videos. They are not comparable "
    "with the rows above, and have no rank."
)
HOW = (
    "Result after the last epoch. In brackets: 95% intervals of the first figure (BCa bootstrap of the test videos or their groups). Rank: by {metric}, with the "
    "ranks that the test videos cannot exclude, from the same resamples for all rows. Seconds of training and trained parameters are of one model, the seconds the median over seeds."
)


def how(bench: Bench) -> str:
    return HOW.format(metric=METRICS[bench.metrics[0]])


def title(table: Table) -> str:
    return f"{table.dataset}, {table.split}: {table.about}; {table.note or f'{table.num_videos} tested videos'}"


def format_board(bench: Bench, tables: Sequence[Table], form: str, limit: int = WIDTH) -> str:
    """All tables in one text. `form` is `text`, `markdown` or `latex`; lines of text have at most `limit` characters, where that is possible."""
    if form == "latex":
        leaks = [_note(f"{table.dataset}, {table.split}: {line}", form) for table in tables for line in table.leaks]
        return "\n\n".join([*map(latex_board, tables), "\n".join([*leaks, _note(how(bench), form)])])
    parts = []
    last_of = {table.dataset: table for table in tables}
    for table in tables:
        parts += [_heading(title(table), form, limit), _board(table, form, limit)]
        notes = [f"{row.name} ({row.features}): {note}" for row in table.rows for note in notes_of(row)]
        notes += table.leaks
        parts += ["\n".join(_note(note, form, limit) for note in notes)] if notes else []
        if table.papers and table is last_of[table.dataset]:
            names, rows = paper_headers(table), list(paper_cells(table))
            made = fitted_table(names, rows, limit=limit) if form == "text" else text_table(names, rows, FORMATS[form])
            parts += [_note(PAPERS_NOTE, form, limit), made]
    if any("RANDOM weights" in row.marks for table in tables for row in table.rows):
        parts.append(_note(RANDOM_NOTE, form, limit))
    parts.append(_note(how(bench), form, limit))
    return "\n\n".join(parts)


def _board(table: Table, form: str, limit: int) -> str:
    if form != "text":
        return text_table(headers(table), [cells(table, row) for row in table.rows], FORMATS[form])
    # Rows without figures would be repeated in each part of a table that does not fit: they are named below it.
    done = [row for row in table.rows if row.state == DONE_STATE]
    rows, tall = ([cells(table, row, below) for row in done] for below in (False, True))
    names = [name.replace(" rho", "\nrho", 1) for name in headers(table)]
    several = len({row.features for row in table.rows}) > 1
    made = [fitted_table(names, rows, tall, (1, 2) if several else (1,), limit)] if done else []
    states: dict[str, list[str]] = {}
    for row in table.rows:
        if row.state != DONE_STATE:
            states.setdefault(row.state, []).append(f"{row.name} ({row.features})" if several else row.name)
    without = [f"{state}: {', '.join(found)}" for state, found in states.items()]
    return "\n\n".join([*made, *([fitted_lines("\n".join(without), limit)] if without else [])])


def latex_board(table: Table) -> str:
    """A table for a paper, of the rows that have figures, with the papers' in a block of their own."""
    done = [row for row in table.rows if row.state == DONE_STATE]
    names = [method_name(row.head) if row.name == row.head else row.name for row in done]
    marked = any(row.marks for row in done)
    entries = [
        Entry((name, row.features), _values(table, row), "bench", "*" if row.marks else "", "; ".join(row.marks))
        for name, row in zip(names, done)
    ]
    own, theirs = (
        set(table.columns),
        [metric for metric in table.metrics if metric in ("spearman", "mse", "relative_l2")],
    )
    for line in table.papers:
        values = {
            (column, metric): Value(number, shown_error(number) if metric == "mse" else f"{number:.3f}")
            for metric in theirs
            for key, number in getattr(line, metric).items()
            if (column := " ".join(filter(None, key))) in own
        }
        if values:
            entries.append(Entry((line.method, line.features), values, "papers", comment=line.source))
    caption = [
        f"{escaped(table.dataset)}, {escaped(table.split)}: {escaped(table.about)}; {table.num_videos} tested videos, after the last epoch.",
        "Figures of papers, in the lower block, are of the official split and of the epoch that was best on the test videos."
        if any(entry.block == "papers" for entry in entries) else "",
        INSIDE if "within_group" in table.metrics else "",
        "Bold: the best of its block. Brackets: 95\\% intervals (BCa bootstrap).",
        f"{escaped(table.note.capitalize())}." if table.note else "",
        "*: with a remark, which is a comment in this file." if marked else "",
    ]  # fmt: skip
    columns = tuple("" if len(table.columns) == 1 else column for column in table.columns)
    if len(table.columns) == 1:
        entries = [replace(one, values={("", metric): v for (_, metric), v in one.values.items()}) for one in entries]
    paper = Paper(
        ("Method", "Features"), columns, table.metrics, tuple(entries), " ".join(filter(None, caption)), f"{table.dataset}-{table.split}"
    )  # fmt: skip
    return latex_table(paper)


def _values(table: Table, row: Row) -> dict[tuple[str, str], Value]:
    found = {}
    for column, figures in row.figures.items():
        for metric, figure in figures.items():
            if math.isnan(figure.value):
                continue
            interval = one_text(figure, metric, True).partition(" ")[2] if metric == table.metrics[0] else ""
            found[column, metric] = Value(figure.value, one_text(figure, metric, False), interval=interval)
    return found


def _heading(text: str, form: str, limit: int) -> str:
    return f"## {in_markdown(text)}" if form == "markdown" else fitted_lines(text, limit)


def _note(text: str, form: str, limit: int = WIDTH) -> str:
    if form == "text":
        return fitted_lines(text, limit)
    return {"markdown": f"- {in_markdown(text)}", "latex": f"% {' '.join(text.split())}"}[form]


def headers(table: Table) -> list[str]:
    names = [f"{column} {' / '.join(METRICS[metric] for metric in table.metrics)}" for column in table.columns]
    return ["rank", "head", "features", *names, "seeds", "s a model", "parameters"]


def cells(table: Table, row: Row, below: bool = False) -> list[Cell]:
    """With intervals next to the first figures, or below them."""
    if row.state != DONE_STATE:
        return ["", row.name, row.features, *[row.state, *[""] * len(table.columns)][: len(table.columns)], "", "", ""]
    figures = [figure_cell(row, column, table.metrics, below) for column in table.columns]
    parameters = "closed form" if row.parameters is None else f"{row.parameters:,}"
    name = row.name + (" *" if row.marks else "")
    return [rank_text(row), name, row.features, *figures, str(row.num_seeds), seconds_text(row), parameters]


def rank_text(row: Row) -> str:
    if row.rank is None:
        return ""
    return f"{row.rank} ({row.rank_low}-{row.rank_high})"


def seconds_text(row: Row) -> str:
    seconds = row.seconds_per_model
    return "" if seconds is None else f"{seconds:.0f}" if seconds >= 10 else f"{seconds:.1f}"


def figure_cell(row: Row, column: str, metrics: Sequence[str], below: bool) -> Cell:
    figures = row.figures.get(column)
    if figures is None:
        return ""
    # The interval of the first alone: of all, the column would be too wide.
    first, shown = metrics[0], [metric for metric in metrics if metric in figures]
    if not below:
        return " / ".join(one_text(figures[metric], metric, metric == first) for metric in shown)
    interval = one_text(figures[first], first, True).partition(" ")[2] if first in figures else ""
    return tuple(filter(None, (" / ".join(one_text(figures[metric], metric, False) for metric in shown), interval)))


def one_text(figure: Figure, metric: str, interval: bool) -> str:
    if math.isnan(figure.value):
        return "-"
    form = "{:.3f}".format if metric in CORRELATIONS else partial(shown_error, digits=1)
    text = form(figure.value)
    return f"{text} [{form(figure.low)}, {form(figure.high)}]" if interval and math.isfinite(figure.low) else text


def notes_of(row: Row) -> Iterator[str]:
    if row.reason:
        yield f"{row.state}: {row.reason}"
    yield from row.marks


def paper_headers(table: Table) -> list[str]:
    return ["method", "features", *(f"{column} rho / MSE" for column in table.columns), "figures of"]


def paper_cells(table: Table) -> Iterator[list[str]]:
    """A paper's average is its own, over its own columns; where it prints none, there is none."""
    for line in table.papers:
        yield [line.method, line.features, *(_paper_figure(line, column) for column in table.columns), line.source]


def _paper_figure(line: Line, column: str) -> str:
    keys = [key for key in (*line.spearman, *line.mse) if " ".join(filter(None, key)) == column]
    if not keys:
        return ""
    rho, mse = line.spearman.get(keys[0]), line.mse.get(keys[0])
    return " / ".join(["-" if rho is None else f"{rho:.3f}", "-" if mse is None else shown_error(mse)])


def to_json(bench: Bench, tables: Sequence[Table]) -> dict[str, Any]:
    """For programs: null where a figure is undefined."""
    named = [{**asdict(table), "papers": [line.to_dict() for line in table.papers]} for table in tables]
    return dict(finite({"title": bench.title, "about": bench.about, "versions": versions(), "tables": named}))  # type: ignore[call-overload]


def make_page(bench: Bench, tables: Sequence[Table]) -> str:
    last_of = {table.dataset: table for table in tables}
    return render(
        PAGE,
        bench=bench,
        how=how(bench),
        html_table=html_table,
        num_columns=max((len(table.columns) for table in tables), default=0),
        most_columns=MOST_COLUMNS,
        papers_note=PAPERS_NOTE,
        versions=versions(),
        tables=[_for_page(table, table is last_of[table.dataset]) for table in tables],
    )


def _for_page(table: Table, with_papers: bool) -> dict[str, Any]:
    done = [row for row in table.rows if row.state == DONE_STATE]
    return {
        "title": title(table),
        "labels": table.labels,
        "labels_of": headers(table),
        "leaks": table.leaks,
        "headers": [*headers(table)[:3], "", *headers(table)[3:]],
        "rows": [
            {
                "cells": cells(table, row),
                "bar": bar(row, done, table),
                "notes": list(notes_of(row)),
                "recipe": row.recipe_id,
            }
            for row in table.rows
        ],
        "paper_headers": paper_headers(table),
        "papers": list(paper_cells(table)) if with_papers else [],
    }


def bar(row: Row, rows: Sequence[Row], table: Table) -> Mapping[str, float] | None:
    """Where the interval of the first metric begins and ends on a scale that holds those of all rows, in percent."""
    if not table.columns:
        return None
    column, metric = (AVERAGE if AVERAGE in table.columns else table.columns[0]), table.metrics[0]
    of_all = [row.figures[column][metric] for row in rows if column in row.figures]
    ends = [value for one in of_all for value in (one.low, one.high, one.value) if math.isfinite(value)]
    mine = row.figures.get(column, {}).get(metric)
    if mine is None or math.isnan(mine.value) or max(ends) <= min(ends):
        return None
    low, high = (end if math.isfinite(end) else mine.value for end in (mine.low, mine.high))
    scale = 100 / (max(ends) - min(ends))
    begin, end, point = ((value - min(ends)) * scale for value in (low, high, mine.value))
    return {"begin": round(begin, 2), "width": round(end - begin, 2), "point": round(point, 2)}


def write_board(bench: Bench, tables: Sequence[Table], out: Path) -> list[Path]:
    """leaderboard.txt, .md, .tex, .json and .html in the folder."""
    texts = {
        "txt": format_board(bench, tables, "text"),
        "md": f"# {in_markdown(bench.title)}\n\n{in_markdown(bench.about)}\n\n"
        + format_board(bench, tables, "markdown"),
        "tex": format_board(bench, tables, "latex"),
        "json": json.dumps(to_json(bench, tables), indent=1),
        "html": make_page(bench, tables),
    }
    paths = []
    for ending, text in texts.items():
        paths.append(out / f"{NAME}.{ending}")
        write_whole(paths[-1], text.rstrip("\n") + "\n")
    return paths
