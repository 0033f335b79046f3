"""What objects show in a notebook."""

import sys

import pytest

from longtake.errors import LongtakeError
from longtake.notebooks import data_frame, html_facts, html_table


def test_facts_are_escaped_and_printable():
    page = html_facts("a<b", {"one": "x\x1b&", "two": 3})
    assert page == (
        "<table><caption>a&lt;b</caption><tr><th>one</th><td>x &amp;</td></tr><tr><th>two</th><td>3</td></tr></table>"
    )


def test_a_table_has_a_row_for_each_value():
    page = html_table({"name": ["<a>", "b"], "number": [1, 2.5]})
    assert page.startswith("<table><tr><th>name</th><th>number</th></tr><tr><td>&lt;a&gt;</td><td>1</td></tr>")
    assert page.count("<tr>") == 3
    assert html_table({"name": []}) == "<table><tr><th>name</th></tr></table>"


def test_data_frames():
    pandas = pytest.importorskip("pandas")
    frame = data_frame({"name": ("a", "b"), "number": [1.0, 2.5]})
    assert isinstance(frame, pandas.DataFrame) and frame["number"].tolist() == [1.0, 2.5]


def test_without_pandas(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(LongtakeError, match="python -m pip install pandas"):
        data_frame({"name": ["a"]})
