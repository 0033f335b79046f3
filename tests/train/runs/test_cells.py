"""Cells are trained here or by an executor; a lost process is one cell's outcome."""

from concurrent.futures import ThreadPoolExecutor

from longtake.train.runs.cells import run_cells


def double(number):
    if number == 2:
        raise RuntimeError("the process died")
    return number * 2


def test_here_in_order():
    found = list(run_cells([3, 2, 1], double, lambda *lost: lost, None))
    assert found == [6, (2, "RuntimeError: the process died"), 2]


def test_by_an_executor():
    with ThreadPoolExecutor(2) as executor:
        found = list(run_cells([1, 2, 3], double, lambda *lost: lost, executor))
    assert sorted(found, key=str) == [(2, "RuntimeError: the process died"), 2, 6]
