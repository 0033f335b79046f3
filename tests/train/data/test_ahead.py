"""Batches that a thread reads ahead."""

import threading

import pytest

from longtake.train.data.ahead import AHEAD, read_ahead


def test_same_batches_in_the_same_order():
    assert list(read_ahead(iter(range(1, 50)))) == list(range(1, 50))
    assert list(read_ahead(iter(()))) == []


def test_no_more_than_a_few_are_waiting():
    made = []

    def batches():
        for number in range(1, 20):
            made.append(number)
            yield number

    for number in read_ahead(batches()):
        assert len(made) <= number + AHEAD


def test_all_are_made_by_one_other_thread():
    names = set(read_ahead(threading.current_thread().name for _ in range(9)))
    assert len(names) == 1 and "read-ahead" in names.pop()


def test_an_error_comes_where_its_batch_would():
    def batches():
        yield 1
        yield 2
        raise ValueError("damaged")

    found = []
    with pytest.raises(ValueError, match="damaged"):
        for number in read_ahead(batches()):
            found.append(number)
    assert found == [1, 2]


def test_a_loop_that_ends_early_leaves_no_thread():
    before = threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        for _ in read_ahead(iter(range(1, 100))):
            raise KeyboardInterrupt
    assert threading.active_count() == before
