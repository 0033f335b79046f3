"""How the C library keeps large arrays, where it is glibc, which can be asked."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

TRIM, MMAP = -1, -3
"""Thresholds of `mallopt`: bytes at the end of the heap that are kept, and of an array that is mapped."""
MEANWHILE = {MMAP: 1 << 20, TRIM: 1 << 17}
AFTERWARDS = {MMAP: 1 << 25, TRIM: 1 << 26}
"""Where glibc itself arrives in a process that has freed an array of 32 MiB."""


@contextmanager
def large_arrays_mapped() -> Iterator[None]:
    """Also a decorator. The memory of large arrays goes back to the system when they are freed.

    By default, glibc puts them between small objects after the first of them was freed. A process that publishes again and again then keeps the gaps,
    more of them each time.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        yield
        return
    for threshold in MEANWHILE.items():
        mallopt(*threshold)
    try:
        yield
    finally:
        for threshold in AFTERWARDS.items():
            mallopt(*threshold)
