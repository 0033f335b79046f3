"""Messages between two processes: arrays of any size, in order, not held back, not too far ahead."""

import threading
import time

import numpy as np
import pytest

from longtake.extract.decode.killable import KillableProcess
from longtake.extract.decode.shared_memory import HALF_BYTES, MESSAGE_ITEMS, MESSAGE_SECONDS
from tests.calls import wait_until
from tests.extract import hanging


@pytest.fixture
def host():
    with KillableProcess(30.0, threading.Event()) as process:
        yield process


@pytest.mark.parametrize("num_bytes", [0, 1, HALF_BYTES // 5, HALF_BYTES // 2, HALF_BYTES, HALF_BYTES + 1])
def test_arrays_of_any_size_arrive_unchanged(host, num_bytes):
    count = 2 * MESSAGE_ITEMS + 3
    found = list(host.stream(hanging.arrays, count, num_bytes))
    assert len(found) == count
    assert all(len(array) == num_bytes and (array == number).all() for number, array in enumerate(found))
    assert host.call(np.arange, 3).tolist() == [0, 1, 2]


def test_large_arrays_do_not_overtake_small_ones(host):
    sizes = [10, HALF_BYTES + 1, HALF_BYTES, 10, 2 * HALF_BYTES, 0, HALF_BYTES // 2 + 1, HALF_BYTES // 2 + 1]
    found = list(host.stream(map, np.zeros, sizes))
    assert [len(array) for array in found] == sizes
    assert len(list(host.stream(map, np.zeros, [HALF_BYTES + 1] * 10))) == 10
    count = 20 * MESSAGE_ITEMS
    assert list(host.stream(range, count)) == list(range(count))


def test_a_slow_answer_is_not_held_back(host, tmp_path):
    found = []
    for number in host.stream(hanging.made_when_taken, 4, tmp_path, 2 * MESSAGE_SECONDS):
        found.append(number)
        (tmp_path / str(number)).touch()
    assert found == list(range(4))


def test_no_more_is_made_ahead_than_the_memory_holds(host, tmp_path):
    """Two halves of four arrays, and one array that waits for room."""
    made = tmp_path / "made"
    for num_taken, _ in enumerate(host.stream(hanging.arrays, 20, HALF_BYTES // 4, made), start=1):
        if num_taken == 1:
            wait_until(lambda: made.stat().st_size >= 4)
            time.sleep(0.3)  # time for a process without a bound to make them all
        assert made.stat().st_size <= num_taken + 9


def test_an_answer_that_cannot_be_unpickled_does_not_spoil_the_next(host):
    with pytest.raises(ZeroDivisionError):
        list(host.stream(map, hanging.Unreadable, range(3)))
    assert [number for number, _ in host.stream(hanging.numbers, 3)] == [0, 1, 2]
