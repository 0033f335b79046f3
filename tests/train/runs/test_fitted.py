"""Tables fit on a terminal, and nothing of them is lost or broken."""

import re

import pytest

from longtake.train.runs.fitted import fitted_lines, fitted_table, text_table, width

HEADERS = ["name", "first", "second", "third\nbelow", "fourth"]
ROWS = [[f"row{n}", *(f"{n}.{c} [0.1, 0.2]" for c in range(4))] for n in range(6)]
TALL = [[row[0], *(tuple(cell.split(" ", 1)) for cell in row[1:])] for row in ROWS]


def figures(text):
    return sorted(re.findall(r"\d\.\d(?= |$)", text.replace("[0.1, 0.2]", ""), re.M))


@pytest.mark.parametrize("limit", [200, 80, 60, 40, 30])
@pytest.mark.parametrize("count", [1, 6])
def test_every_figure_is_there_in_lines_that_fit(limit, count):
    text = fitted_table(HEADERS, ROWS[:count], TALL[:count], limit=limit)
    assert width(text) <= limit
    assert figures(text) == figures(text_table(HEADERS, ROWS[:count])) and len(figures(text)) == 4 * count


def test_what_fits_stays_as_it_is():
    assert fitted_table(HEADERS, ROWS, TALL, limit=200) == text_table(HEADERS, ROWS)
    assert fitted_table(HEADERS, ROWS, TALL, limit=60) == text_table(HEADERS, TALL)


def test_few_rows_are_turned():
    lines = fitted_table(HEADERS, ROWS[:2], limit=60).splitlines()
    assert lines[0].split() == ["row0", "row1"] and lines[4].startswith("third below  0.2 [0.1, 0.2]  1.2 [0.1, 0.2]")


def test_names_of_rows_are_repeated_in_each_part():
    text = fitted_table(HEADERS, ROWS, limit=40)
    parts = text.split("\n\n")
    assert len(parts) == 2 and all(part.count("row") == 6 for part in parts)


def test_long_words_stay_whole_and_sentences_are_wrapped():
    row = [["a", "a sentence of many words that is much too long", "x" * 50]]
    text = fitted_table(["name", "why", "word"], row * 5, limit=40)
    assert "x" * 50 in text and "a sentence of" in text and "too long" in text
    assert fitted_lines("one two three", 8) == "one two\n  three" and fitted_lines("a" * 20, 8) == "a" * 20


def test_the_terminal_is_the_limit(monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    assert width(fitted_table(HEADERS, ROWS, TALL)) <= 40
