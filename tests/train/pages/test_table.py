from tabulate import tabulate

from longtake.train.pages.table import html_table, labelled


def test_cells_know_their_columns():
    made = labelled(tabulate([["a <b>", "0.5 [0.1, 0.9]"], ["c", ""]], ["name", "R & D"], tablefmt="html"))
    assert '<td data-label="name">a &lt;b&gt;</td>' in made
    assert '<td data-label="R &amp; D" class="number">0.5 [0.1, 0.9]</td>' in made
    assert '<td data-label="R &amp; D"></td>' in made, "an empty cell is hidden on a phone"
    assert made.count("<tr>") == 3 and "wide" not in made


def test_wide_tables_are_marked():
    assert 'class="cards wide"' in html_table([str(n) for n in range(9)], [])
