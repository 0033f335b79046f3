"""Runs that are cells of a larger job, a sweep or a bench: trained here, in processes of this machine, or on a cluster."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from typing import TypeVar

import torch

from longtake.processes import end_with_starter

C = TypeVar("C")
Result = TypeVar("Result")


def processes(number: int) -> Executor:
    """So many, which share the threads that torch takes here."""
    threads = max(torch.get_num_threads() // number, 1)
    # A fork of a process whose torch has run threads hangs.
    return ProcessPoolExecutor(number, get_context("spawn"), _begin, (threads,))


def _begin(threads: int) -> None:
    """In a process: Ctrl-C ends it, as the system does, and not just the cell that it is at, after which it would take the next."""
    end_with_starter()
    torch.set_num_threads(threads)
    # Not where a shell ignores it, as for commands in the background: the first process continues then.
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def run_cells(
    cells: Sequence[C], train: Callable[[C], Result], lost: Callable[[C, str], Result], executor: Executor | None
) -> Iterator[Result]:
    """The outcome of every cell as soon as it is there; `lost` makes that of a cell whose process ended. Without an executor they are trained
    here, in order."""
    if executor is None:
        for cell in cells:
            try:
                yield train(cell)
            except Exception as error:  # as below
                yield lost(cell, f"{type(error).__name__}: {error}")
        return
    futures = {executor.submit(train, cell): cell for cell in cells}
    try:
        for future in as_completed(futures):
            try:
                yield future.result()
            except Exception as error:  # what ended a worker's process is this cell's outcome, not the end of all
                yield lost(futures[future], f"{type(error).__name__}: {error}")
    finally:
        for future in futures:
            future.cancel()
