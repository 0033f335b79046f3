"""What objects show in a notebook."""

from longtake.notebooks import html_facts


def test_texts_of_untrusted_files_are_escaped():
    page = html_facts("a <b>", {"dataset": "<script>\x1b", "videos": 3})
    assert "a &lt;b&gt;" in page and "<td>&lt;script&gt; </td>" in page and "<td>3</td>" in page
