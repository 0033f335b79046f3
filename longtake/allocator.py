"""How the C library keeps large arrays, where it is glibc, which can be asked."""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

TRIM, MMAP = -1, -3
"""Thresholds of `mallopt`: bytes at the end of the heap that are kept, and of an array that is mapped."""
MAPPED = {MMAP: 1 << 20, TRIM: 1 << 17}
KEPT = {MMAP: 1 << 29, TRIM: (1 << 31) - 1}
OTHERWISE = {MMAP: 1 << 25, TRIM: 1 << 26}
"""Where glibc itself arrives in a process that has freed an array of 32 MiB."""


@contextmanager
def large_arrays_mapped() -> Iterator[None]:
    """Also a decorator. The memory of large arrays goes back to the system when they are freed.

    By default, glibc puts them between small objects after the first of them was freed. A process that publishes again and again then keeps the gaps,
    more of them each time.
    """
    with _asked_for(MAPPED):
        yield


@contextmanager
def large_arrays_kept() -> Iterator[None]:
    """Also a decorator. The memory of arrays of up to 512 MiB stays in the process when they are freed, for the next ones.

    By default, glibc maps each array of more than 32 MiB, and the system clears its pages each time: for a network, which makes arrays of the same sizes
    for every batch, a fifth of its time (benchmarks/allocator.py). Larger ones are mapped nevertheless: they would leave large gaps.
    """
    with _asked_for(KEPT):
        yield


_asked: list[Mapping[int, int]] = []
"""By the blocks that have begun and not ended, of all threads."""
_lock = threading.RLock()
"""The garbage collector may end the block of an abandoned generator while the same thread begins or ends another."""


def _renew_lock() -> None:
    global _lock
    _lock = threading.RLock()


# A child has no thread that would release it, where another one forks meanwhile.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock)


@contextmanager
def _asked_for(thresholds: Mapping[int, int]) -> Iterator[None]:
    library = ctypes.CDLL(None)
    mallopt, trim = (getattr(library, name, None) for name in ("mallopt", "malloc_trim"))
    if mallopt is None or trim is None:
        yield
        return
    with _lock:
        _asked.append(thresholds)
        _apply(mallopt)
    try:
        yield
    finally:
        with _lock:
            _asked.remove(thresholds)
            _apply(mallopt)
            if KEPT not in _asked:
                trim(0)


def _wanted() -> Mapping[int, int]:
    # Mapping comes first: gaps would stay when its block has ended.
    return MAPPED if MAPPED in _asked else KEPT if KEPT in _asked else OTHERWISE


def _apply(mallopt: Callable[[int, int], int]) -> None:
    applied = None
    # Once more where a block ended meanwhile, see `_lock`.
    while applied is not _wanted():
        applied = _wanted()
        for threshold, size in applied.items():
            if not mallopt(threshold, size):
                # Older releases of glibc accept no more than this, and would stay at 128 KiB now that another threshold is set.
                mallopt(threshold, OTHERWISE[threshold])
