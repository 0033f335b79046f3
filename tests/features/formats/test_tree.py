"""The limits that readers check before they allocate anything."""

import numpy as np
import pytest

from longtake.features.errors import InvalidFeatures, NotAStore
from longtake.features.formats.tree import MAX_ROWS, check_array, check_bytes, one_line


def test_arrays_of_another_type_are_refused():
    check_array("a", (3, 2), (), np.dtype("f4"), "f", 2)
    for shape, dtype in (((3,), "f4"), ((3, 2), "i4")):
        with pytest.raises(NotAStore, match="a has type .* axes; 2 axes of kind f expected"):
            check_array("a", shape, (), np.dtype(dtype), "f", 2)


def test_impossible_sizes_are_refused():
    with pytest.raises(NotAStore, match="declares an impossible shape"):
        check_array("a", (MAX_ROWS + 1, 2), (), np.dtype("f4"), "f", 2)
    check_array("a", (MAX_ROWS, 1 << 20), (), np.dtype("f4"), "f", 2)
    with pytest.raises(InvalidFeatures, match="GB of memory"):
        check_array("text", (MAX_ROWS,), (), np.dtype("S65536"), "S", 1)


def test_large_chunks_are_refused():
    with pytest.raises(NotAStore, match="declares chunks of"):
        check_array("a", (1 << 20, 1024), (1 << 20, 1024), np.dtype("f4"), "f", 2)


def test_a_size_that_the_stored_bytes_cannot_hold_is_refused():
    check_bytes("a", (9,), 1 << 20, 0)
    check_bytes("a", (9,), 10**9, 10**6)
    with pytest.raises(NotAStore, match=r"a declares \(9,\) but stores 100 bytes"):
        check_bytes("a", (9,), 10**9, 100)


def test_an_error_is_one_line():
    assert one_line(ValueError("two faults:\n  a is b\n  c is d")) == "two faults: a is b; c is d"
    assert one_line(ValueError()) == "ValueError"
