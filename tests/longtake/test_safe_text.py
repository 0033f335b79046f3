"""Untrusted text on its way to a terminal, to CSV, to Markdown and to HTML."""

import csv
import io
import itertools

import pytest
from jinja2 import Environment
from markdown_it import MarkdownIt

from longtake.safe_text import Whole, csv_cell, csv_text, in_markdown, in_page, printable_lines, read_cell


def test_lines_and_tabs_of_a_message_stay():
    assert printable_lines("a\tb\x1b[2J\r\n  c\u202e") == "a\tb [2J \n  c "


@pytest.mark.parametrize(
    "text, cell",
    [
        ("=1+1", "'=1+1"),
        ("+x", "'+x"),
        ("-x", "'-x"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("'=1", "''=1"),
        ("\t=1", '\'"\\t=1"'),
        ("\r=1", '\'"\\r=1"'),
        ("\x1b[2J\x7f", '\'"\\u001b[2J\\u007f"'),
        ("x;=1+1", '\'"x\\u003b=1+1"'),
        ('x; "@a";', '\'"x\\u003b \\"@a\\"\\u003b"'),
        ("a; b", "a; b"),
        ("-1.5", "-1.5"),
        ("+1e-3", "+1e-3"),
        ("it's", "it's"),
        ("'quoted'", "'quoted'"),
        (-1.5, -1.5),
        ("", ""),
    ],
)
def test_cells_of_a_spreadsheet(text, cell):
    assert csv_cell(text) == cell
    assert read_cell(str(cell)) == str(text)


def test_every_text_is_read_back_the_same_and_runs_nowhere():
    """All texts of up to four of the characters that have a meaning, as a file that the csv module reads."""
    texts = ["".join(one) for length in range(5) for one in itertools.product("'\"=-@\t\r\na5\x1b", repeat=length)]
    texts += ["".join(one) for length in range(6) for one in itertools.product("'\"=-; a", repeat=length) if ";" in one]
    content = csv_text(["text", "=column"], [(text, 1.5) for text in texts])
    (_, *rows) = csv.reader(io.StringIO(content, newline=""))
    assert [read_cell(cell) for cell, _ in rows] == texts
    for cell, _ in rows:
        assert cell.isprintable()
        if cell.startswith(("=", "+", "-", "@")):
            float(cell)  # a number
    # A spreadsheet that splits at semicolons, with quotes or without.
    for lines in (
        csv.reader(io.StringIO(content, newline=""), delimiter=";"),
        (line.split(";") for line in content.splitlines()),
    ):
        for cell in itertools.chain.from_iterable(lines):
            assert not cell.startswith(("=", "+", "-", "@")) or cell.startswith("-5"), cell


def test_cells_that_are_not_ours_are_kept():
    for cell in ("'\"no JSON", '\'"[1]"x', "'1", "'"):
        assert read_cell(cell) == cell


LINKS = [
    "[x](https://evil.example)", "![x](https://evil.example)", "\\[x](https://evil.example)", "<https://evil.example>",
    "[x]\n\n[x]: https://evil.example", "https://evil.example", "HTTPS://evil.example", "ftp://evil.example", "www.evil.example",
    "<a href=x>y</a>", "a | b", "`", "``[x](https://evil.example)", "a@evil.example",
]  # fmt: skip


@pytest.mark.parametrize("text", LINKS)
def test_links_in_markdown_are_inert(text):
    source = str(in_markdown(text))
    assert "\n" not in source
    for page in (f"# {source}\n", f"| a | b |\n|---|---|\n| {source} | kept |\n"):
        html = MarkdownIt("commonmark").enable("table").render(page)
        assert not any(tag in html for tag in ("<a ", "<img", "<code")), html
        assert "|---" in page and "<td>kept</td>" in html or page.startswith("#")
    # What GitHub makes links of by itself.
    assert not any(start in source.lower() for start in ("s://", "ftp://", "www.", " a@"))


def test_what_is_not_untrusted_stays():
    assert in_markdown(Whole("[x](y)\n")) == "[x](y)\n" and in_markdown(3) == 3
    assert in_markdown("GDLT: 10:30, e.g. https") == "GDLT: 10:30, e.g. https"


def test_a_page_has_no_control_characters():
    page = Environment(autoescape=True, finalize=in_page).from_string("{{ name }} {{ figure | safe }} {{ 1.5 }}")
    assert page.render(name="\x1b[2J<b>", figure="<svg>\x07\n</svg>") == " [2J&lt;b&gt; <svg> \n</svg> 1.5"
