"""Batches that are read ahead of the loop, by a thread of its own: while one is computed, the next ones come from the disk."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")

AHEAD = 2
"""Batches that wait for the loop, at most. That many and the one in use are in memory."""


def read_ahead(batches: Iterator[T]) -> Iterator[T]:
    """The same batches in the same order. One thread makes them all, one after the other, so that a generator of random numbers gives each
    batch the numbers that it would give without reading ahead. Errors come where their batch would."""

    def following() -> T | None:
        return next(batches, None)

    # When the loop ends early, as by Ctrl-C, the batch in work is waited for, and no other is begun.
    with ThreadPoolExecutor(1, "read-ahead") as reader:
        waiting: deque[Future[T | None]] = deque(reader.submit(following) for _ in range(AHEAD))
        try:
            while (batch := waiting.popleft().result()) is not None:
                waiting.append(reader.submit(following))
                yield batch
        finally:
            reader.shutdown(wait=False, cancel_futures=True)
