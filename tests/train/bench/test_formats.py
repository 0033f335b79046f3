"""The leaderboard in every form."""

import json
import re
from dataclasses import replace

import pytest

from longtake.train.bench import formats
from longtake.train.bench.file import read_bench
from longtake.train.runs.board import Figure, Row, Table
from longtake.train.runs.compare import Line
from tests.browser import LAPTOP, PHONE

METRICS = ("spearman", "mse")
ROWS = (
    Row(
        "gdlt", "gdlt", "vst", "done", "", 5, {"tes": {"spearman": Figure(0.512, 0.41, 0.6), "mse": Figure(29.6, 20, 40)}}, 1, 1, 2, 18.2,
        3163396, "r", ("10 epochs, its preset has 30",),
    ),
    Row("<b>", "ridge", "vst", "done", "", 1, {"tes": {"spearman": Figure(float("nan")), "mse": Figure(25.1)}}, seconds_per_model=3.25),
    Row("avcf", "avcf", "vst", "not applicable", "needs sound"),
)  # fmt: skip
PAPER = Line(
    "GDLT",
    "VST",
    "QGVL, Table II, best epoch on test",
    {("", "tes"): 0.685, ("average", ""): 0.76},
    {("", "tes"): 20.99},
)
TABLE = Table("fisv", "random", "5 folds", "abc", 400, ("tes",), METRICS, ROWS, "", (PAPER,))


def bench_of(made):
    return replace(read_bench(made.file), title="A & B", metrics=METRICS)


def test_text_and_markdown(made):
    text = formats.format_board(bench_of(made), [TABLE], "text")
    assert "0.512 [0.410, 0.600] / 29.6" in text and "not applicable: avcf" in text
    assert "gdlt (vst): 10 epochs, its preset has 30" in text and "avcf (vst): not applicable: needs sound" in text
    assert re.search(r"1 \(1-2\) +gdlt \*", text) and "- / 25.1" in text
    markdown = formats.format_board(bench_of(made), [TABLE], "markdown")
    assert "0.512 \\[0.410, 0.600\\] / 29.6" in markdown and "## fisv, random: 5 folds; 400 tested videos" in markdown
    assert "3,163,396" in markdown and "closed form" in markdown and "<b>" not in markdown


def test_text_fits_on_a_terminal_and_keeps_every_figure(made):
    wide = replace(TABLE, columns=("tes", "pcs", "average"), rows=[three(row) for row in ROWS])
    text = formats.format_board(bench_of(made), [wide], "text", limit=80)
    assert max(map(len, text.splitlines())) <= 80
    assert text.count("0.512") == text.count("[0.410, 0.600]") == text.count("29.6") == 3 and "3,163,396" in text


def three(row):
    return replace(row, figures=dict.fromkeys(("tes", "pcs", "average"), row.figures["tes"]) if row.figures else {})


def test_latex(made):
    latex = formats.format_board(bench_of(made), [TABLE], "latex")
    assert r"GDLT$^{*}$ & vst & 0.512 & 29.6 \\ % 10 epochs, its preset has 30" in latex
    assert r"\tiny{[0.410, 0.600]}" in latex and r"\textless{}b\textgreater{} & vst &  & \textbf{25.1}" in latex
    ours, theirs = latex.split("25.1", 1)
    assert r"\midrule" in theirs and r"GDLT & VST & 0.685 & 20.99 \\ % QGVL, Table II" in theirs and "avcf" not in latex


def test_papers_stand_apart_and_without_a_rank(made):
    text = formats.format_board(bench_of(made), [TABLE], "text")
    ours, theirs = text.split(formats.PAPERS_NOTE[:40])
    assert "0.685 / 20.99" in theirs and "best epoch on test" in theirs and "0.685" not in ours
    assert "0.760" not in text, "the papers' average is of columns that this table does not have"


def test_the_page_needs_nothing_and_runs_nothing(made):
    page = formats.make_page(bench_of(made), [TABLE])
    assert not re.search(r"(src|href)=|<script|@import|url\(", page)
    assert "A &amp; B" in page and "&lt;b&gt;" in page and "<b>" not in page.replace("<b style", "")
    assert "0.512 [0.410, 0.600]" in page and "needs sound" in page and 'style="left:' in page


@pytest.mark.parametrize("width", [PHONE, LAPTOP])
@pytest.mark.parametrize("columns", [1, 5, 20])
def test_nothing_of_the_page_is_wider_than_the_window(made, browser, tmp_path, width, columns):
    names = [f"{name} total" for name in ("tes", "Clubs", "average", *map(str, range(20)))][:columns]
    rows = [replace(row, figures={name: row.figures["tes"] for name in names} if row.figures else {}) for row in ROWS]
    long = replace(rows[0], name="mlavl_with_a_long_name_of_forty_letters_x", features="efficientnet-lite0", rank=11)
    table = replace(TABLE, columns=tuple(names), rows=(*rows, long), papers=(PAPER,))
    (tmp_path / "b.html").write_text(formats.make_page(bench_of(made), [table]))
    opened = browser.open(tmp_path / "b.html", width)
    assert opened.problems() == [] and opened.paper_problems() == []
    first = opened.page.locator("tbody td").first
    assert first.evaluate("one => getComputedStyle(one).display") == (
        "table-cell" if width == LAPTOP and columns < 20 else "flex"
    )


def test_bars_are_on_one_scale():
    rows = [replace(ROWS[0], figures={"tes": {"spearman": Figure(v, v - 0.1, v + 0.1)}}) for v in (0.3, 0.7)]
    low, high = (formats.bar(row, rows, TABLE) for row in rows)
    assert low == {"begin": 0.0, "width": 33.33, "point": 16.67} and high == {
        "begin": 66.67,
        "width": 33.33,
        "point": 83.33,
    }
    assert formats.bar(ROWS[1], rows, TABLE) is None


def test_json_has_null_for_what_is_undefined(made):
    found = json.loads(json.dumps(formats.to_json(bench_of(made), [TABLE]), allow_nan=False))
    (table,) = found["tables"]
    assert table["rows"][1]["figures"]["tes"]["spearman"]["value"] is None
    assert table["rows"][0]["rank_high"] == 2 and table["papers"][0]["spearman"] == {"tes": 0.685, "average": 0.76}
    assert found["versions"]["torch"]
